# shellcheck shell=bash
# The answers, as the stages of bootstrap.sh read them. `copier update` writes this file: change an answer, not a line here.

# The lab
readonly LAB_NAME=homelab
readonly CLUSTER_NAME=homelab
readonly ADMIN_EMAIL=admin@lab

# Hosts and ports
readonly GITLAB_HOST=gitlab.lab
readonly REGISTRY_HOST=registry.lab
readonly HTTPS_PORT=443
readonly GITLAB_URL=https://gitlab.lab
readonly REGISTRY_ADDRESS=registry.lab
readonly SSH_PORT=2223
readonly SSH_EXPOSURE=load-balancer
readonly TRAEFIK_KIND=k3s

# Certificates
readonly TLS_SOURCE=traefik
readonly CLUSTER_ISSUER=''
readonly TLS_SECRET_NAME=''
readonly PRIVATE_CA=true

# Storage
readonly STORAGE_BACKEND=nfs
readonly DATA_BACKEND=nfs
readonly STORAGE_ROOT=/storage
readonly NFS_SERVER=storage.lab
readonly STORAGE_CLASS=''

# GitLab
readonly GITLAB_VERSION=19.3.2
readonly GITLAB_SIZE=small
readonly GITLAB_NAMESPACE=gitlab
readonly APP_NAMESPACE=default
readonly GITLAB_GROUPS=(HomeLAB)
readonly GROUP_VISIBILITY=internal
readonly PIPELINE_AUTH=job-token
readonly REGISTRY_PUSH_USER=lab-push
readonly LAB_PROJECT=HomeLAB/homelab
readonly SAMPLE_APP=true
readonly SAMPLE_PROJECT=HomeLAB/demo
readonly SAMPLE_HOST=demo.lab

# The runner
readonly RUNNER_KIND=docker
readonly RUNNER_HOST=gitlab-runner
readonly RUNNER_USER=cloud-user
readonly RUNNER_HOME=/home/cloud-user/containers/gitlab-runner
readonly RUNNER_NAMESPACE=gitlab-runner

# Flux
readonly GITOPS_SOURCE=self
readonly GITOPS_URL=ssh://git@gitlab-ssh.gitlab.svc.cluster.local:2223/HomeLAB/homelab.git
readonly GITOPS_BRANCH=main
readonly FLUX_VERSION=2.9.4

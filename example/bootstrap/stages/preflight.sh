#!/usr/bin/env bash
# preflight: everything that could go wrong later, looked at now; every problem at once, each with its fix.
# It changes nothing. A check that is wrong about your lab: LAB_SKIP="name name" turns it into a warning.

problems=0

stage_preflight() {
  check_versions
  check_repository
  check_private_ca
  if check_cluster; then
    check_rights
    check_memory
    check_traefik
    check_tls
    check_storage
    check_ssh_port
    check_upgrade
    check_flux_prerequisites
  fi
  check_hosts
  if [[ $STORAGE_BACKEND == nfs || $DATA_BACKEND == nfs ]]; then check_nfs; fi
  if [[ $RUNNER_KIND == docker ]]; then check_runner_machine; fi
  if ((problems > 0)); then
    die "$problems thing(s) to mend before the lab can be built; each is listed above with its fix." '' \
      'mend them, then run ./bootstrap.sh again
a check that is wrong about your lab can be passed over: LAB_SKIP="its-name" ./bootstrap.sh'
  fi
}

# problem CHECK WHAT FIX: one more thing to mend, or a warning where the owner says so.
problem() {
  if [[ " $LAB_SKIP " == *" $1 "* ]]; then
    warn "[$1] $2 (skipped)"
    return 0
  fi
  problems=$((problems + 1))
  bad "$@"
}

# needed_tools: what this lab's settings make the stages call.
needed_tools() {
  printf '%s\n' git curl jq kubectl helm flux base64 sed awk
  if [[ $GITOPS_SOURCE == self || $GITOPS_URL == ssh://* ]]; then printf '%s\n' ssh-keygen ssh; fi
  if [[ $GITOPS_SOURCE == external && $GITOPS_URL == ssh://* ]]; then printf 'ssh-keyscan\n'; fi
  if [[ $RUNNER_KIND == docker ]]; then printf 'ssh\n'; fi
}

# require_tools: before any stage; without them nothing can even be looked at.
require_tools() {
  local tool missing=''
  for tool in $(needed_tools | sort -u); do
    command -v "$tool" >/dev/null || missing+="${missing:+, }$tool"
  done
  [[ -z $missing ]] || die "These tools are missing on this machine: $missing" '' \
    'install them (Debian: apt install git curl jq openssh-client; kubectl: https://kubernetes.io/docs/tasks/tools/;
helm: https://helm.sh/docs/intro/install/; flux: https://fluxcd.io/flux/installation/), then run ./bootstrap.sh again'
}

check_versions() {
  local before=$problems
  check_version git 2.20 "$(git --version)"
  check_version curl 7.61 "$(curl -q --version)"
  check_version jq 1.6 "$(jq --version)"
  check_version kubectl 1.26 "$(kubectl version --client 2>/dev/null </dev/null | sed -n 1p || true)"
  check_version helm 3.14 "$(helm version --short 2>/dev/null </dev/null || true)"
  check_version flux 2.7 "$(flux version --client 2>/dev/null </dev/null || true)"
  if ((problems == before)); then have 'tools and their versions'; fi
}

# check_version TOOL WANTED OUTPUT
check_version() {
  local found
  found=$(version_numbers "$3")
  if [[ -z $found ]]; then
    problem tools "$1 does not say its version" "$1 --version"
  elif ! version_at_least "$found" "$2"; then
    problem tools "$1 is $found; $2 or newer is needed" "install a newer $1"
  fi
}

check_repository() {
  local changed
  if ! lab_git rev-parse --verify --quiet HEAD >/dev/null 2>&1; then
    problem repository 'this lab has no commit yet, so there is nothing to push' \
      "git -C $(shell_quote "$LAB_DIR") add --all && git -C $(shell_quote "$LAB_DIR") commit -m 'The lab as generated'"
    return 0
  fi
  changed=$(uncommitted)
  if [[ -n $changed ]]; then
    problem repository "files differ from the last commit; GitLab would be installed with what Flux does not know:
$changed" 'git commit them, or git stash'
  else
    have 'the repository: committed as it stands'
  fi
  if [[ $GITOPS_SOURCE == external ]]; then check_external_repository; fi
}

# check_external_repository: with the owner's own rights; Flux gets a credential of its own later.
check_external_repository() {
  git_speaks_as owner
  if git_remote "$LAB_DIR" ls-remote "$GITOPS_URL"; then
    have "$GITOPS_URL answers to you"
  else
    problem repository "you cannot reach $GITOPS_URL: $(first_line "$GIT_PROBLEM")" \
      "make that repository, empty; then git ls-remote $GITOPS_URL has to work for you"
  fi
}

check_private_ca() {
  if [[ $PRIVATE_CA != true ]]; then return 0; fi
  if [[ -s $LAB_DIR/ca.crt ]] && grep -q -- '-----BEGIN CERTIFICATE-----' "$LAB_DIR/ca.crt"; then
    if grep -q -- 'PRIVATE KEY-----' "$LAB_DIR/ca.crt"; then
      problem ca 'ca.crt holds a private key, which would end up in Git and in the cluster' \
        'keep only the part from BEGIN CERTIFICATE to END CERTIFICATE in it'
    else
      have 'ca.crt, the certificate of your own authority'
    fi
  else
    problem ca 'ca.crt is missing or holds no PEM certificate' \
      'copy the certificate (not the key) of your certificate authority to ca.crt beside bootstrap.sh'
  fi
}

# check_cluster: false where nothing more can be asked of it.
check_cluster() {
  local ready
  # Twice, not longer: a wrong kubeconfig stays wrong.
  if ! LAB_RETRIES=2 kube '' get nodes --output json; then
    problem cluster "the cluster cannot be reached: $(last_line "$KUBE_ERR")" \
      'kubectl get nodes has to work: KUBECONFIG, kubectl config current-context'
    return 1
  fi
  nodes=$KUBE_OUT
  ready=$(field "$nodes" \
    '[.items[] | select(any(.status.conditions[]?; .type == "Ready" and .status == "True"))] | length')
  if ((ready == 0)); then
    problem cluster 'no node of the cluster is ready' 'kubectl describe nodes'
  else
    have "the cluster answers; $ready node(s) ready"
  fi
}

check_rights() {
  if kube '' auth can-i '*' '*' --all-namespaces; then
    have 'your kubeconfig may administer the cluster'
  else
    problem rights 'your kubeconfig user is no administrator of the cluster' \
      'use the admin kubeconfig (k3s: /etc/rancher/k3s/k3s.yaml)'
  fi
}

# check_memory: a tenth less than the round number, since a node of 4 GB never offers all of it.
check_memory() {
  local wanted=3686 largest
  if [[ $GITLAB_SIZE == standard ]]; then wanted=7372; fi
  largest=$(field "$nodes" '
    def mebibytes: capture("^(?<n>[0-9]+)(?<u>[A-Za-z]*)$")
      | (.n | tonumber) * ({"k": 1e3, "M": 1e6, "G": 1e9, "Ki": 1024, "Mi": 1048576, "Gi": 1073741824}[.u] // 1)
      | . / 1048576 | floor;
    [.items[].status.allocatable.memory // "0" | mebibytes] | max // 0')
  if ((largest < wanted)); then
    problem memory "the largest node offers $largest MiB; GitLab ($GITLAB_SIZE) needs about $wanted" \
      'give a node more memory, or choose gitlab_size: small'
  else
    have "memory: a node offers $largest MiB"
  fi
}

check_traefik() {
  local managers
  kube_get customresourcedefinitions.apiextensions.k8s.io ingressroutes.traefik.io
  if [[ -z $KUBE_OUT ]]; then
    problem traefik 'Traefik (with its CRDs, version 3) is not in the cluster' \
      'k3s brings it, unless started with --disable traefik
otherwise: https://doc.traefik.io/traefik/getting-started/install-traefik/'
    return 0
  fi
  if [[ $TRAEFIK_KIND != k3s ]]; then
    have 'Traefik'
    return 0
  fi
  if ! kube_has helmcharts.helm.cattle.io traefik kube-system; then
    problem traefik "k3s' own Traefik is not there, so the lab's HelmChartConfig would change nothing" \
      "start k3s without --disable traefik, or answer traefik_kind: other"
    return 0
  fi
  kube '' get helmchartconfigs.helm.cattle.io traefik --namespace kube-system --ignore-not-found \
    --show-managed-fields --output json || kube_die "read k3s' HelmChartConfig traefik"
  managers=$(field "${KUBE_OUT:-null}" '[.metadata.managedFields[]?.manager] | join(" ")')
  if [[ -n $KUBE_OUT && " $managers " != *" $FIELD_MANAGER "* && $managers != *kustomize-controller* ]]; then
    problem traefik-config 'there is a HelmChartConfig kube-system/traefik of yours; the lab would overwrite it' \
      'carry its valuesContent (kubectl get helmchartconfig traefik -n kube-system -o yaml) over into
infrastructure/traefik.yaml, commit that, and say so: LAB_SKIP=traefik-config'
  else
    have "Traefik, k3s' own"
  fi
}

check_tls() {
  case $TLS_SOURCE in
    cert-manager)
      kube_get clusterissuers.cert-manager.io "$CLUSTER_ISSUER"
      if [[ -z $KUBE_OUT ]]; then
        problem tls "cert-manager's ClusterIssuer \"$CLUSTER_ISSUER\" does not exist" \
          'install cert-manager (https://cert-manager.io/docs/installation/) and make that ClusterIssuer
(https://cert-manager.io/docs/configuration/); which there are: kubectl get clusterissuers'
      elif [[ $(condition "$KUBE_OUT" Ready) != True ]]; then
        problem tls "the ClusterIssuer \"$CLUSTER_ISSUER\" is not ready: $(condition_message "$KUBE_OUT" Ready)" \
          "kubectl describe clusterissuer $CLUSTER_ISSUER"
      else
        have "certificates from the ClusterIssuer $CLUSTER_ISSUER"
      fi
      ;;
    secret)
      kube_get secret "$TLS_SECRET_NAME" "$GITLAB_NAMESPACE"
      if [[ -z $KUBE_OUT || $(field "$KUBE_OUT" .type) != kubernetes.io/tls ]]; then
        problem tls "the Secret $GITLAB_NAMESPACE/$TLS_SECRET_NAME (type kubernetes.io/tls) does not exist" \
          "kubectl create namespace $GITLAB_NAMESPACE
kubectl create secret tls $TLS_SECRET_NAME -n $GITLAB_NAMESPACE --cert=CERTIFICATE --key=KEY"
      else
        have "the certificate in Secret $GITLAB_NAMESPACE/$TLS_SECRET_NAME"
      fi
      ;;
    traefik) skip 'certificates: Traefik has its own' ;;
  esac
}

check_storage() {
  if [[ $STORAGE_BACKEND != storage-class && $DATA_BACKEND != storage-class ]]; then return 0; fi
  if kube_has storageclass "$STORAGE_CLASS"; then
    have "storage class $STORAGE_CLASS"
  else
    problem storage "the storage class \"$STORAGE_CLASS\" does not exist" \
      'kubectl get storageclass, then answer storage_class with one of them'
  fi
}

# check_ssh_port: two Services cannot have one port of the node, nor of k3s' load balancer.
check_ssh_port() {
  local taken kind=LoadBalancer port_field=port
  if [[ $SSH_EXPOSURE == traefik ]]; then return 0; fi
  if [[ $SSH_EXPOSURE == node-port ]]; then
    kind=NodePort port_field=nodePort
    if ((SSH_PORT < 30000 || SSH_PORT > 32767)); then
      problem ssh-port "$SSH_PORT is no node port" 'choose ssh_port between 30000 and 32767'
    fi
  fi
  kube_list services --all-namespaces
  taken=$(printf '%s' "$KUBE_OUT" | jq --raw-output --argjson port "$SSH_PORT" --arg kind "$kind" \
    --arg field "$port_field" --arg ours "$GITLAB_NAMESPACE/gitlab-ssh" '
    [.items[] | select(.spec.type == $kind or ($kind == "NodePort" and .spec.type == "LoadBalancer"))
     | select(any(.spec.ports[]?; .[$field] == $port)) | "\(.metadata.namespace)/\(.metadata.name)"
     | select(. != $ours)] | join(", ")')
  if [[ -n $taken ]]; then
    problem ssh-port "port $SSH_PORT is taken by the Service $taken" 'choose another ssh_port, or remove that Service'
  else
    have "SSH port $SSH_PORT is free"
  fi
}

check_upgrade() {
  local text
  text=$(upgrade_problem)
  if [[ -n $text ]]; then
    problem upgrade "$text" 'answer gitlab_version with the first stop, let that GitLab start and finish its background
migrations (Admin > Monitoring > Background migrations), then take the next'
  fi
}

check_flux_prerequisites() {
  local text=''
  flux_keeps_itself || text=$(flux_too_new)
  if [[ -n $text ]]; then problem flux-version "$text" "$(flux_export)"; fi
  if flux check --pre >"$LAB_TMP/flux.log" 2>&1 </dev/null; then
    have "the cluster suits Flux"
  else
    problem flux "the cluster does not suit Flux: $(grep -v '✔\|►' "$LAB_TMP/flux.log" | head -n 3 || true)" \
      'flux check --pre'
  fi
}

# check_hosts: the hosts have to be known here (and to the nodes, which cannot be asked before something runs there),
# and Traefik has to listen there. Curl looks them up as it will later; what answers is another question.
check_hosts() {
  local host status before=$problems
  local -a hosts=("$GITLAB_HOST" "$REGISTRY_HOST")
  if [[ $SAMPLE_APP == true ]]; then hosts+=("$SAMPLE_HOST"); fi
  for host in "${hosts[@]}"; do
    status=0
    curl -q --silent --noproxy '*' --connect-timeout 3 --max-time 5 --output /dev/null \
      "http://$host:$HTTPS_PORT/" 2>/dev/null </dev/null || status=$?
    if ((status == 6)); then
      problem dns "DNS does not know $host here" \
        "in your DNS, point $host at Traefik's address (kubectl get service traefik -n kube-system)
the nodes need to know it, too"
    elif ((status == 7)); then
      problem https-port "nothing listens at $host, port $HTTPS_PORT" \
        "let DNS point at Traefik's address (kubectl get service -A -l app.kubernetes.io/name=traefik), and Traefik
listen on that port; if only this machine cannot reach it, or Traefik gets its port later: LAB_SKIP=https-port"
    fi
  done
  if ((problems == before)); then have "DNS knows ${hosts[*]}, and Traefik listens there"; fi
}

# check_nfs: from this machine; the nodes try it for themselves in the stage "storage". An NFS server has no answer to
# HTTP, but it takes the connection.
check_nfs() {
  local seconds status=0
  seconds=$(curl -q --silent --noproxy '*' --connect-timeout 3 --max-time 4 --output /dev/null \
    --write-out '%{time_connect}' "http://$NFS_SERVER:2049/" 2>/dev/null </dev/null) || status=$?
  case $status/$seconds in
    */*[1-9]*) have "the NFS server $NFS_SERVER answers" ;;
    6/*) problem nfs "DNS does not know the NFS server $NFS_SERVER" 'answer nfs_server with its address' ;;
    *) problem nfs "nothing answers at $NFS_SERVER, port 2049, from this machine" \
      'start the NFS server, open its firewall for the nodes; if only this machine cannot reach it: LAB_SKIP=nfs' ;;
  esac
}

check_runner_machine() {
  if ! vm '' 'docker version --format "{{.Server.Version}}" && docker compose version --short'; then
    if [[ $VM_OUT == '' && $VM_ERR == *ocker* && $VM_ERR != *'ssh:'* ]]; then
      problem runner "$RUNNER_USER cannot use Docker on the runner's machine $RUNNER_HOST: $(last_line "$VM_ERR")" \
        "on $RUNNER_HOST install Docker Engine (https://docs.docker.com/engine/install/), then:
sudo usermod -aG docker $RUNNER_USER"
    elif [[ -n $VM_OUT ]]; then
      problem runner "the runner's machine $RUNNER_HOST has Docker, but not its compose plugin" \
        "on $RUNNER_HOST: install docker-compose-plugin"
    else
      problem runner "the runner's machine cannot be reached: $(last_line "${VM_ERR:-no answer}")" \
        "ssh $RUNNER_USER@$RUNNER_HOST has to work without a password: ssh-copy-id $RUNNER_USER@$RUNNER_HOST"
    fi
    return 0
  fi
  have "the runner's machine: Docker $(printf '%s' "$VM_OUT" | paste -s -d ' ' - | sed 's/ /, compose /')"
}

#!/usr/bin/env bash
# storage: the folders that GitLab's volumes point at. A storage class makes its own; NFS and a node's disk do not.

readonly STORAGE_JOB=lab-storage
readonly STORAGE_IMAGE=docker.io/library/busybox:1.37.0

stage_storage() {
  local folders
  folders=$(storage_folders)
  ensure_namespace "$GITLAB_NAMESPACE"
  if [[ -z $folders ]]; then
    skip "nothing to prepare: the storage class \"$STORAGE_CLASS\" makes its volumes itself"
    return 0
  fi
  if kube_has deployment gitlab "$GITLAB_NAMESPACE"; then
    have "GitLab stands on $STORAGE_ROOT/gitlab already"
    return 0
  fi
  storage_prepare nfs "$(folders_on nfs)"
  storage_prepare host-path "$(folders_on host-path)"
}

# storage_folders: every folder that somebody has to make, one a line.
storage_folders() {
  folders_on nfs
  folders_on host-path
}

# folders_on BACKEND: GitLab's folders that live there; config and logs go together, the data for itself.
folders_on() {
  if [[ $STORAGE_BACKEND == "$1" ]]; then printf '%s\n' gitlab/config gitlab/logs; fi
  if [[ $DATA_BACKEND == "$1" ]]; then printf '%s\n' gitlab/data; fi
}

# storage_prepare BACKEND FOLDERS: a short-lived Job makes the folders and tries what GitLab will do in them.
storage_prepare() {
  local backend=$1 folders=$2 place
  if [[ -z $folders ]]; then return 0; fi
  place=$STORAGE_ROOT
  if [[ $backend == nfs ]]; then place=$NFS_SERVER:$STORAGE_ROOT; fi
  folders=$(printf '%s' "$folders" | paste -s -d ' ' -)
  if dry_run; then
    would "make $folders in $place, with a Job in $GITLAB_NAMESPACE"
    return 0
  fi
  remove_storage_job
  kube_apply "Job $GITLAB_NAMESPACE/$STORAGE_JOB, which makes the folders in $place" \
    "$(storage_job "$backend" "$folders")"
  wait_for "$LAB_WAIT_FLUX_MINUTES" "folders in $place" storage_job_ended || storage_failed "$place" "$WAIT_REASON"
  if [[ $storage_job_failed == true ]]; then
    kube '' logs "job/$STORAGE_JOB" --namespace "$GITLAB_NAMESPACE" --tail=20 || KUBE_OUT='no log'
    storage_failed "$place" "$KUBE_OUT"
  fi
  remove_storage_job
  have "$folders in $place, writable for root"
}

# storage_failed PLACE WHY
storage_failed() {
  die "GitLab cannot use $1: $2" \
    "the export (rw, no_root_squash; NFS 4.1), or the folder on the node
kubectl describe pod -n $GITLAB_NAMESPACE -l job-name=$STORAGE_JOB"
}

remove_storage_job() {
  kube '' delete job "$STORAGE_JOB" --namespace "$GITLAB_NAMESPACE" --ignore-not-found --wait=true \
    || kube_die 'remove the Job of an earlier run'
}

# storage_job_ended: a probe for wait_for; sets storage_job_failed.
storage_job_ended() {
  storage_job_failed=false
  kube_get job "$STORAGE_JOB" "$GITLAB_NAMESPACE"
  if [[ $(condition "$KUBE_OUT" Complete) == True ]]; then return 0; fi
  if [[ $(condition "$KUBE_OUT" Failed) == True ]]; then
    storage_job_failed=true
    return 0
  fi
  kube_list pods --namespace "$GITLAB_NAMESPACE" --selector "job-name=$STORAGE_JOB"
  WAIT_REASON=$(pod_reason "$KUBE_OUT")
  return 1
}

# storage_job BACKEND FOLDERS: chown is what fails on an export with root_squash, and GitLab's start with it. Where only
# the folder gitlab is exported, all above it is read-only, and even mkdir -p is told so of what is there.
storage_job() {
  jq --null-input --compact-output --arg backend "$1" --arg folders "$2" --arg namespace "$GITLAB_NAMESPACE" \
    --arg name "$STORAGE_JOB" --arg image "$STORAGE_IMAGE" --arg root "$STORAGE_ROOT" --arg server "$NFS_SERVER" '{
    apiVersion: "batch/v1", kind: "Job", metadata: {name: $name, namespace: $namespace},
    spec: {backoffLimit: 2, ttlSecondsAfterFinished: 3600, template: {spec: {
      restartPolicy: "Never", automountServiceAccountToken: false,
      containers: [{name: "folders", image: $image,
        command: ["/bin/sh", "-euc", "cd /lab; for f in gitlab \($folders); do test -d $f || mkdir $f; done
          for f in \($folders); do touch $f/.lab; chown 998:998 $f/.lab; rm $f/.lab; done"],
        volumeMounts: [{name: "lab", mountPath: "/lab"}]}],
      volumes: [{name: "lab"} + (if $backend == "nfs"
        then {nfs: {server: $server, path: $root}}
        else {hostPath: {path: $root, type: "DirectoryOrCreate"}} end)]}}}}'
}

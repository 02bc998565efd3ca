#!/usr/bin/env bash
# runner: one instance runner, made through GitLab's API. Its token is shown once and goes straight to where the runner
# reads it: .env on the runner's machine (0600), or a Secret.

readonly TOKEN_CHECK=lab-bootstrap # as which machine the stage itself speaks to GitLab with the runner's token
readonly NOT_STARTED=.not-started # in the runner's folder: its files are newer than its container
runner_token=''
runner_id=''

stage_runner() {
  if [[ $RUNNER_KIND == none ]]; then
    skip 'this lab has no runner of its own; nothing builds until you add one'
    return 0
  fi
  if dry_run; then
    would "make sure that GitLab has the runner lab-$LAB_NAME, its token only where the runner reads it"
    would "start the runner ($RUNNER_KIND)"
    return 0
  fi
  gitlab_login
  if [[ $RUNNER_KIND == docker ]]; then
    vm_must 'make the folder of the runner' '' "umask 022; mkdir -p $(shell_quote "$RUNNER_HOME")"
  fi
  settle "make the runner lab-$LAB_NAME" ensure_runner
  if [[ $RUNNER_KIND == docker ]]; then start_docker_runner; else refresh_runner_pod; fi
  wait_for "$LAB_WAIT_RUNNER_MINUTES" "runner lab-$LAB_NAME" runner_online || runner_missing
  have "runner lab-$LAB_NAME is online"
}

# ensure_runner: a runner whose token is in the right place. A runner whose token is lost is replaced, never doubled.
ensure_runner() {
  local strays body
  read_runner_token
  hide_secret "$runner_token"
  runner_id=''
  if [[ -n $runner_token ]]; then
    # A glrt- token is verified for one machine; GitLab forgets that of this name by itself.
    api POST /runners/verify "$(json_object token "$runner_token" system_id "$TOKEN_CHECK")" ''
    api_expect "check the runner's token" 200 403 || return
    if [[ $API_STATUS == 200 ]]; then runner_id=$(field "$API_BODY" .id); fi
  fi
  api_list '/runners/all?type=instance_type' 'runners' || return
  strays=$(printf '%s' "$API_BODY" | jq --raw-output --arg name "lab-$LAB_NAME" --arg id "$runner_id" \
    '.[] | select(.description == $name and (.id | tostring) != $id) | .id')
  delete_each /runners "$strays" || return
  if [[ -n $runner_id ]]; then
    have "runner lab-$LAB_NAME, its token in $(runner_place)"
    return 0
  fi
  body=$(json_object runner_type instance_type description "lab-$LAB_NAME" run_untagged: true locked: false)
  api POST /user/runners "$body"
  api_expect 'make a runner' 201 || return
  runner_token=$(field "$API_BODY" .token)
  runner_id=$(field "$API_BODY" .id)
  hide_secret "$runner_token"
  write_runner_token
  did "runner lab-$LAB_NAME, its token in $(runner_place)"
}

runner_place() {
  if [[ $RUNNER_KIND == docker ]]; then
    printf '%s:%s/.env' "$RUNNER_HOST" "$RUNNER_HOME"
  else
    printf 'Secret %s/gitlab-runner-token' "$RUNNER_NAMESPACE"
  fi
}

# read_runner_token: sets runner_token to what the runner has, or to nothing.
read_runner_token() {
  if [[ $RUNNER_KIND == docker ]]; then
    vm_must "read the runner's .env" '' "cat $(shell_quote "$RUNNER_HOME/.env") 2>/dev/null || true"
    runner_token=$(printf '%s\n' "$VM_OUT" | sed -n 's/^RUNNER_TOKEN=//p' | tail -n 1)
  else
    kube_get secret gitlab-runner-token "$RUNNER_NAMESPACE"
    runner_token=$(secret_field "$KUBE_OUT" RUNNER_TOKEN)
  fi
}

# write_runner_token: other lines of .env are the owner's (a proxy, for example) and stay. The new file is complete
# before it takes the old one's place, and never readable by others. A container that runs keeps the token it was
# started with, hence the mark.
write_runner_token() {
  local env
  if [[ $RUNNER_KIND == kubernetes ]]; then
    put_secret "$RUNNER_NAMESPACE" gitlab-runner-token Opaque RUNNER_TOKEN "$runner_token"
    return 0
  fi
  env=$(shell_quote "$RUNNER_HOME/.env")
  vm_must "write the runner's .env" "RUNNER_TOKEN=$runner_token"$'\n' \
    "umask 077; touch $(shell_quote "$RUNNER_HOME/$NOT_STARTED")
    { if test -f $env; then grep -v '^RUNNER_TOKEN=' $env; fi; cat; } >$env.new \
      && chmod 600 $env.new && mv -f $env.new $env"
}

# start_docker_runner: the files of runner/ on the machine, and the container up.
start_docker_runner() {
  local file
  local -a files=(compose.yaml config.toml)
  if [[ $PRIVATE_CA == true ]]; then files+=(ca.crt); fi
  for file in "${files[@]}"; do
    copy_to_vm "$file"
  done
  vm_must 'see whether the runner runs' '' "cd $(shell_quote "$RUNNER_HOME") && chmod 600 .env \
    && if test ! -e $NOT_STARTED; then docker compose ps --status running --quiet gitlab-runner; fi"
  if [[ -n $VM_OUT ]]; then
    have "the runner's container runs on $RUNNER_HOST"
    return 0
  fi
  doing "starting the runner on $RUNNER_HOST (its image is pulled the first time)"
  vm_must 'start the runner' '' "cd $(shell_quote "$RUNNER_HOME") \
    && docker compose up --detach --quiet-pull --force-recreate --remove-orphans 2>&1 && rm -f $NOT_STARTED"
  did "the runner's container runs on $RUNNER_HOST"
}

# copy_to_vm FILE: where the file on the machine is missing or another one. The mark comes before it: a run that is
# stopped between a file and the start would otherwise leave a container that knows nothing of the file.
copy_to_vm() {
  local source="$LAB_DIR/runner/$1" target
  if [[ $1 == ca.crt ]]; then source=$LAB_DIR/ca.crt; fi
  [[ -r $source ]] || die "${source#"$LAB_DIR"/} is missing in the lab." 'git status'
  target=$(shell_quote "$RUNNER_HOME/$1")
  vm_must "read $1" '' "cat $target 2>/dev/null || true"
  if [[ $VM_OUT == "$(<"$source")" ]]; then return 0; fi
  vm_must "write $1" "$(<"$source")"$'\n' "umask 022; cd $(shell_quote "$RUNNER_HOME") && touch $NOT_STARTED \
    && cat >$target.new && mv -f $target.new $target"
  did "$1 on $RUNNER_HOST"
}

# refresh_runner_pod: a pod that runs keeps the token it was started with; one that is older than its Secret has to go,
# and its Deployment makes the next.
refresh_runner_pod() {
  local written pod
  ensure_ca "$RUNNER_NAMESPACE"
  kube '' get secret gitlab-runner-token --namespace "$RUNNER_NAMESPACE" --show-managed-fields --output json \
    || kube_die "read $RUNNER_NAMESPACE/gitlab-runner-token"
  written=$(printf '%s' "$KUBE_OUT" | jq --raw-output --arg manager "$FIELD_MANAGER" \
    '[.metadata.managedFields[]? | select(.manager == $manager) | .time] | max // ""')
  kube_list pods --namespace "$RUNNER_NAMESPACE" --selector app.kubernetes.io/instance=gitlab-runner
  for pod in $(printf '%s' "$KUBE_OUT" | jq --raw-output --arg written "$written" '.items[]
    | select(.metadata.deletionTimestamp == null and .metadata.creationTimestamp < $written
      and any(.status.containerStatuses[]?; .state.running)) | .metadata.name'); do
    kube '' delete pod "$pod" --namespace "$RUNNER_NAMESPACE" --ignore-not-found --wait=false \
      || kube_die "restart the runner's pod"
    did 'the runner starts again, with its new token'
  done
}

# runner_online: a probe for wait_for.
runner_online() {
  read_runner_status "$runner_id"
  WAIT_REASON="GitLab calls it $RUNNER_STATUS"
  [[ $RUNNER_STATUS == online ]]
}

# read_runner_status ID: into RUNNER_STATUS, what GitLab calls the machine on which the runner runs. It calls the runner
# itself online for two hours after anybody has shown its token, and the check of the token above counts as that.
read_runner_status() {
  api GET "/runners/$1/managers"
  api_expect 'show the machines of the runner' 200
  RUNNER_STATUS=$(printf '%s' "$API_BODY" | jq --raw-output --arg check "$TOKEN_CHECK" '
    [.[] | select(.system_id != $check) | .status]
    | if index("online") then "online" else first // "never_contacted" end')
}

runner_missing() {
  local look="kubectl get pods -n $RUNNER_NAMESPACE; flux get helmreleases -n $RUNNER_NAMESPACE"
  if [[ $RUNNER_KIND == docker ]]; then
    look="ssh $RUNNER_USER@$RUNNER_HOST, then: cd $RUNNER_HOME && docker compose logs --tail=50
whether that machine knows $GITLAB_HOST and trusts its certificate: curl -v $GITLAB_URL"
  fi
  die "The runner has not reported to GitLab within $LAB_WAIT_RUNNER_MINUTES minutes: $WAIT_REASON." "$look"
}

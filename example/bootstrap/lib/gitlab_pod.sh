#!/usr/bin/env bash
# GitLab's pod: commands in it, whether it is healthy, what it is doing just now.

# in_gitlab COMMAND...: runs a command in GitLab's container; sets KUBE_OUT and KUBE_ERR.
# No time limit of kubectl's own: Rails takes a minute to start.
in_gitlab() {
  local status=0
  KUBE_OUT=$(kubectl exec --namespace "$GITLAB_NAMESPACE" deploy/gitlab -- "$@" 2>"$LAB_TMP/kubectl.err" </dev/null) \
    || status=$?
  KUBE_ERR=$(<"$LAB_TMP/kubectl.err")
  return "$status"
}

# gitlab_rails CODE: runs Ruby in GitLab's Rails, again where the pod was not up to it yet. CODE must bear a repeat.
gitlab_rails() {
  local try tries=$((LAB_RETRIES < 3 ? LAB_RETRIES : 3))   # each takes a minute
  for ((try = 1; ; try++)); do
    if in_gitlab gitlab-rails runner "$1"; then return 0; fi
    if ((try >= tries)); then return 1; fi
    back_off "$try" "GitLab's Rails: $(gitlab_rails_words)"
  done
}

# gitlab_rails_words: the line of Rails' complaint that says most.
gitlab_rails_words() {
  local words
  words=$(printf '%s\n' "$KUBE_ERR" | grep -v -e '^Defaulted container' -e '^command terminated' -e '^$' | head -n 1) \
    || true
  printf '%s' "${words:-$(first_line "$KUBE_ERR")}"
}

# gitlab_installed_version: the version that runs now, from the image's tag; nothing where there is none.
gitlab_installed_version() {
  kube_get deployment gitlab "$GITLAB_NAMESPACE"
  if [[ -z $KUBE_OUT ]]; then return 0; fi
  field "$KUBE_OUT" \
    '[.spec.template.spec.containers[].image | select(contains("gitlab-ce:")) | sub(".*gitlab-ce:"; "")] | first // ""'
}

# refuse_forbidden_upgrade: ends the run where GITLAB_VERSION cannot be reached in one step from what is installed.
refuse_forbidden_upgrade() {
  local problem
  problem=$(upgrade_problem)
  if [[ -n $problem ]]; then
    die "$problem" 'https://docs.gitlab.com/update/upgrade_paths/' \
      'set gitlab_version to the first version named (./update.sh --data gitlab_version=...), let it start and finish
its background migrations (Admin > Monitoring > Background migrations), then take the next one'
  fi
}

# upgrade_problem: why the step from the installed GitLab to GITLAB_VERSION is not allowed; nothing where it is.
upgrade_problem() {
  local installed stops
  installed=$(gitlab_installed_version)
  if [[ -z $(version_numbers "$installed") ]]; then return 0; fi
  if ! version_at_least "$GITLAB_VERSION" "$installed"; then
    printf 'GitLab %s is installed; this lab asks for %s, and GitLab cannot go back.' "$installed" "$GITLAB_VERSION"
    return 0
  fi
  stops=$(required_stops "$installed" "$GITLAB_VERSION")
  if [[ -n $stops ]]; then
    printf 'GitLab cannot go from %s to %s in one step. It has to stop at %s on the way.' \
      "$installed" "$GITLAB_VERSION" "$(printf '%s' "$stops" | paste -s -d , - | sed 's/,/, then /g')"
  fi
}

# gitlab_healthy: a probe for wait_for. Ends the run where waiting cannot help.
gitlab_healthy() {
  local selector
  kube_get deployment gitlab "$GITLAB_NAMESPACE"
  if [[ -z $KUBE_OUT ]]; then
    WAIT_REASON='not installed yet'
    if [[ $GITOPS_SOURCE == external ]]; then WAIT_REASON+="; $(flux_complaint)"; fi
    return 1
  fi
  selector=$(field "$KUBE_OUT" 'if (.status.observedGeneration // 0) >= (.metadata.generation // 0)
    and (.status.updatedReplicas // 0) >= 1 and (.status.readyReplicas // 0) >= 1
    then "" else .spec.selector.matchLabels | to_entries | map("\(.key)=\(.value)") | join(",") end')
  if [[ -z $selector ]]; then return 0; fi
  kube_list pods --namespace "$GITLAB_NAMESPACE" --selector "$selector"
  WAIT_REASON=$(pod_reason "$KUBE_OUT")
  case $WAIT_REASON in
    CrashLoopBackOff)
      die 'GitLab keeps crashing.' "kubectl logs deploy/gitlab -n $GITLAB_NAMESPACE --previous --tail=80"
      ;;
    *Image*'manifest unknown'* | *Image*': not found'* | *InvalidImageName*)
      die "GitLab's image cannot be pulled: $WAIT_REASON" \
        "whether gitlab/gitlab-ce:$GITLAB_VERSION-ce.0 exists: https://hub.docker.com/r/gitlab/gitlab-ce/tags"
      ;;
    running) WAIT_REASON=$(gitlab_activity) ;;
  esac
  return 1
}

# pod_reason PODS: why the newest of these pods is not ready, or "running" where its container runs.
pod_reason() {
  printf '%s' "$1" | jq --raw-output '
    [.items[] | select(.metadata.deletionTimestamp == null)] | sort_by(.metadata.creationTimestamp) | last
    | if . == null then "no pod yet"
      else ([.status.initContainerStatuses[]?, .status.containerStatuses[]?]) as $containers
      | if any($containers[]; .state.waiting.reason == "CrashLoopBackOff" and .restartCount >= 3)
        then "CrashLoopBackOff"
        elif any($containers[]; .state.waiting != null)
        then first($containers[] | select(.state.waiting != null) | .state.waiting | "\(.reason) \(.message // "")")
        elif .status.phase == "Pending"
        then [.status.conditions[]? | select(.type == "PodScheduled" and .status == "False") | .message]
          | first // "pending"
        else "running" end
      end'
}

# gitlab_activity: what a GitLab that starts is busy with, from the end of its log.
gitlab_activity() {
  if ! kube '' logs deploy/gitlab --namespace "$GITLAB_NAMESPACE" --tail=40; then
    printf 'starting'
    return 0
  fi
  case $KUBE_OUT in
    *migrat*) printf 'migrating the database' ;;
    *Reconfigured*) printf 'starting its services' ;;
    *Recipe:* | *Chef* | *Cinc*) printf 'configuring itself' ;;
    *) printf 'starting' ;;
  esac
}

# gitlab_reachable: a probe for wait_for: GitLab answers under its public address, through Traefik, with TLS.
gitlab_reachable() {
  local code status=0
  code=$(curl_lab --output /dev/null --max-time 20 --write-out '%{http_code}' "$GITLAB_URL/users/sign_in" \
    2>"$LAB_TMP/curl.err") || status=$?
  case $status/$code in
    0/200 | 0/302) return 0 ;;
    0/404) WAIT_REASON="Traefik has no route to $GITLAB_HOST yet (HTTP 404)" ;;
    0/5??) WAIT_REASON="Traefik reaches no healthy GitLab yet (HTTP $code)" ;;
    0/*) WAIT_REASON="HTTP $code" ;;
    6/*) WAIT_REASON="DNS does not know $GITLAB_HOST here" ;;
    7/*) WAIT_REASON="nothing listens on port $HTTPS_PORT of $GITLAB_HOST" ;;
    35/* | 60/*) WAIT_REASON='its certificate is not trusted yet' ;;
    *) WAIT_REASON=$(<"$LAB_TMP/curl.err") ;;
  esac
  return 1
}

# wait_for_gitlab: healthy inside, then reachable from here.
wait_for_gitlab() {
  if dry_run; then
    would "wait until GitLab is healthy and answers at $GITLAB_URL"
    return 0
  fi
  wait_for "$LAB_WAIT_GITLAB_MINUTES" GitLab gitlab_healthy \
    || die "GitLab did not become healthy within $LAB_WAIT_GITLAB_MINUTES minutes; last seen: $WAIT_REASON" \
      "kubectl get pods -n $GITLAB_NAMESPACE; kubectl logs deploy/gitlab -n $GITLAB_NAMESPACE --tail=80" \
      'a first start on a slow disk may need longer: LAB_WAIT_GITLAB_MINUTES=40 ./bootstrap.sh --from gitlab'
  have 'GitLab is healthy'
  wait_for "$LAB_WAIT_FLUX_MINUTES" "$GITLAB_URL" gitlab_reachable \
    || die "GitLab is healthy, but $GITLAB_URL does not answer: $WAIT_REASON" \
      "kubectl get ingress,ingressroute,certificate -n $GITLAB_NAMESPACE
kubectl logs deploy/traefik -n kube-system --tail=50"
  have "$GITLAB_URL answers"
}

#!/usr/bin/env bash
# sync: this repository where Flux reads it, with a key that may also write (image automation commits), and Flux
# following it. The GitLab release passes from Helm's hands into Flux's without a restart.

stage_sync() {
  local pod_before
  pod_before=$(gitlab_pod)
  if [[ $GITOPS_SOURCE == self ]]; then
    sync_self
  else
    follow_external_repository
  fi
  wait_for_flux
  report_adoption "$pod_before"
  if [[ $GITOPS_SOURCE == self ]]; then ensure_push_hook; fi
}

# sync_self: the lab's own GitLab hosts the lab's repository.
sync_self() {
  ensure_git_credential
  if dry_run; then
    would "push this repository to $GITLAB_URL/$LAB_PROJECT.git and let Flux's key write there"
    would 'make a project access token flux-status for commit statuses'
  else
    gitlab_login
    push_to_gitlab
    settle "let Flux's key into $LAB_PROJECT" ensure_deploy_key
    settle "make the token flux-status of $LAB_PROJECT" ensure_status_token
  fi
  ensure_flux_follows
}

push_to_gitlab() {
  local url=$GITLAB_URL/$LAB_PROJECT.git
  refuse_uncommitted
  git_speaks_as gitlab
  push_branch "$url" \
    || die "This repository could not be pushed to $url: $GIT_PROBLEM" "$GITLAB_URL/$LAB_PROJECT/-/settings/repository"
  if ! lab_git remote get-url origin >/dev/null 2>&1; then
    lab_git remote add origin "ssh://git@$GITLAB_HOST:$SSH_PORT/$LAB_PROJECT.git"
    did "Git remote origin: $(lab_git remote get-url origin)"
  fi
}

# refuse_uncommitted: what is not committed is not what Flux deploys; GitLab would restart with other settings.
refuse_uncommitted() {
  local changed
  changed=$(uncommitted)
  [[ -z $changed ]] || die "These files differ from the last commit:
$changed" 'git diff HEAD' 'commit them (or git stash), then run ./bootstrap.sh --from sync'
}

# push_external: to the owner's own repository, with the owner's own rights.
push_external() {
  if ! dry_run; then refuse_uncommitted; fi
  git_speaks_as owner
  push_branch "$GITOPS_URL" || die "This repository could not be pushed to $GITOPS_URL: $GIT_PROBLEM" \
    "git push $GITOPS_URL HEAD:$GITOPS_BRANCH"
}

# ensure_deploy_key: Flux's public key at the lab's project, with the right to write, also to the protected branch.
ensure_deploy_key() {
  local project keys id stray
  project=/projects/$(url_encode "$LAB_PROJECT")
  api_list "$project/deploy_keys" "deploy keys of $LAB_PROJECT" || return
  keys=$(printf '%s' "$API_BODY" | jq --compact-output --arg title "flux-$LAB_NAME" --arg key "$KEY_PUBLIC" '
    ($key | split(" ")[0:2]) as $ours
    | {id: (map(select((.key | split(" ")[0:2]) == $ours and .can_push)) | first | .id),
       strays: (map(select(((.key | split(" ")[0:2]) == $ours and (.can_push | not))
                           or (.title == $title and (.key | split(" ")[0:2]) != $ours))) | map(.id))}')
  for stray in $(field "$keys" '.strays[]'); do
    api DELETE "$project/deploy_keys/$stray"
    api_expect "remove the deploy key $stray" 204 404 || return
  done
  id=$(field "$keys" '.id // ""')
  if [[ -n $id ]]; then
    have "Flux's key is a deploy key of $LAB_PROJECT"
  else
    api POST "$project/deploy_keys" "$(json_object title "flux-$LAB_NAME" key "$KEY_PUBLIC" can_push: true)"
    api_expect "add the deploy key of $LAB_PROJECT" 201 || return
    id=$(field "$API_BODY" .id)
    did "Flux's key is a deploy key of $LAB_PROJECT, with the right to write"
  fi
  ensure_key_may_push "$project/protected_branches" "$id"
}

# ensure_key_may_push BRANCHES KEY_ID: a protected branch takes pushes of a deploy key only where it names that key.
# https://docs.gitlab.com/user/project/repository/branches/protected/#enable-deploy-key-access
ensure_key_may_push() {
  local branches=$1 id=$2 branch
  branch=$branches/$(url_encode "$GITOPS_BRANCH")
  api GET "$branch"
  api_expect "show the protection of $GITOPS_BRANCH" 200 404 || return
  if [[ $API_STATUS == 200 ]] && key_is_listed "$id"; then
    have "Flux's key may push to $GITOPS_BRANCH"
    return 0
  fi
  if [[ $API_STATUS == 404 ]]; then
    api POST "$branches" "$(json_object name "$GITOPS_BRANCH" push_access_level: 40 merge_access_level: 40 \
      allowed_to_push: "[{\"deploy_key_id\":$id}]")"
    api_expect "protect $GITOPS_BRANCH" 201 409 || return
    if [[ $API_STATUS == 409 ]]; then return "$TRY_AGAIN"; fi
  else
    api PATCH "$branch" "{\"allowed_to_push\":[{\"deploy_key_id\":$id}]}"
    api_expect "let Flux's key push to $GITOPS_BRANCH" 200 || return
  fi
  key_is_listed "$id" || die "GitLab did not let Flux's deploy key push to the protected branch $GITOPS_BRANCH." '' \
    "in $GITLAB_URL/$LAB_PROJECT/-/settings/repository, Protected branches:
add the deploy key flux-$LAB_NAME to \"Allowed to push and merge\""
  did "Flux's key may push to $GITOPS_BRANCH"
}

# key_is_listed ID: in the protected branch that API_BODY shows.
key_is_listed() {
  [[ $(printf '%s' "$API_BODY" | jq --argjson id "$1" 'any(.push_access_levels[]?; .deploy_key_id == $id)') == true ]]
}

# ensure_status_token: with this token Flux writes onto each commit whether it was deployed. The branch is protected, so
# that takes the role of a maintainer (40). GitLab ends the token after a year at most; within its last month this stage
# replaces it.
ensure_status_token() {
  local tokens=/projects/ token id
  tokens+="$(url_encode "$LAB_PROJECT")/access_tokens"
  kube_get secret gitlab-status flux-system
  token=$(secret_field "$KUBE_OUT" token)
  hide_secret "$token"
  id=$(lasting_token "$token") || return
  api_list "$tokens?state=active" "access tokens of $LAB_PROJECT" || return
  delete_each "$tokens" "$(printf '%s' "$API_BODY" | jq --raw-output --arg id "$id" \
    '.[] | select(.name == "flux-status" and (.id | tostring) != $id) | .id')" || return
  if [[ -n $id ]]; then
    have 'Secret flux-system/gitlab-status'
    return 0
  fi
  api POST "$tokens" "$(json_object name flux-status scopes: '["api"]' access_level: 40 expires_at "$(in_a_year)")"
  api_expect "make the project access token flux-status" 201 || return
  token=$(field "$API_BODY" .token)
  hide_secret "$token"
  put_secret flux-system gitlab-status Opaque token "$token"
}

# in_a_year: the last day that GitLab lets such a token end.
in_a_year() { jq --null-input --raw-output 'now + 364 * 86400 | strftime("%Y-%m-%d")'; }

# lasting_token TOKEN: its number, where it is valid for another month at least; nothing otherwise.
lasting_token() {
  if [[ -z $1 ]]; then return 0; fi
  api GET /personal_access_tokens/self '' "$1"
  api_expect 'show an access token' 200 401 403 404
  if [[ $API_STATUS == 200 ]]; then
    field "$API_BODY" \
      'select(.active and (.expires_at == null or .expires_at > (now + 30 * 86400 | strftime("%Y-%m-%d")))) | .id'
  fi
}

# ensure_flux_follows: GitRepository and Kustomization flux-system, the two objects that everything else hangs on. Flux
# keeps them up to date itself, but not across an answer that moves them: where it looks, their new form never comes.
ensure_flux_follows() {
  if flux_follows_this; then
    have 'Flux follows the repository'
    return 0
  fi
  kube_apply_folder 'Flux follows the repository' "clusters/$CLUSTER_NAME/flux-system"
}

# flux_follows_this: this repository's address and branch, and this cluster's folder in it.
flux_follows_this() {
  kube_get gitrepositories.source.toolkit.fluxcd.io flux-system flux-system
  [[ $(field "$KUBE_OUT" '"\(.spec.url) \(.spec.ref.branch)"') == "$GITOPS_URL $GITOPS_BRANCH" ]] || return 1
  kube_get kustomizations.kustomize.toolkit.fluxcd.io flux-system flux-system
  [[ $(field "$KUBE_OUT" .spec.path) == "./clusters/$CLUSTER_NAME" ]]
}

# wait_for_flux: the repository read, and its parts applied. The sample application is left out: before its first build
# there is no image.
wait_for_flux() {
  local part
  if dry_run; then
    would 'wait until Flux has read the repository and applied infrastructure, gitlab and automation'
    return 0
  fi
  wait_for_object gitrepositories.source.toolkit.fluxcd.io flux-system flux-system
  for part in flux-system infrastructure gitlab automation; do
    wait_for_object kustomizations.kustomize.toolkit.fluxcd.io "$part" flux-system
  done
  wait_for_object helmreleases.helm.toolkit.fluxcd.io gitlab "$GITLAB_NAMESPACE"
}

# wait_for_object KIND NAME NAMESPACE
wait_for_object() {
  wait_for "$LAB_WAIT_FLUX_MINUTES" "${1%%.*} $2" object_current "$@" \
    || die "${1%%.*} $3/$2 is not ready after $LAB_WAIT_FLUX_MINUTES minutes: $WAIT_REASON" \
      "flux get all -A; kubectl describe ${1%%.*} $2 -n $3"
  have "${1%%.*} $2 is ready"
}

# object_ready KIND NAME NAMESPACE: a probe for wait_for.
object_ready() {
  kube_get "$@"
  if [[ -z $KUBE_OUT ]]; then
    WAIT_REASON='not there yet'
    return 1
  fi
  if [[ $(condition "$KUBE_OUT" Ready) == True ]]; then return 0; fi
  WAIT_REASON=$(condition_message "$KUBE_OUT" Ready)
  # A repository that could not be read is looked at again after a pause that grows; its reason may be gone by now.
  if [[ $1 == gitrepositories.* && $(condition "$KUBE_OUT" Ready) == False ]] && ! dry_run; then ask_flux_again "$@"; fi
  return 1
}

# object_current KIND NAME NAMESPACE: a probe for wait_for. What Flux says of an older commit, or of the object as it
# was before, does not count.
object_current() {
  local revision unseen
  object_ready "$@" || return 1
  unseen='[.status.observedGeneration, .metadata.generation] | .[0] != null and .[0] != .[1]'
  if [[ $(field "$KUBE_OUT" "$unseen") == true ]]; then
    WAIT_REASON='Flux has not seen its newest form yet'
    return 1
  fi
  revision=$(field "$KUBE_OUT" '.status.artifact.revision // .status.lastAppliedRevision // ""')
  if holds_head "${revision##*:}"; then return 0; fi
  WAIT_REASON="Flux is still at the commit ${revision##*:}"
  return 1
}

# holds_head COMMIT: whether it holds what was pushed. One that is not here is newer: image automation pushes, too.
holds_head() {
  [[ -z $1 ]] || ! lab_git cat-file -e "$1^{commit}" 2>/dev/null || lab_git merge-base --is-ancestor HEAD "$1"
}

# flux_complaint: the first thing on Flux's way to GitLab that is not ready, in its own words.
flux_complaint() {
  local kind name namespace
  while read -r kind name namespace; do
    if ! object_ready "$kind" "$name" "$namespace"; then
      printf '%s %s: %s' "${kind%%.*}" "$name" "$WAIT_REASON"
      return 0
    fi
  done <<OBJECTS
gitrepositories.source.toolkit.fluxcd.io flux-system flux-system
kustomizations.kustomize.toolkit.fluxcd.io flux-system flux-system
kustomizations.kustomize.toolkit.fluxcd.io infrastructure flux-system
helmreleases.helm.toolkit.fluxcd.io gitlab $GITLAB_NAMESPACE
OBJECTS
}

# gitlab_pod: what tells one pod of GitLab's from the next.
gitlab_pod() {
  kube_list pods --namespace "$GITLAB_NAMESPACE" --selector app.kubernetes.io/instance=gitlab
  field "$KUBE_OUT" '[.items[] | select(.metadata.deletionTimestamp == null) | .metadata.uid] | sort | join(" ")'
}

# report_adoption PODS: Flux took GitLab's release over; the same pod should still run.
report_adoption() {
  if dry_run; then return 0; fi
  if [[ $(gitlab_pod) == "$1" ]]; then
    have 'Flux keeps the GitLab release now; GitLab was not restarted'
  else
    warn "GitLab's pod was replaced meanwhile: what is committed differs from what was installed.
Waiting for the new one."
    wait_for_gitlab
  fi
}

# ensure_push_hook: GitLab tells Flux of every push. GitLab refuses to call private addresses; this one name is allowed.
ensure_push_hook() {
  local url
  if dry_run; then
    would "make a webhook of $LAB_PROJECT that tells Flux of pushes"
    return 0
  fi
  wait_for_object receivers.notification.toolkit.fluxcd.io gitlab flux-system
  url=$WEBHOOK_RECEIVER$(field "$KUBE_OUT" '.status.webhookPath // ""')
  check_registry_address
  ensure_outbound_allowed "${WEBHOOK_RECEIVER#http://}"
  wait_for "$LAB_WAIT_FLUX_MINUTES" "webhook of $LAB_PROJECT" hook_accepted "$url" \
    || die "GitLab does not take the webhook to $url: $API_PROBLEM" \
      "$GITLAB_URL/admin/application_settings/network, Outbound requests"
}

# hook_accepted URL: a probe for wait_for. GitLab's processes keep its settings for a minute, so the one that answers
# may not know yet that this address is allowed.
hook_accepted() {
  hook_refused=false
  settle "make the webhook of $LAB_PROJECT" ensure_hook "$1"
  if ! $hook_refused; then return 0; fi
  WAIT_REASON="GitLab does not know yet that it may call Flux ($API_PROBLEM)"
  return 1
}

# check_registry_address: what GitLab was told at its start has to be what Flux answers to.
check_registry_address() {
  local url old
  wait_for_object receivers.notification.toolkit.fluxcd.io registry flux-system
  url=$WEBHOOK_RECEIVER$(field "$KUBE_OUT" '.status.webhookPath // ""')
  kube_get secret registry-webhook "$GITLAB_NAMESPACE"
  old=$(secret_field "$KUBE_OUT" url)
  if [[ $old != "$url" ]]; then tell_registry "$url" "$old"; fi
}

# ensure_outbound_allowed HOST
ensure_outbound_allowed() {
  local list
  api GET /application/settings
  api_expect "show GitLab's settings" 200
  list=$(field "$API_BODY" '.outbound_local_requests_whitelist // []')
  if [[ $(printf '%s' "$list" | jq --arg host "$1" 'index($host) != null') == true ]]; then
    have 'GitLab may call Flux'
    return 0
  fi
  list=$(printf '%s' "$list" | jq --compact-output --arg host "$1" '. + [$host]')
  api PUT /application/settings "$(json_object outbound_local_requests_whitelist: "$list")"
  api_expect 'allow GitLab to call Flux' 200
  did 'GitLab may call Flux, and no other private address'
}

# ensure_hook URL: one webhook to this address, none to an older one of Flux's.
ensure_hook() {
  local url=$1 hooks there strays token
  hooks="/projects/$(url_encode "$LAB_PROJECT")/hooks"
  api_list "$hooks" "webhooks of $LAB_PROJECT" || return
  there=$API_BODY
  strays=$(printf '%s' "$there" | jq --raw-output --arg url "$url" --arg ours "$WEBHOOK_RECEIVER/" '
    [.[] | select(.url | startswith($ours))] | (map(select(.url == $url)) | first | .id) as $keep
    | .[] | select(.id != $keep) | .id')
  delete_each "$hooks" "$strays" || return
  if [[ $(printf '%s' "$there" | jq --arg url "$url" 'any(.[]; .url == $url)') == true ]]; then
    have "GitLab tells Flux of pushes to $LAB_PROJECT"
    return 0
  fi
  kube_get secret receiver-token flux-system
  token=$(secret_field "$KUBE_OUT" token)
  hide_secret "$token"
  api POST "$hooks" "$(json_object url "$url" token "$token" push_events: true enable_ssl_verification: false)"
  api_expect "make the webhook of $LAB_PROJECT" 201 422 || return
  if [[ $API_STATUS == 422 ]]; then
    hook_refused=true
    return 0
  fi
  did "GitLab tells Flux of pushes to $LAB_PROJECT"
}

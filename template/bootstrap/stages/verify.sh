#!/usr/bin/env bash
# verify: the loop that the lab exists for, run for real, or the first thing that is wrong, in words.
# In a full run it is content with a loop that has already carried the newest tag; `./bootstrap.sh verify` makes a new
# one.

stage_verify() {
  local again=${1-}
  if dry_run; then
    would 'check GitLab, its registry, Flux and the runner, each for itself'
    if [[ $SAMPLE_APP == true ]]; then would "tag $SAMPLE_PROJECT and follow the tag until its pod runs"; fi
    return 0
  fi
  verify_gitlab
  verify_flux
  gitlab_login
  verify_registry
  if [[ $RUNNER_KIND != none ]]; then verify_runner; fi
  if [[ $SAMPLE_APP != true ]]; then
    skip 'this lab has no sample application, so there is no loop to run'
  elif [[ $RUNNER_KIND == none ]]; then
    skip 'this lab has no runner, so nothing can build the sample application'
  else
    verify_loop "$again"
  fi
}

verify_gitlab() {
  gitlab_healthy || die "GitLab is not healthy: ${WAIT_REASON}." \
    "kubectl get pods -n $GITLAB_NAMESPACE; kubectl logs deploy/gitlab -n $GITLAB_NAMESPACE --tail=80"
  gitlab_reachable || die "GitLab is healthy, but $GITLAB_URL does not answer: $WAIT_REASON." \
    "kubectl get ingress,ingressroute,certificate -n $GITLAB_NAMESPACE"
  have "$GITLAB_URL answers"
}

verify_flux() {
  local part
  flux_ready || die "Flux is not whole: $WAIT_REASON." 'kubectl get pods -n flux-system'
  object_ready gitrepositories.source.toolkit.fluxcd.io flux-system flux-system \
    || die "Flux cannot read the lab's repository: $WAIT_REASON." 'flux get sources git -A' \
      "mend that, then ./bootstrap.sh --from sync"
  for part in flux-system infrastructure gitlab automation; do
    object_ready kustomizations.kustomize.toolkit.fluxcd.io "$part" flux-system \
      || die "Flux cannot apply \"$part\": $WAIT_REASON." \
        "flux get kustomizations -A; kubectl describe kustomization $part -n flux-system"
  done
  have 'Flux reads and applies the repository'
}

# verify_registry: it answers over https, sends its clients to GitLab over https, and takes what regcred holds.
verify_registry() {
  local group user password realm status code=0
  realm=$(curl_lab --max-time 20 --output /dev/null --dump-header - "${GITLAB_URL%%://*}://$REGISTRY_ADDRESS/v2/" \
    2>"$LAB_TMP/curl.err" | sed -n 's/^[Ww][Ww][Ww]-[Aa]uthenticate:.*realm="\([^"]*\)".*/\1/p') || code=$?
  ((code == 0)) || die "The registry $REGISTRY_ADDRESS does not answer: $(<"$LAB_TMP/curl.err")" \
    "kubectl get ingress,ingressroute -n $GITLAB_NAMESPACE"
  [[ $realm == "$GITLAB_URL/jwt/auth" ]] \
    || die "The registry sends its clients to \"$realm\" to log in, not to $GITLAB_URL/jwt/auth." \
    'external_url and registry_external_url in apps/gitlab/gitlab.rb'
  AUTHS=$(current_auths)
  for group in "${GITLAB_GROUPS[@]}"; do
    user=$(registry_login "$group" username)
    password=$(registry_login "$group" password)
    hide_secret "$password"
    status=$(registry_answer "$user" "$password")
    [[ $status == 200 ]] || die "The registry does not take the credentials in regcred for $group: $status." \
      "$GITLAB_URL/groups/$group/-/settings/repository (deploy tokens)" \
      './bootstrap.sh --only registry makes a new one where it is gone'
  done
  have "the registry answers and takes the cluster's credentials"
}

# registry_login GROUP FIELD: of what regcred holds for a group.
registry_login() {
  printf '%s' "$AUTHS" | jq --raw-output --arg key "$(registry_key "$1")" --arg field "$2" '.[$key][$field] // ""'
}

verify_runner() {
  local id ids
  api_list '/runners/all?type=instance_type' 'runners'
  ids=$(printf '%s' "$API_BODY" | jq --raw-output --arg name "lab-$LAB_NAME" \
    '.[] | select(.description == $name) | .id')
  [[ -n $ids ]] \
    || die "GitLab has no runner lab-$LAB_NAME." "$GITLAB_URL/admin/runners" './bootstrap.sh --only runner'
  for id in $ids; do
    read_runner_status "$id"
    [[ $RUNNER_STATUS != online ]] || break
  done
  [[ $RUNNER_STATUS == online ]] || die "The runner lab-$LAB_NAME is not online: GitLab calls it $RUNNER_STATUS." \
    "$GITLAB_URL/admin/runners, and the runner's log" './bootstrap.sh --only runner'
  have "the runner lab-$LAB_NAME is online"
}

# verify_loop AGAIN: follows one tag from GitLab to the pod.
verify_loop() {
  local tag project start=$SECONDS
  project=/projects/$(url_encode "$SAMPLE_PROJECT")
  tag=$(newest_tag "$project")
  if [[ -n $tag ]] && sample_runs "$tag"; then
    if [[ -z $1 ]]; then
      have "the loop has carried $SAMPLE_PROJECT $tag to its pod; ./bootstrap.sh verify sends another"
      return 0
    fi
    tag=''
  elif [[ -n $tag ]] && pipeline_is_over "$project" "$tag"; then
    tag=''
  fi
  if [[ -z $tag ]]; then
    tag=$(next_tag "$(newest_tag "$project")")
    settle "tag $SAMPLE_PROJECT" make_tag "$project" "$tag"
  else
    doing "going on with $tag, which is under way"
  fi
  follow_tag "$project" "$tag"
  have "from tag to page in $((SECONDS - start)) s: $(sample_url)"
}

# newest_tag PROJECT: the highest x.y.z or vx.y.z that the sample project has; nothing where it has none.
newest_tag() {
  api_list "$1/repository/tags" "tags of $SAMPLE_PROJECT"
  field "$API_BODY" '[.[].name | select(test("^v?[0-9]+\\.[0-9]+\\.[0-9]+$"))]
    | sort_by(ltrimstr("v") | split(".") | map(tonumber)) | last // ""'
}

# next_tag TAG: the next patch.
next_tag() {
  if [[ $1 =~ ^(v?[0-9]+\.[0-9]+\.)([0-9]+)$ ]]; then
    printf '%s%s' "${BASH_REMATCH[1]}" "$((10#${BASH_REMATCH[2]} + 1))"
  else
    printf 'v1.0.0'
  fi
}

# make_tag PROJECT TAG
make_tag() {
  local branch
  api GET "$1/repository/tags/$(url_encode "$2")"
  api_expect "show the tag $2" 200 404 || return
  if [[ $API_STATUS == 404 ]]; then
    api GET "$1"
    api_expect "show $SAMPLE_PROJECT" 200 || return
    branch=$(field "$API_BODY" '.default_branch // "main"')
    api POST "$1/repository/tags" "$(json_object tag_name "$2" ref "$branch" message 'Made by ./bootstrap.sh verify')"
    api_expect "make the tag $2" 201 || return
  fi
  did "tagged $SAMPLE_PROJECT $2"
}

# pipeline_is_over PROJECT TAG: its pipeline ended without success, so nothing will come of this tag.
pipeline_is_over() {
  api GET "$1/pipelines?ref=$(url_encode "$2")&per_page=1"
  api_expect "list pipelines of $SAMPLE_PROJECT" 200
  [[ $(field "$API_BODY" 'first.status // ""') =~ ^(failed|canceled|skipped)$ ]]
}

# follow_tag PROJECT TAG: each step waits for the one thing that has to happen next.
follow_tag() {
  local project=$1 tag=$2 step
  local -a steps=(build image scan commit pod page)
  local -A said=([build]="built by the runner" [image]="in the registry" [scan]="found by Flux"
    [commit]="committed by Flux" [pod]="running" [page]="served at $(sample_url)")
  for step in "${steps[@]}"; do
    wait_for "$LAB_WAIT_VERIFY_MINUTES" "$tag ${said[$step]}" "sample_$step" "$project" "$tag" \
      || die "$SAMPLE_PROJECT $tag is not ${said[$step]} after $LAB_WAIT_VERIFY_MINUTES minutes: $WAIT_REASON" \
        "$(sample_look "$step")"
    have "$tag is ${said[$step]}"
  done
}

# sample_look STEP
sample_look() {
  case $1 in
    build) printf '%s/%s/-/pipelines' "$GITLAB_URL" "$SAMPLE_PROJECT" ;;
    image) printf '%s/%s/container_registry' "$GITLAB_URL" "$SAMPLE_PROJECT" ;;
    scan) printf 'flux get images all -A; kubectl describe imagerepository demo -n flux-system' ;;
    commit) printf 'flux get images update -A; kubectl logs deploy/image-automation-controller -n flux-system' ;;
    pod) printf 'flux get helmreleases -A; kubectl get pods -n %s; kubectl describe deploy demo -n %s' \
      "$APP_NAMESPACE" "$APP_NAMESPACE" ;;
    page) printf 'curl -v %s; kubectl get ingress,ingressroute -n %s' "$(sample_url)" "$APP_NAMESPACE" ;;
  esac
}

sample_url() { printf '%s' "${GITLAB_URL/"$GITLAB_HOST"/$SAMPLE_HOST}"; }

# The probes for wait_for: PROJECT TAG each.

sample_build() {
  local status url
  api GET "$1/pipelines?ref=$(url_encode "$2")&per_page=1"
  api_expect "list pipelines of $SAMPLE_PROJECT" 200
  status=$(field "$API_BODY" 'first.status // "no pipeline yet"')
  url=$(field "$API_BODY" 'first.web_url // ""')
  WAIT_REASON="pipeline: $status"
  case $status in
    success) return 0 ;;
    failed | canceled | skipped) die "The pipeline of $SAMPLE_PROJECT $2 ended as \"$status\"." "$url" \
      'mend what its log says, then run ./bootstrap.sh verify; it makes a new tag' ;;
    pending) WAIT_REASON='the job waits for a runner' ;;
  esac
  return 1
}

sample_image() {
  api GET "$1/registry/repositories?tags=true"
  api_expect "list images of $SAMPLE_PROJECT" 200
  WAIT_REASON='the registry does not list it yet'
  [[ $(printf '%s' "$API_BODY" | jq --arg tag "$2" 'any(.[].tags[]?; .name == $tag)') == true ]]
}

sample_scan() {
  kube_get imagepolicies.image.toolkit.fluxcd.io demo flux-system
  if [[ $(field "${KUBE_OUT:-null}" '.status.latestRef.tag // ""') == "$2" ]]; then return 0; fi
  WAIT_REASON=$(condition_message "${KUBE_OUT:-null}" Ready)
  kube_get imagerepositories.image.toolkit.fluxcd.io demo flux-system
  if [[ $(condition "${KUBE_OUT:-null}" Ready) != True ]]; then
    WAIT_REASON=$(condition_message "${KUBE_OUT:-null}" Ready)
    if [[ $(condition "${KUBE_OUT:-null}" Ready) == False ]]; then
      ask_flux_again imagerepositories.image.toolkit.fluxcd.io demo flux-system
    fi
  fi
  return 1
}

sample_commit() {
  local tag failed
  kube_list helmreleases.helm.toolkit.fluxcd.io --all-namespaces
  tag=$(field "$KUBE_OUT" '[.items[] | select(.metadata.name == "demo") | .spec.values.image.tag] | first // ""')
  if [[ $tag == "$2" ]]; then return 0; fi
  kube_list imageupdateautomations.image.toolkit.fluxcd.io --namespace flux-system
  WAIT_REASON=$(field "$KUBE_OUT" '[.items[].status.conditions[]? | select(.type == "Ready") | .message]
    | first // "no word from the image automation yet"')
  failed=$(field "$KUBE_OUT" '[.items[] | select(any(.status.conditions[]?; .type == "Ready" and .status == "False"))
    | .metadata.name] | first // ""')
  if [[ -n $failed ]]; then
    ask_flux_again imageupdateautomations.image.toolkit.fluxcd.io "$failed" flux-system
  fi
  return 1
}

sample_pod() {
  if sample_runs "$2"; then return 0; fi
  kube_list helmreleases.helm.toolkit.fluxcd.io --all-namespaces
  WAIT_REASON=$(field "$KUBE_OUT" '[.items[] | select(.metadata.name == "demo") | .status.conditions[]?
    | select(.type == "Ready" and .status == "False") | .message] | first // ""')
  if [[ -n $WAIT_REASON ]]; then return 1; fi
  kube_list pods --namespace "$APP_NAMESPACE" --selector app.kubernetes.io/instance=demo
  WAIT_REASON=$(pod_reason "$KUBE_OUT")
  return 1
}

sample_page() {
  local code status=0
  code=$(curl_lab --output /dev/null --max-time 20 --write-out '%{http_code}' "$(sample_url)/" 2>"$LAB_TMP/curl.err") \
    || status=$?
  WAIT_REASON="HTTP $code"
  if ((status != 0)); then WAIT_REASON=$(<"$LAB_TMP/curl.err"); fi
  [[ $code == 200 ]]
}

# sample_runs TAG: the Deployment has this image, and its pods are ready.
sample_runs() {
  kube_get deployment demo "$APP_NAMESPACE"
  [[ -n $KUBE_OUT ]] && [[ $(printf '%s' "$KUBE_OUT" | jq --arg tag ":$1" '
    any(.spec.template.spec.containers[]; .image | contains($tag + "@") or endswith($tag))
    and (.status.observedGeneration // 0) >= (.metadata.generation // 0)
    and (.status.updatedReplicas // 0) >= 1 and (.status.readyReplicas // 0) >= 1') == true ]]
}

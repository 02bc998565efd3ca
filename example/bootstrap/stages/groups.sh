#!/usr/bin/env bash
# groups: where the images live (groups), the lab's own project, the sample project with its first commit.

stage_groups() {
  local group
  if dry_run; then
    plan_groups
    return 0
  fi
  gitlab_login
  for group in "${GITLAB_GROUPS[@]}"; do
    settle "create the group $group" ensure_group "$group"
    if [[ $PIPELINE_AUTH == group-variable ]]; then
      settle "give $group its DOCKER_REGISTRY_TOKEN" ensure_registry_variable "$group"
    fi
  done
  if [[ $GITOPS_SOURCE == self ]]; then
    settle "create the project $LAB_PROJECT" ensure_project "$LAB_PROJECT" private
    ensure_lab_project_settings
  fi
  if [[ $SAMPLE_APP == true ]]; then
    settle "create the project $SAMPLE_PROJECT" ensure_project "$SAMPLE_PROJECT" "$GROUP_VISIBILITY"
    ensure_sample_content
    settle "protect the tags of $SAMPLE_PROJECT" ensure_protected_tags
  fi
}

plan_groups() {
  would "make sure that GitLab has the groups ${GITLAB_GROUPS[*]} ($GROUP_VISIBILITY)"
  if [[ $PIPELINE_AUTH == group-variable ]]; then would 'give each group the masked variable DOCKER_REGISTRY_TOKEN'; fi
  if [[ $GITOPS_SOURCE == self ]]; then would "make sure that GitLab has the project $LAB_PROJECT (private)"; fi
  if [[ $SAMPLE_APP == true ]]; then
    would "make sure that GitLab has $SAMPLE_PROJECT, with sample-app/ as its content and protected tags"
  fi
}

# ensure_group PATH: a group, and the groups above it.
ensure_group() {
  local path=$1 parent=null body
  api GET "/groups/$(url_encode "$path")?with_projects=false"
  api_expect "show the group $path" 200 404 || return
  if [[ $API_STATUS == 200 ]]; then
    have "group $path"
    return 0
  fi
  if [[ $path == */* ]]; then
    ensure_group "${path%/*}" || return
    parent=$(group_id "${path%/*}") || return
  fi
  body=$(json_object name "${path##*/}" path "${path##*/}" visibility "$GROUP_VISIBILITY" parent_id: "$parent")
  api POST /groups "$body"
  api_expect "create the group $path" 201 || return
  did "group $path"
}

# group_id PATH
group_id() {
  api GET "/groups/$(url_encode "$1")?with_projects=false"
  api_expect "show the group $1" 200 || return
  field "$API_BODY" .id
}

# ensure_project PATH VISIBILITY
ensure_project() {
  local path=$1 namespace body
  api GET "/projects/$(url_encode "$path")"
  api_expect "show the project $path" 200 404 || return
  if [[ $API_STATUS == 200 ]]; then
    have "project $path"
    return 0
  fi
  namespace=$(group_id "${path%/*}") || return
  body=$(json_object name "${path##*/}" path "${path##*/}" namespace_id: "$namespace" visibility "$2")
  api POST /projects "$body"
  api_expect "create the project $path" 201 || return
  did "project $path"
}

# ensure_lab_project_settings: the scheduled job of .gitlab-ci.yml pushes its update branch with its own job token.
ensure_lab_project_settings() {
  local project
  project=/projects/$(url_encode "$LAB_PROJECT")
  api GET "$project"
  api_expect "show the project $LAB_PROJECT" 200
  if [[ $(field "$API_BODY" .ci_push_repository_for_job_token_allowed) == true ]]; then
    have "jobs of $LAB_PROJECT may push to it"
    return 0
  fi
  api PUT "$project" '{"ci_push_repository_for_job_token_allowed":true}'
  api_expect "let jobs of $LAB_PROJECT push to it" 200
  did "jobs of $LAB_PROJECT may push to it"
}

# ensure_sample_content: sample-app/ as the first commit, where there is none yet.
ensure_sample_content() {
  api GET "/projects/$(url_encode "$SAMPLE_PROJECT")"
  api_expect "show the project $SAMPLE_PROJECT" 200
  if [[ $(field "$API_BODY" .empty_repo) != true ]]; then
    have "$SAMPLE_PROJECT has content"
    return 0
  fi
  git_speaks_as gitlab
  push_folder "$LAB_DIR/sample-app" "$GITLAB_URL/$SAMPLE_PROJECT.git" main 'The sample application, as generated' \
    || die "sample-app/ could not be pushed to $SAMPLE_PROJECT: $GIT_PROBLEM" \
      "git ls-remote $GITLAB_URL/$SAMPLE_PROJECT.git"
  did "$SAMPLE_PROJECT has sample-app/ as its content"
}

# ensure_protected_tags: a tag deploys, v1.2.3 and 1.2.3 alike, so only maintainers may make one, whatever its name.
ensure_protected_tags() {
  local tags
  tags="/projects/$(url_encode "$SAMPLE_PROJECT")/protected_tags"
  api GET "$tags/$(url_encode '*')"
  api_expect "show the protected tags of $SAMPLE_PROJECT" 200 404 || return
  if [[ $API_STATUS == 200 ]]; then
    have "tags of $SAMPLE_PROJECT are protected"
    return 0
  fi
  api POST "$tags" '{"name":"*","create_access_level":40}'
  api_expect "protect the tags of $SAMPLE_PROJECT" 201 || return
  did "tags of $SAMPLE_PROJECT are protected"
}

# ensure_registry_variable GROUP: DOCKER_REGISTRY_TOKEN, a deploy token that may push images and nothing else. GitLab
# shows it once; so the variable is removed before the token is replaced: where there is a variable, it holds the token
# that is valid.
ensure_registry_variable() {
  local group=$1 tokens variable found token body
  tokens="/groups/$(url_encode "$group")/deploy_tokens"
  variable="/groups/$(url_encode "$group")/variables/DOCKER_REGISTRY_TOKEN"
  api_list "$tokens?active=true" "deploy tokens of $group" || return
  found=$(printf '%s' "$API_BODY" | jq --raw-output --arg name "push-$LAB_NAME" '.[] | select(.name == $name) | .id')
  api GET "$variable"
  api_expect "show the variables of $group" 200 404 || return
  if [[ $API_STATUS == 200 && $found =~ ^[0-9]+$ ]]; then
    have "DOCKER_REGISTRY_TOKEN of $group"
    return 0
  fi
  if [[ $API_STATUS == 200 ]]; then
    api DELETE "$variable"
    api_expect "remove DOCKER_REGISTRY_TOKEN of $group" 204 404 || return
  fi
  delete_each "$tokens" "$found" || return
  api POST "$tokens" \
    "$(json_object name "push-$LAB_NAME" username "$REGISTRY_PUSH_USER" scopes: '["read_registry","write_registry"]')"
  api_expect "make a deploy token of $group" 201 || return
  token=$(field "$API_BODY" .token)
  hide_secret "$token"
  body=$(json_object key DOCKER_REGISTRY_TOKEN value "$token" masked: true protected: false raw: true)
  api POST "${variable%/*}" "$body"
  api_expect "set DOCKER_REGISTRY_TOKEN of $group" 201 || return
  did "DOCKER_REGISTRY_TOKEN of $group, masked"
}

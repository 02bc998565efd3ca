#!/usr/bin/env bash
# registry: one deploy token a group, which may pull and nothing else and does not expire, and the Secret regcred with
# all of them wherever images are pulled (the applications' namespace) or looked for (flux-system).

stage_registry() {
  local group
  if dry_run; then
    would "make sure that ${GITLAB_GROUPS[*]} have the deploy token flux-$LAB_NAME (read_registry)"
    would "make sure that its credentials are in flux-system/regcred and $APP_NAMESPACE/regcred"
    return 0
  fi
  gitlab_login
  AUTHS=$(current_auths)
  for group in "${GITLAB_GROUPS[@]}"; do
    settle "make a deploy token of $group" ensure_deploy_token "$group"
  done
  write_auths flux-system
  write_auths "$APP_NAMESPACE"
}

# registry_key GROUP: which images its credentials are for. With several groups the group's path belongs to it; both the
# kubelet and Flux then take the longest key that an image's name begins with. They compare characters, so that without
# the last slash friends/web would open friends/website; and they drop a leading /v1/ or /v2/, as an API's version.
# https://kubernetes.io/docs/concepts/containers/images/#config-json (kubelet);
# https://github.com/google/go-containerregistry/tree/main/pkg/authn/kubernetes (image-reflector-controller)
registry_key() {
  local path=${1,,}/
  if ((${#GITLAB_GROUPS[@]} == 1)); then
    printf '%s' "$REGISTRY_ADDRESS"
    return 0
  fi
  [[ $path != v[12]/* ]] || path=v2/$path
  printf '%s/%s' "$REGISTRY_ADDRESS" "$path"
}

# current_auths: what the Secrets regcred hold now, both together; flux-system's wins.
current_auths() {
  local namespace secrets=''
  for namespace in "$APP_NAMESPACE" flux-system; do
    kube_get secret regcred "$namespace"
    secrets+=$KUBE_OUT$'\n'
  done
  regcred_auths "$secrets"
}

# regcred_auths SECRETS: their credentials, by registry; the later one wins. Something unreadable counts as nothing.
regcred_auths() {
  printf '%s' "$1" | jq --slurp --compact-output \
    'map((.data[".dockerconfigjson"] // "") | (@base64d | fromjson)? // {} | .auths // {}) | add // {}'
}

# ensure_deploy_token GROUP: GitLab shows a token once. Where its Secret is lost it is replaced, never doubled.
ensure_deploy_token() {
  local group=$1 tokens key known user password
  key=$(registry_key "$group")
  tokens="/groups/$(url_encode "$group")/deploy_tokens"
  api_list "$tokens?active=true" "deploy tokens of $group" || return
  known=$(printf '%s' "$API_BODY" | jq --compact-output --arg name "flux-$LAB_NAME" \
    'map(select(.name == $name) | {id, username})')
  user=$(printf '%s\n%s' "$known" "$AUTHS" | jq --slurp --raw-output '.[0] as $known | .[1] as $auths
    | if ($known | length) == 1 and any($auths[]; .username == $known[0].username) then $known[0].username else "" end')
  if [[ -n $user ]]; then
    password=$(printf '%s' "$AUTHS" | jq --raw-output --arg user "$user" \
      'first(.[] | select(.username == $user)) | .password')
    hide_secret "$password"
    # GitLab numbers its tokens, so the user's name alone proves nothing: a GitLab that was restored on a new cluster
    # brings a token of the same name with another password.
    if [[ $(registry_answer "$user" "$password") != 401 ]]; then
      keep_auth "$key" "$user" "$password"
      have "deploy token of $group"
      return 0
    fi
  fi
  delete_each "$tokens" "$(field "$known" '.[].id')" || return
  api POST "$tokens" "$(json_object name "flux-$LAB_NAME" scopes: '["read_registry"]')"
  api_expect "make a deploy token of $group" 201 || return
  user=$(field "$API_BODY" .username)
  password=$(field "$API_BODY" .token)
  hide_secret "$password"
  keep_auth "$key" "$user" "$password"
  did "deploy token of $group: $user"
  write_auths flux-system
}

# registry_answer USER PASSWORD: what GitLab answers to a log-in at its registry: an HTTP status, or curl's complaint.
registry_answer() {
  local answer
  answer=$(curl_lab --max-time 20 --output /dev/null --write-out '%{http_code}' \
    --config <(printf 'user = "%s:%s"\n' "$1" "$2") \
    "$GITLAB_URL/jwt/auth?service=container_registry" 2>"$LAB_TMP/curl.err") || answer=$(<"$LAB_TMP/curl.err")
  printf '%s' "$answer"
}

# keep_auth KEY USER PASSWORD: among AUTHS.
keep_auth() {
  AUTHS=$(printf '%s\n%s' "$AUTHS" "$(docker_auth "$@")" | jq --slurp --compact-output add)
}

# docker_auth KEY USER PASSWORD: one entry of a Docker configuration.
docker_auth() {
  json_object key "$1" username "$2" password "$3" \
    | jq --compact-output '{(.key): {username, password, auth: ("\(.username):\(.password)" | @base64)}}'
}

# write_auths NAMESPACE: regcred there. Entries for other registries are the owner's and stay.
write_auths() {
  local namespace=$1 group there wanted keys
  keys=$(for group in "${GITLAB_GROUPS[@]}"; do printf '%s\n' "$(registry_key "$group")"; done)
  kube_get secret regcred "$namespace"
  there=$(regcred_auths "$KUBE_OUT")
  wanted=$(printf '%s\n%s' "$there" "$AUTHS" | jq --slurp --compact-output --arg keys "$keys" \
    --arg address "$REGISTRY_ADDRESS" '
    ($keys | split("\n")) as $ours | .[0] as $there | .[1] as $auths
    | ($there | with_entries(select(.key != $address and (.key | startswith($address + "/") | not))))
      + ($auths | with_entries(select(.key | IN($ours[]))))
    | if . == $there then empty else {auths: .} end')
  if [[ -z $wanted ]]; then
    have "Secret $namespace/regcred"
    return 0
  fi
  put_secret "$namespace" regcred kubernetes.io/dockerconfigjson .dockerconfigjson "$wanted"
}

#!/usr/bin/env bash
# GitLab's REST API. The token reaches curl through a pipe, as part of a configuration that only curl reads.

ROOT_TOKEN=''         # an administrator's token that lives for this run only
API_STATUS=''         # the HTTP status; 000 where no answer came
API_BODY=''
API_PROBLEM=''        # why the last request failed, in words

# Answers that leave open whether GitLab has done what was asked.
readonly UNSURE=unsure

# curl_lab ARGUMENT...: curl for the lab's own hosts. -q: an owner's ~/.curlrc may trace headers, and so the token.
curl_lab() {
  local -a trust=()
  if [[ $PRIVATE_CA == true ]]; then trust=(--cacert "$LAB_DIR/ca.crt"); fi
  curl -q --silent --show-error --connect-timeout 10 ${trust[@]+"${trust[@]}"} "$@"
}

# api METHOD PATH [BODY [TOKEN]]: sets API_STATUS and API_BODY; never fails by itself, api_expect judges.
# What passes is tried again. A POST or a PATCH is not, unless it certainly was not carried out: see settle.
api() {
  local method=$1 path=$2 body=${3-} token=${4-$ROOT_TOKEN} try seconds
  for ((try = 1; ; try++)); do
    api_once "$method" "$path" "$body" "$token"
    if ! api_may_pass || ((try >= LAB_RETRIES)); then return 0; fi
    if [[ $method == POST || $method == PATCH ]] && ! api_not_carried_out; then
      API_STATUS=$UNSURE
      return 0
    fi
    seconds=$(retry_after)
    if [[ -n $seconds ]]; then
      pause_before_retry "$seconds" "GitLab: $API_PROBLEM"
    else
      back_off "$try" "GitLab: $API_PROBLEM"
    fi
  done
}

# api_once METHOD PATH BODY TOKEN: one request.
api_once() {
  local method=$1 path=$2 body=$3 token=$4 answer
  local -a send=()
  if [[ -n $body ]]; then send=(--header 'Content-Type: application/json' --data-binary @-); fi
  : >"$LAB_TMP/headers"
  api_curl=0
  answer=$(printf '%s' "$body" | curl_lab --request "$method" --max-time "$LAB_HTTP_SECONDS" \
    --dump-header "$LAB_TMP/headers" --write-out '\n%{http_code}' ${send[@]+"${send[@]}"} \
    --config <(api_credentials "$token") "$GITLAB_URL/api/v4$path" 2>"$LAB_TMP/curl.err") || api_curl=$?
  API_STATUS=${answer##*$'\n'}
  API_BODY=${answer%$'\n'*}
  if ((api_curl != 0)); then API_STATUS=000; fi
  if [[ $API_STATUS == 2?? ]] && ! api_is_whole; then
    API_STATUS=000
    api_curl=18
  fi
  API_PROBLEM=$(api_in_words)
}

# api_is_whole: neither half an answer, nor some proxy's page.
api_is_whole() {
  case $API_BODY in
    '' | '{'*'}' | '['*']') true ;;
    *) false ;;
  esac
}

# api_credentials TOKEN: curl's configuration; nothing where there is no token.
api_credentials() {
  if [[ -n $1 ]]; then printf 'header = "PRIVATE-TOKEN: %s"\n' "$1"; fi
}

# api_may_pass: no answer, or one that says "later".
api_may_pass() {
  case $API_STATUS in
    000) ((api_curl != 6 && api_curl != 60 && api_curl != 77)) ;;
    429 | 500 | 502 | 503 | 504) true ;;
    *) false ;;
  esac
}

# api_not_carried_out: the request never reached GitLab, or GitLab says that it turned it away.
api_not_carried_out() {
  [[ $API_STATUS == 429 ]] || { [[ $API_STATUS == 000 ]] && ((api_curl == 7)); }
}

# api_header NAME: a number among the headers of the last answer; nothing where there is none.
api_header() {
  tr '[:upper:]' '[:lower:]' <"$LAB_TMP/headers" | sed -n "s/^$1: *\([0-9]\{1,6\}\).*/\1/p" | tail -n 1
}

# retry_after: the seconds that GitLab asks to wait, at most 120; nothing where it does not say.
retry_after() {
  local seconds
  seconds=$(api_header retry-after)
  if [[ -n $seconds ]] && ((seconds > 120)); then seconds=120; fi
  printf '%s' "$seconds"
}

# api_in_words: what came back, for a person.
api_in_words() {
  local said='' plain='^\{"message":"([^"\]*)"\}$'
  case $API_STATUS in
    000)
      case $api_curl in
        6) printf '%s is not known to DNS here' "$GITLAB_HOST" ;;
        7) printf 'nothing listens at %s' "$GITLAB_URL" ;;
        18 | 52 | 56) printf 'the connection to %s broke in the middle of an answer' "$GITLAB_URL" ;;
        28) printf 'no answer from %s within %s s' "$GITLAB_URL" "$LAB_HTTP_SECONDS" ;;
        35 | 51 | 60 | 77)
          printf 'the certificate of %s is not trusted here (%s)' "$GITLAB_URL" "$(<"$LAB_TMP/curl.err")"
          ;;
        *) printf '%s' "$(<"$LAB_TMP/curl.err")" ;;
      esac
      ;;
    2??) ;;
    *)
      if [[ $API_BODY =~ $plain ]]; then
        said=${BASH_REMATCH[1]} # the usual 404, without a jq for it
      else
        said=$(field "$API_BODY" '(.message? // .error? // "") | if type == "string" then . else tojson end' \
          2>/dev/null) || said=''
      fi
      printf 'HTTP %s%s' "$API_STATUS" "${said:+, $said}"
      ;;
  esac
}

# api_look: what the owner should look at, for the last answer.
api_look() {
  case $API_STATUS in
    000) printf 'curl -v %s; kubectl get pods -n %s' "$GITLAB_URL" "$GITLAB_NAMESPACE" ;;
    401) printf 'the token was refused: is the clock of this machine and of the cluster right?' ;;
    403) printf 'the rights of the user root in %s/admin/users, and the rate limits in its settings' "$GITLAB_URL" ;;
    404) printf 'whether it was renamed or deleted in %s' "$GITLAB_URL" ;;
    409 | 400 | 422) printf 'what stands in its way in %s, as GitLab says above' "$GITLAB_URL" ;;
    429) printf "GitLab's rate limits: %s/admin/application_settings/network" "$GITLAB_URL" ;;
    *) printf 'kubectl logs deploy/gitlab -n %s --tail=50; kubectl exec deploy/gitlab -n %s -- gitlab-ctl status' \
      "$GITLAB_NAMESPACE" "$GITLAB_NAMESPACE" ;;
  esac
}

# api_expect WHAT STATUS...: ends the run unless the answer is one of these. Where the answer to a POST or a PATCH was
# lost it returns TRY_AGAIN, for settle.
api_expect() {
  local what=$1 status
  shift
  for status in "$@"; do
    if [[ $API_STATUS == "$status" ]]; then return 0; fi
  done
  if [[ $API_STATUS == "$UNSURE" ]]; then return "$TRY_AGAIN"; fi
  die "GitLab did not $what: $API_PROBLEM" "$(api_look)"
}

# api_list PATH WHAT: API_BODY is the whole list, over all its pages.
api_list() {
  local path=$1 what=$2 page=1 all='' more=false mark='?'
  if [[ $path == *\?* ]]; then mark='&'; fi
  while [[ -n $page ]]; do
    api GET "$path${mark}per_page=100&page=$page"
    api_expect "list $what" 200
    all+=$API_BODY
    page=$(api_header x-next-page)
    if [[ -n $page ]]; then more=true; fi
  done
  if $more; then API_BODY=$(printf '%s' "$all" | jq --slurp --compact-output add); fi
}

# delete_each PATH IDS: what stands under PATH by these numbers. Gone already is as good.
delete_each() {
  local id
  for id in $2; do
    api DELETE "$1/$id"
    api_expect "delete $1/$id" 204 404 || return
  done
}

# url_encode TEXT: for one segment of a path; a group's "a/b" becomes a%2Fb.
url_encode() {
  local i character
  for ((i = 0; i < ${#1}; i++)); do
    character=${1:i:1}
    case $character in
      [a-zA-Z0-9._~-]) printf '%s' "$character" ;;
      *) printf '%%%02X' "$(($(printf '%d' "'$character") & 255))" ;;
    esac
  done
}

# gitlab_login: a token of root's for this run, made inside the pod, since a new GitLab has no other way in.
# Tokens that an earlier, killed run may have left are removed by the same step. GitLab ends a token at midnight
# UTC at the start of its last day: "tomorrow" could be a minute away, so it is the day after. It is revoked long
# before, when this run ends. https://docs.gitlab.com/user/profile/personal_access_tokens/
gitlab_login() {
  local code
  if [[ -n $ROOT_TOKEN ]]; then return 0; fi
  code="name = 'bootstrap-$LAB_NAME'
    user = User.find_by_username('root') || User.admins.active.order(:id).first
    abort 'GitLab has no administrator' unless user
    PersonalAccessToken.where(user: user, name: name).find_each(&:destroy!)
    token = user.personal_access_tokens.create!(name: name, expires_at: Date.current + 2,
      scopes: %w[api create_runner write_repository admin_mode])
    puts 'token=' + token.token"
  doing "asking GitLab's Rails for a token that lasts for this run (a minute or so)"
  gitlab_rails "$code" || die "GitLab made no token for this run: $(gitlab_rails_words)" \
    "kubectl logs deploy/gitlab -n $GITLAB_NAMESPACE --tail=50"
  ROOT_TOKEN=$(printf '%s\n' "$KUBE_OUT" | sed -n 's/^token=//p' | tail -n 1 | tr -d '\r')
  KUBE_OUT=''
  [[ -n $ROOT_TOKEN ]] \
    || die "GitLab's Rails gave no token." "kubectl exec deploy/gitlab -n $GITLAB_NAMESPACE -- gitlab-ctl status"
  hide_secret "$ROOT_TOKEN"
}

# gitlab_logout: ends the token of this run. It would end by itself, but not for two days.
gitlab_logout() {
  if [[ -z $ROOT_TOKEN ]]; then return 0; fi
  LAB_RETRIES=2 LAB_HTTP_SECONDS=$((LAB_HTTP_SECONDS < 10 ? LAB_HTTP_SECONDS : 10)) # somebody may wait for their prompt
  api DELETE /personal_access_tokens/self
  if [[ $API_STATUS != 204 ]]; then
    warn "the token of this run (bootstrap-$LAB_NAME) could not be revoked: $API_PROBLEM.
It ends in two days; the next run removes it."
  fi
  ROOT_TOKEN=''
}

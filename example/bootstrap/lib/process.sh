#!/usr/bin/env bash
# The run as a process: its private folder, its end, its waiting and its second tries.

LAB_TMP=''
owner_umask=''
WAIT_REASON=''        # set by a probe of wait_for: what is being waited for just now

readonly TRY_AGAIN=75 # EX_TEMPFAIL: an answer was lost; look at the world again before doing anything

# start_process: private folder, traps, and an environment that cannot leak.
start_process() {
  owner_umask=$(umask)
  umask 077
  export LC_ALL=C
  unset -v GIT_TRACE GIT_TRACE_CURL GIT_CURL_VERBOSE GIT_ASKPASS SSH_ASKPASS GREP_OPTIONS
  # Called by a Git hook, say, these name the repository of the caller.
  unset -v GIT_DIR GIT_WORK_TREE GIT_INDEX_FILE GIT_OBJECT_DIRECTORY GIT_NAMESPACE GIT_PREFIX
  keep_variables_private
  : "${LAB_WAIT_FLUX_MINUTES:=10}" "${LAB_WAIT_GITLAB_MINUTES:=20}" "${LAB_WAIT_RUNNER_MINUTES:=5}"
  : "${LAB_WAIT_VERIFY_MINUTES:=15}" "${LAB_POLL_SECONDS:=5}" "${LAB_RETRIES:=6}" "${LAB_RETRY_SECONDS:=1}"
  : "${LAB_HTTP_SECONDS:=60}" "${LAB_SKIP:=}"
  check_seconds LAB_POLL_SECONDS
  check_numbers LAB_WAIT_FLUX_MINUTES LAB_WAIT_GITLAB_MINUTES LAB_WAIT_RUNNER_MINUTES LAB_WAIT_VERIFY_MINUTES \
    LAB_RETRIES LAB_RETRY_SECONDS LAB_HTTP_SECONDS
  trap 'unexpected_failure $? "${BASH_SOURCE[0]}" "$LINENO"' ERR
  trap 'end_process' EXIT
  trap 'interrupted 129' HUP
  trap 'interrupted 130' INT
  trap 'interrupted 143' TERM
  one_run_at_a_time
  make_private_folder
}

# keep_variables_private: a variable of ours that the owner's environment happens to export, too, would be passed on to
# every child with what we put into it. Ours are spelt in lower case, as are the proxies that curl and Git need; the
# shared ones that carry secrets are named below.
keep_variables_private() {
  local name
  for name in $(compgen -e); do
    if [[ $name == [a-z]* && $name != *_proxy ]]; then export -n "${name?}"; fi
  done
  export -n API_BODY KUBE_OUT VM_OUT AUTHS ROOT_TOKEN KEY_PRIVATE EXTERNAL_PASSWORD
}

# check_numbers NAME...: the settings of the environment that have to be whole numbers.
check_numbers() {
  local name
  for name in "$@"; do
    if ! [[ ${!name} =~ ^(0|[1-9][0-9]{0,5})$ ]]; then
      printf 'bootstrap.sh: %s must be a whole number, not "%s"\n' "$name" "${!name}" >&2
      exit 2
    fi
  done
}

# check_seconds NAME: a setting that sleep takes, a part of a second included.
check_seconds() {
  if ! [[ ${!1} =~ ^[0-9]+([.][0-9]+)?$ ]]; then
    printf 'bootstrap.sh: %s must be a number of seconds, not "%s"\n' "$1" "${!1}" >&2
    exit 2
  fi
}

# one_run_at_a_time: two runs side by side would each make their own tokens. The lock is on this script itself, so
# that nothing is left behind; where there is no flock (macOS) the owner has to take care.
one_run_at_a_time() {
  command -v flock >/dev/null || return 0
  exec 9<"$LAB_DIR/bootstrap.sh"
  flock --nonblock 9 || die 'Another ./bootstrap.sh of this lab is running.' '' 'wait for its end, or stop it'
}

# make_private_folder: for what a tool can only take from a file (an SSH key, an error text). In memory where
# there is a place for that; never under $HOME, which may be read-only.
make_private_folder() {
  local base
  for base in "${XDG_RUNTIME_DIR-}" /dev/shm "${TMPDIR-}" /tmp; do
    [[ -n $base && -d $base && -w $base ]] || continue
    remove_left_folders "$base"
    LAB_TMP=$(mktemp -d "$base/lab-bootstrap.$$.XXXXXX") && return 0
  done
  die 'There is no folder for temporary files.' 'TMPDIR, and the permissions of /tmp'
}

# remove_left_folders BASE: what runs that were killed have left there, maybe a key. Their process is gone.
remove_left_folders() {
  local left process
  for left in "$1"/lab-bootstrap.*; do
    process=${left#"$1"/lab-bootstrap.}
    process=${process%%.*}
    if [[ -O $left && $process =~ ^[0-9]+$ ]] && ! kill -0 "$process" 2>/dev/null; then rm -rf -- "$left"; fi
  done
}

# end_process: whatever happened, no token stays valid and no file stays behind.
end_process() {
  local status=$?
  trap - ERR
  trap '' HUP INT TERM
  gitlab_logout || true
  if [[ -n $LAB_TMP ]]; then rm -rf -- "$LAB_TMP"; fi
  if ((status == DIED)); then status=1; fi
  exit "$status"
}

# interrupted STATUS
interrupted() {
  printf '\n   stopped; run ./bootstrap.sh again to go on: it mends whatever was cut in half\n' >&2
  exit "$1"
}

# unexpected_failure STATUS FILE LINE: a command failed where the script did not expect it. That is a bug in it.
unexpected_failure() {
  if ((BASH_SUBSHELL > 0 || $1 == DIED)); then return 0; fi
  printf '\n   failed an unexpected error (status %s) at %s line %s\n' "$1" "${2#"$LAB_DIR"/}" "$3" >&2
  printf '   then   run ./bootstrap.sh again; if it stops at the same line, that is a bug worth reporting\n' >&2
}

# as_owner COMMAND...: for files that are the owner's to keep, such as Git's objects. 9<&-: what Git leaves running in
# the background would otherwise keep this run's lock.
as_owner() { (umask "$owner_umask" && "$@") 9<&-; }

# wait_for MINUTES WHAT PROBE ARGUMENT...: true as soon as PROBE is, false after MINUTES. PROBE may set WAIT_REASON.
wait_for() {
  local minutes=$1 what=$2 start=$SECONDS line last=''
  shift 2
  while true; do
    WAIT_REASON=''
    if "$@"; then return 0; fi
    line="$what: ${WAIT_REASON:-not yet}, $(((SECONDS - start) / 60)) of at most $minutes minutes"
    if [[ $line != "$last" ]]; then doing "$(redact "$line")"; fi
    last=$line
    ((SECONDS - start < minutes * 60)) || return 1
    sleep "$LAB_POLL_SECONDS"
  done
}

# back_off TRY WHY: the growing pause before another try.
back_off() {
  local seconds=$((LAB_RETRY_SECONDS << ($1 < 7 ? $1 - 1 : 6)))
  if ((seconds > 60)); then seconds=60; fi
  pause_before_retry "$seconds" "$2"
}

# pause_before_retry SECONDS WHY
pause_before_retry() {
  doing "$(redact "$2"); trying again in $1 s"
  sleep "$1"
}

# settle WHAT FUNCTION ARGUMENT...: runs FUNCTION until it is certain of the outcome.
# FUNCTION looks at the world and mends it. It returns TRY_AGAIN where the answer to a request that is not safe to
# repeat was lost: GitLab may have done it or not, so the next round begins with looking.
settle() {
  local what=$1 try status
  shift
  for ((try = 1; ; try++)); do
    status=0
    "$@" || status=$?
    ((status != 0)) || return 0
    ((status == TRY_AGAIN)) || die "Could not $what." 'the lines above'
    ((try < LAB_RETRIES)) || die "Could not $what: $API_PROBLEM" "$(api_look)"
    back_off "$try" "$what: $API_PROBLEM"
  done
}

#!/usr/bin/env bash
# The cluster, through kubectl. Looking retries what passes; changing is done server-side, so that doing it twice is
# the same as doing it once, and no Secret is copied into an annotation.

KUBE_OUT=''
KUBE_ERR=''

readonly FIELD_MANAGER=lab-bootstrap

# kube INPUT ARGUMENT...: kubectl with INPUT on its standard input; sets KUBE_OUT and KUBE_ERR.
# Everything that this is used for may be sent twice.
kube() {
  local input=$1 try
  shift
  for ((try = 1; ; try++)); do
    if KUBE_OUT=$(printf '%s' "$input" | kubectl --request-timeout=30s "$@" 2>"$LAB_TMP/kubectl.err"); then
      return 0
    fi
    KUBE_ERR=$(<"$LAB_TMP/kubectl.err")
    if ! kube_may_pass "$KUBE_ERR" || ((try >= LAB_RETRIES)); then return 1; fi
    back_off "$try" "kubectl: $(last_line "$KUBE_ERR")"
  done
}

# kube_may_pass TEXT: an error that time may heal.
kube_may_pass() {
  local pattern='connection refused|was refused|connection reset|timed out|timeout|deadline exceeded|EOF'
  pattern+='|TooManyRequests|too many requests|ServiceUnavailable|currently unable|InternalError|Internal error'
  pattern+='|etcdserver|no route to host|connection lost|object has been modified|not yet been cached'
  pattern+='|failed calling webhook'
  [[ $1 =~ $pattern ]]
}

first_line() { printf '%s' "${1%%$'\n'*}"; }

# last_line TEXT: what kubectl and ssh say after their warnings.
last_line() {
  local text=${1%$'\n'}
  printf '%s' "${text##*$'\n'}"
}

# kube_die WHAT: the cluster refused, or cannot be reached.
kube_die() {
  local look
  case $KUBE_ERR in
    *Forbidden* | *forbidden*) look='the rights of your kubeconfig user: kubectl auth can-i --list' ;;
    *Unauthorized* | *'must be logged in'* | *credentials*) look='your kubeconfig: does kubectl get nodes work?' ;;
    *'no matches for kind'* | *"doesn't have a resource type"*) look='the CRDs: kubectl get crd' ;;
    *) look='kubectl get nodes; kubectl get events -A --sort-by=.lastTimestamp' ;;
  esac
  die "Could not $1: ${KUBE_ERR:-no reason given}" "$look"
}

# kube_get KIND NAME [NAMESPACE]: KUBE_OUT is the object as JSON, or empty where it does not exist.
# A kind whose CRD is missing does not exist either.
kube_get() {
  local -a where=()
  if [[ -n ${3-} ]]; then where=(--namespace "$3"); fi
  if kube '' get "$1" "$2" ${where[@]+"${where[@]}"} --ignore-not-found --output json; then return 0; fi
  if [[ $KUBE_ERR == *"doesn't have a resource type"* || $KUBE_ERR == *'no matches for kind'* ]]; then
    KUBE_OUT=''
    return 0
  fi
  kube_die "read $1 ${3:+$3/}$2"
}

# kube_has KIND NAME [NAMESPACE]
kube_has() {
  kube_get "$@"
  [[ -n $KUBE_OUT ]]
}

# kube_list KIND [ARGUMENT...]: KUBE_OUT is a list as JSON; an empty one where the CRD is missing.
kube_list() {
  if kube '' get "$@" --output json; then return 0; fi
  if [[ $KUBE_ERR == *"doesn't have a resource type"* || $KUBE_ERR == *'no matches for kind'* ]]; then
    KUBE_OUT='{"items":[]}'
    return 0
  fi
  kube_die "list $1"
}

# kube_apply WHAT MANIFEST [ARGUMENT...]: applies MANIFEST from standard input.
kube_apply() {
  local what=$1 manifest=$2
  shift 2
  if dry_run; then
    would "apply $what"
    return 0
  fi
  kube "$manifest" apply --server-side --force-conflicts --field-manager="$FIELD_MANAGER" --filename - "$@" \
    || kube_die "apply $what"
  did "$what"
}

# kube_apply_folder WHAT FOLDER: applies a kustomization of this repository.
kube_apply_folder() {
  if dry_run; then
    would "apply $1 from $2/"
    return 0
  fi
  kube '' apply --server-side --force-conflicts --field-manager="$FIELD_MANAGER" --kustomize "$LAB_DIR/$2" \
    || kube_die "apply $2/"
  did "$1, from $2/"
}

# ensure_namespace NAME
ensure_namespace() {
  if kube_has namespace "$1"; then return 0; fi
  kube_apply "namespace $1" "$(jq --null-input --compact-output --arg name "$1" \
    '{apiVersion: "v1", kind: "Namespace", metadata: {name: $name}}')"
}

# put_secret NAMESPACE NAME TYPE KEY VALUE...: writes a Secret; the namespace is made where it is missing. Whoever made
# the VALUE has told hide_secret of it: some values, such as a public key, are there to be shown.
put_secret() {
  ensure_namespace "$1"
  kube_apply "Secret $1/$2" "$(secret_manifest "$@")"
}

# condition JSON TYPE: "True", "False" or "Unknown" of a status condition; empty where there is none.
condition() {
  printf '%s' "$1" | jq --raw-output --arg type "$2" \
    '[.status.conditions[]? | select(.type == $type) | .status] | first // ""'
}

# condition_message JSON TYPE
condition_message() {
  printf '%s' "$1" | jq --raw-output --arg type "$2" \
    '[.status.conditions[]? | select(.type == $type) | .message] | first // "no word from it yet"'
}

# ask_flux_again KIND NAME NAMESPACE: what failed is tried again now. After failures Flux pauses for minutes by itself.
# https://fluxcd.io/flux/components/source/gitrepositories/#triggering-a-reconcile
ask_flux_again() {
  kube '' annotate "$1" "$2" --namespace "$3" --overwrite "reconcile.fluxcd.io/requestedAt=$(date +%s)" \
    || kube_die "ask Flux to look at $1 $3/$2 again"
}

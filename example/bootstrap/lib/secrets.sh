#!/usr/bin/env bash
# Secrets: made here, kept in variables that are never exported, handed on through pipes only. A command line or an
# environment can be read by others on this machine, and an argument ends up in somebody's log.

# random_secret: 40 characters that need no quoting anywhere; GitLab takes them as a password.
random_secret() {
  head -c 30 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n='
}

# json_object NAME VALUE...: one JSON object. A NAME that ends in ":" takes its VALUE as JSON (true, 40, ["api"]).
# The values travel through a pipe; nothing of them stands on jq's command line. \037 cannot occur in any of them.
json_object() { printf '%s\037' "$@" | jq --raw-input --slurp --compact-output "$PAIRS"; }

readonly PAIRS='rtrimstr("\u001f") | split("\u001f") | [recurse(.[2:]; length > 0) | .[0:2]]
  | map({(.[0] | rtrimstr(":")): (if .[0] | endswith(":") then .[1] | fromjson else .[1] end)}) | add'

# secret_manifest NAMESPACE NAME TYPE KEY VALUE...: a Secret for kubectl apply.
secret_manifest() {
  local namespace=$1 name=$2 type=$3
  shift 3
  printf '%s\037' "$@" | jq --raw-input --slurp --compact-output --arg namespace "$namespace" --arg name "$name" \
    --arg type "$type" "$PAIRS"' | {
    apiVersion: "v1", kind: "Secret", type: $type,
    metadata: {name: $name, namespace: $namespace, labels: {"app.kubernetes.io/managed-by": "lab-bootstrap"}},
    data: map_values(@base64)}'
}

# secret_field JSON KEY: a value out of a Secret as kubectl prints it; nothing where it is missing.
secret_field() {
  printf '%s' "$1" | jq --raw-output --arg key "$2" '.data[$key] // "" | @base64d'
}

# field JSON FILTER: one value out of any JSON text, without it ever standing on a command line.
field() {
  printf '%s' "$1" | jq --raw-output "$2"
}

# webhook_path TOKEN RECEIVER: the path under which Flux's notification controller answers for a Receiver in
# flux-system. It is known before Flux has seen the Receiver, which saves GitLab a restart.
# https://fluxcd.io/flux/components/notification/receivers/#webhook-path
webhook_path() {
  local digest
  if command -v sha256sum >/dev/null; then
    digest=$(printf '%s%sflux-system' "$1" "$2" | sha256sum)
  else
    digest=$(printf '%s%sflux-system' "$1" "$2" | shasum -a 256)
  fi
  printf '/hook/%s' "${digest%% *}"
}

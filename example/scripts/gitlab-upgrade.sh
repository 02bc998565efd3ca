#!/usr/bin/env bash
# Refuses a commit that takes GitLab over one of its required stops, or back: the pod would crash, or the database be lost.
#   bash scripts/gitlab-upgrade.sh COMMIT…
# Compares the version in apps/gitlab/values.yaml with that of the first of these commits that this clone has: what the cluster
# runs now. The pipeline gives the merge request's base, the commit before a push, and where a new branch begins.
set -euo pipefail
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=../bootstrap/lib/versions.sh
source "$here/../bootstrap/lib/versions.sh"

readonly VALUES=apps/gitlab/values.yaml

# image_version: the version of GitLab in the values on standard input.
image_version() { sed -n -E 's/^ *tag: *"?([0-9]+\.[0-9]+\.[0-9]+)-ce\.[0-9]+"?.*/\1/p' | head -n 1; }

base=''
for commit in "$@"; do
  if [[ -n $commit ]] && git -C "$here" cat-file -e "$commit:$VALUES" 2>/dev/null; then
    base=$commit
    break
  fi
done
if [[ -z $base ]]; then
  printf 'None of these commits is here with a %s: "%s". There is nothing to compare with.\n' "$VALUES" "$*"
  exit 0
fi
before=$(git -C "$here" show "$base:$VALUES" | image_version)
now=$(image_version <"$here/../$VALUES")
if [[ -z $before || -z $now ]]; then
  printf '%s names no exact version of GitLab (a tag such as 19.3.0-ce.0), so its upgrades cannot be checked.\n' "$VALUES" >&2
  exit 1
fi
if ! version_at_least "$now" "$before"; then
  printf 'GitLab cannot go back from %s to %s: its database has moved on. Restore a backup that was made with %s.\n' "$before" "$now" "$now" >&2
  exit 1
fi
stops=$(required_stops "$before" "$now" | paste -s -d , - | sed 's/,/, then the newest /g')
if [[ -n $stops ]]; then
  printf 'GitLab cannot go from %s to %s in one step: it has to stop on the way.\n' "$before" "$now" >&2
  printf 'Take the newest %s, then %s. In between wait until the background migrations are done (Admin > Monitoring > Background migrations).\n' "$stops" "$now" >&2
  exit 1
fi
if [[ $before == "$now" ]]; then
  printf 'GitLab stays at %s.\n' "$now"
else
  printf 'GitLab goes from %s to %s, in one step.\n' "$before" "$now"
fi

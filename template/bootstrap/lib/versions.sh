#!/usr/bin/env bash
# Versions: comparing them, and the way from one GitLab to the next.

# version_at_least HAVE WANT: compares dotted numbers, whatever stands before or after them (v1.2.3-rc1 is 1.2.3).
version_at_least() {
  local have want i
  have=$(version_numbers "$1")
  want=$(version_numbers "$2")
  local -a h w
  IFS=. read -r -a h <<<"$have"
  IFS=. read -r -a w <<<"$want"
  for i in 0 1 2; do
    if ((10#${h[i]:-0} != 10#${w[i]:-0})); then
      ((10#${h[i]:-0} > 10#${w[i]:-0}))
      return
    fi
  done
}

# version_numbers TEXT: the first x.y or x.y.z in it, or nothing.
version_numbers() {
  if [[ $1 =~ ([0-9]+(\.[0-9]+){1,2}) ]]; then printf '%s' "${BASH_REMATCH[1]}"; fi
}

# required_stops FROM TO: the GitLab versions (x.y) where an upgrade has to stop on the way, one a line.
# x.2, x.5, x.8 and x.11 finish migrations that the next versions take for granted; jumping over one ends in a
# crash loop. https://docs.gitlab.com/update/upgrade_paths/
required_stops() {
  local from to major minor fmajor fminor tmajor tminor
  from=$(version_numbers "$1")
  to=$(version_numbers "$2")
  IFS=. read -r fmajor fminor _ <<<"$from"
  IFS=. read -r tmajor tminor _ <<<"$to"
  for ((major = fmajor; major <= tmajor; major++)); do
    for minor in 2 5 8 11; do
      if ((major == fmajor && minor <= fminor)); then continue; fi
      if ((major == tmajor && minor >= tminor)); then continue; fi
      printf '%s.%s\n' "$major" "$minor"
    done
  done
}

#!/bin/sh
# An earlier name of `./lab upgrade --check`, whose code is in lab_program/commands/upgrade.py. It goes with version 2.0 of the template.
echo "scripts/gitlab-upgrade.sh is ./lab upgrade --check now." >&2
exec "$(dirname -- "$0")/../lab" upgrade --check "$@"

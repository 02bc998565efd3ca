#!/bin/sh
# An earlier name of `./lab update`, whose code is in lab_program/commands/update.py. It goes with version 2.0 of the template.
echo "update.sh is ./lab update now." >&2
exec "$(dirname -- "$0")/lab" update "$@"

#!/bin/sh
# An earlier name of `./lab restore`, whose code is in lab_program/commands/restore.py. It goes with version 2.0 of the template.
echo "restore.sh is ./lab restore now." >&2
exec "$(dirname -- "$0")/lab" restore "$@"

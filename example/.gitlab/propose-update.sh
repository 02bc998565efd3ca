#!/bin/sh
# An earlier name of `./lab propose`, whose code is in lab_program/commands/propose.py. It goes with version 2.0 of the template.
echo ".gitlab/propose-update.sh is ./lab propose now." >&2
exec "$(dirname -- "$0")/../lab" propose "$@"

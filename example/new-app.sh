#!/bin/sh
# An earlier name of `./lab new-app`, whose code is in lab_program/commands/new_app.py. It goes with version 2.0 of the template.
echo "new-app.sh is ./lab new-app now." >&2
exec "$(dirname -- "$0")/lab" new-app "$@"

#!/bin/sh
# From a bare cluster to a working lab: the same as `./lab up`. `./lab --help` lists what else the lab's program does; its
# stages are in lab_program/stages/.
command -v python3 >/dev/null || {
  echo "The lab's program needs Python 3.10 or newer, and there is no python3 here. Debian: apt install python3; Mac: brew install python." >&2
  exit 1
}
exec "$(dirname -- "$0")/lab" up "$@"

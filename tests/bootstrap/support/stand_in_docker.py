"""Docker on the runner's machine, and what is around it there: a program that refuses what nobody here asks for, and a compose file without its .env."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

# setup.sh of the stand-in lab: from then on Docker is there, trusts the authority, and asks the mirrors that a test offers.
SETUP = """\
#!/bin/sh
set -eu
test ! -e "$HOME/../docker/refuses" || { echo "setup.sh: apt cannot get docker.io" >&2; exit 1; }
test ! -e ca.crt || cat ca.crt >"$HOME/../docker/authority"
test ! -e "$HOME/../docker/offered" || cat "$HOME/../docker/offered" >"$HOME/../docker/mirrors"
echo "installed docker.io"
echo "note: no swap"
: >"$HOME/../docker/set up"
"""


def write_docker(program: Path, up: Path, compose: bool = True) -> None:
    """Write the program.

    Args:
        program: the file.
        up: what a container that starts keeps a copy of its settings in; it exists while the container runs.
        compose: whether the compose plugin is installed.
    """
    plugin = "true" if compose else "echo \"docker: 'compose' is not a docker command\" >&2; exit 1"
    program.write_text(f"""#!/bin/sh
up='{up}'
case "$1 $2" in
  'version --format') echo 29.1.0 ;;
  'info --format') test ! -e '{up.parent}/mirrors' || cat '{up.parent}/mirrors' ;;
  'compose '*) {plugin}
    case "$2" in
      version) echo 5.0.0 ;;
      ps) test "$6" = gitlab-runner || exit 96
        test -f .env && test -f compose.yaml || exit 14; test ! -f "$up" || echo abc123 ;;
      up) test -f .env && test -f compose.yaml && test -f config.toml || exit 14
        cat .env compose.yaml config.toml >"$up"; test ! -f ca.crt || cat ca.crt >>"$up" ;;
      *) exit 97 ;;
    esac ;;
  *) exit 98 ;;
esac
""")
    program.chmod(0o755)


def write_surroundings(folder: Path, there: dict[str, Any], authority: Path, is_root: bool) -> None:
    """Write what tells whether a machine can be set up: apt, sudo, who one is, and whom Docker trusts."""
    programs = {
        "id": f"test $# -eq 1 && echo {0 if is_root else 1000}",
        "sha256sum": f"test -e '{authority}' && exec {shutil.which('sha256sum')} '{authority}'",
    }
    if there["apt"]:
        programs["apt-get"] = "exit 97"
    if there["sudo"] != "missing":
        programs["sudo"] = f'test "$*" = "-n true" && test {there["sudo"]} = yes'
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)

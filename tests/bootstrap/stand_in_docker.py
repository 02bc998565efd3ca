"""Docker on the runner's machine: a program that refuses what nobody here asks for, and a compose file without its .env."""

from __future__ import annotations

from pathlib import Path


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

"""What a lab's ./lab update runs, out of the template that it has just fetched.

Arguments: a temporary folder, which is removed in the end; the template as the lab records it, and its address; the
version that
made the lab; then the owner's. It runs in the lab's folder, and needs Python 3.10 and nothing else.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

# The lab's folder may have a `hooks` too.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from hooks.update import command  # noqa: E402 - found by the line above

if __name__ == "__main__":
    try:
        status = command.main(command.Template(*sys.argv[2:5]), sys.argv[5:])
    finally:
        shutil.rmtree(sys.argv[1], ignore_errors=True)
    sys.exit(status)

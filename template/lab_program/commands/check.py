"""`./lab check`: what the pipeline checks, before a push."""

from __future__ import annotations

from ..errors import Failure
from .base import Command

SCRIPT = ".gitlab/check.py"


class Check(Command):
    name = "check"
    purpose = "check this repository as the pipeline does, before a push; needs uv"
    example = "./lab check"

    def run(self) -> int:
        if not self.programs.has("uv"):
            raise Failure(
                f"uv is not installed. {SCRIPT} needs a YAML reader, Helm, kubectl and linters, which uv brings.",
                "",
                "install it: https://docs.astral.sh/uv/ (pipx install uv), then run ./lab check again",
            )
        self.hand_over("uv", "run", "--quiet", SCRIPT)

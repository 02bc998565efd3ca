"""Where sets lie: a folder, or a bucket of S3. rclone moves them.

Its exit statuses: rclone.org/docs/#exit-code.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

NO_SUCH_FOLDER = 3
PIECE = 64 * 1024
# A target that does not answer is tried for minutes, not for hours.
PATIENCE = ("--config", "", "--retries", "3", "--low-level-retries", "5", "--contimeout", "30s", "--timeout", "2m")


class TargetError(Exception):
    """The target could not be read or written, in words without secrets."""


@dataclass(frozen=True)
class File:
    """A file at the target: its path below the target's place, and its size in bytes."""

    path: str
    size: int


class Target:
    """The target.

    Args:
        settings: `target` of apps/backups/settings.json.
        secrets: the folder with `access-key-id` and `secret-access-key`, for S3.
    """

    def __init__(self, settings: Mapping[str, Any], secrets: Path, rclone: str = "rclone") -> None:
        self._rclone, self._is_s3 = rclone, settings["kind"] == "s3"
        self._hidden: list[str] = []
        self.environment = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        # Go looks for authorities in the folders of this list; the lab's own is among the secrets.
        self.environment |= {"SSL_CERT_DIR": f"/etc/ssl/certs:{secrets}"}
        if self._is_s3:
            keys = {name: _read(secrets / name) for name in ("access-key-id", "secret-access-key")}
            self._hidden = list(keys.values())
            self.environment |= _s3(settings, keys)
            self._place = "target:" + "/".join(filter(None, [settings["bucket"], settings["prefix"]]))
            self.folder = None
        else:
            self.folder = Path(settings["folder"])
            self._place = str(self.folder)

    def files(self) -> list[File]:
        """Return all files."""
        done = self._run("lsjson", "--recursive", "--files-only", "--no-modtime", "--no-mimetype", self._place)
        if done.returncode == NO_SUCH_FOLDER and self._is_s3 and b"directory not found" in done.stderr:
            return []
        self._check(done, "list the target")
        return [File(one["Path"], one["Size"]) for one in json.loads(done.stdout)]

    def read(self, path: str, count: int | None = None) -> bytes:
        """Return a file, or its first bytes."""
        limit = [] if count is None else [f"--count={count}"]
        done = self._run("cat", *limit, f"{self._place}/{path}")
        self._check(done, f"read {path}")
        return done.stdout

    def pieces(self, path: str) -> Iterator[bytes]:
        """Yield a file piece by piece.

        Raises:
            TargetError: it ended before its end; what was yielded is not complete.
        """
        command = [self._rclone, *PATIENCE, "cat", f"{self._place}/{path}"]
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                command, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
            ) as program,
        ):
            while piece := program.stdout.read(PIECE) if program.stdout else b"":
                yield piece
            status = program.wait()
            said.seek(0)
            self._check(subprocess.CompletedProcess(command, status, b"", said.read()), f"read {path}")

    def write(self, path: str, size: int, pieces: Iterable[bytes]) -> None:
        """Write a file of a known size.

        Raises:
            TargetError: it is not there, or not complete.
        """
        # A stream cannot be begun again by rclone; whoever calls does.
        command = [self._rclone, *PATIENCE, "rcat", f"--size={size}", f"{self._place}/{path}"]
        with (
            tempfile.TemporaryFile() as said,
            subprocess.Popen(
                command, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said
            ) as program,
        ):
            sink = cast("IO[bytes]", program.stdin)
            try:
                # Once rclone has given up, its words say why.
                with contextlib.suppress(BrokenPipeError):
                    for piece in pieces:
                        sink.write(piece)
            except BaseException:
                program.kill()
                raise
            finally:
                with contextlib.suppress(BrokenPipeError):
                    sink.close()
            status = program.wait()
            said.seek(0)
            self._check(subprocess.CompletedProcess(command, status, b"", said.read()), f"write {path}")

    def delete(self, path: str) -> None:
        """Remove a file."""
        self._check(self._run("deletefile", f"{self._place}/{path}"), f"remove {path}")

    def delete_folder(self, path: str) -> None:
        """Remove a folder that is empty; S3 has none."""
        if not self._is_s3:
            self._check(self._run("rmdir", f"{self._place}/{path}"), f"remove {path}")

    def clean_up(self) -> None:
        """Remove the parts of uploads to S3 that were cut off more than a day ago; a server need not know how."""
        if self._is_s3:
            self._run("cleanup", self._place)

    def free(self) -> int | None:
        """Return how many bytes are free; None for S3, which does not say."""
        return None if self.folder is None else shutil.disk_usage(self.folder).free

    def _run(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        command = [self._rclone, *PATIENCE, *words]
        return subprocess.run(command, env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)

    def _check(self, done: subprocess.CompletedProcess[bytes], what: str) -> None:
        if done.returncode:
            words = done.stderr.decode("utf-8", "replace").strip()
            for one in self._hidden:
                words = words.replace(one, "[hidden]")
            lines = [line for line in words.splitlines() if "NOTICE" not in line] or words.splitlines() or ["no word"]
            raise TargetError(f"could not {what}: {lines[-1]}")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError:
        raise TargetError(f"the Secret backup-target has no {file.name}: ./lab up --only backups asks for it") from None


def _s3(settings: Mapping[str, Any], keys: Mapping[str, str]) -> dict[str, str]:
    """Return rclone's remote `target` as variables, which only rclone sees: rclone.org/docs/#environment-variables."""
    found = {
        "type": "s3",
        "provider": "Other" if settings["endpoint"] else "AWS",
        "access_key_id": keys["access-key-id"],
        "secret_access_key": keys["secret-access-key"],
        "region": settings["region"],
        # A key for one bucket may neither make it nor ask whether it is there.
        "no_check_bucket": "true",
        "upload_concurrency": "2",
    }
    if settings["endpoint"]:
        found["endpoint"] = settings["endpoint"]
    return {f"RCLONE_CONFIG_TARGET_{name.upper()}": value for name, value in found.items()}

"""What the tests of backups share: real places to send to, real programs, keys."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from tests.cluster.paths import BIN
from tests.support.backups import Volumes, sending, target
from tests.support.program import age as lab_age

RCLONE, AGE = BIN / "rclone", BIN / "age"
BUCKET, PREFIX = "backups", "the/lab"
KEYS = {"access-key-id": "AKIAOFTHETESTS000001", "secret-access-key": "not-shown-to-anybody-0123456789abcdef0123"}


@dataclass
class Place:
    """A target, and the same place by other means than the lab's.

    Attributes:
        settings: `target` of apps/backups/settings.json.
        said: what the sender has said.
    """

    settings: dict[str, Any]
    secrets: Path
    folder: Path | None
    client: Any = None
    rclone: str = str(RCLONE)
    said: list[str] = field(default_factory=list)

    def sender(self, lab: str = "lab") -> sending.Sender:
        return sending.Sender(self.target(), lab, self.said.append, lambda _: None)

    def target(self) -> target.Target:
        return target.Target(self.settings, self.secrets, self.rclone)

    def files(self) -> dict[str, int]:
        """Return all files with their sizes, as somebody else sees them."""
        if self.folder is not None:
            found = [file for file in self.folder.rglob("*") if file.is_file()]
            return {file.relative_to(self.folder).as_posix(): file.stat().st_size for file in found}
        listed = self.client.list_objects_v2(Bucket=BUCKET).get("Contents", [])
        return {one["Key"].removeprefix(f"{PREFIX}/"): one["Size"] for one in listed}

    def read(self, path: str) -> bytes:
        if self.folder is not None:
            return (self.folder / path).read_bytes()
        return bytes(self.client.get_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")["Body"].read())

    def write(self, path: str, content: bytes) -> None:
        if self.folder is not None:
            (self.folder / path).parent.mkdir(exist_ok=True)
            (self.folder / path).write_bytes(content)
        else:
            self.client.put_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}", Body=content)

    def remove(self, path: str) -> None:
        if self.folder is not None:
            (self.folder / path).unlink()
        else:
            self.client.delete_object(Bucket=BUCKET, Key=f"{PREFIX}/{path}")


@pytest.fixture(scope="session")
def moto() -> Iterator[str]:
    """Run a server of S3; yield its address."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    """Return an empty folder, and an empty bucket."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()
    if request.param == "folder":
        folder = tmp_path / "target"
        folder.mkdir()
        yield Place({"kind": "folder", "folder": str(folder), "place": "nas:/backups"}, secrets, folder)
        return
    endpoint = request.getfixturevalue("moto")
    for name, value in KEYS.items():
        (secrets / name).write_text(f"{value}\n")
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=KEYS["access-key-id"],
        aws_secret_access_key=KEYS["secret-access-key"],
    )
    client.create_bucket(Bucket=BUCKET)
    settings = {"kind": "s3", "endpoint": endpoint, "region": "us-east-1", "bucket": BUCKET, "prefix": PREFIX}
    yield Place(settings, secrets, None, client)
    for one in client.list_objects_v2(Bucket=BUCKET).get("Contents", []):
        client.delete_object(Bucket=BUCKET, Key=one["Key"])
    client.delete_bucket(Bucket=BUCKET)


@pytest.fixture
def volumes(tmp_path: Path) -> Volumes:
    return Volumes(tmp_path / "gitlab")


@dataclass(frozen=True)
class Key:
    """A key pair, and the file that holds its private half."""

    recipient: str
    file: Path

    def opens(self, sealed: bytes) -> bytes:
        """Return what age itself decrypts; it fails if it cannot."""
        done = subprocess.run([AGE, "--decrypt", "-i", self.file], input=sealed, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


@pytest.fixture
def key(tmp_path: Path) -> Key:
    return new_key(tmp_path / "key.txt")


def new_key(file: Path) -> Key:
    made = lab_age.new_identity()
    file.write_text(f"{made.private}\n")
    file.chmod(0o600)
    return Key(made.recipient, file)


def run_program(*words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """Run the pods' program as a pod does, for what needs no target."""
    from tests.support.backups import FOLDER

    command = [sys.executable, "-B", "-m", "lab_backups", *words]
    return subprocess.run(command, input=stdin, capture_output=True, check=False, env={"PYTHONPATH": str(FOLDER)})

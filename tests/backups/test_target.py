"""Sets go to a real folder and to a real server of S3, by the real rclone: complete or not at all, encrypted, and only for so long."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backups.conftest import BUCKET, KEYS, PREFIX, RCLONE, Key, Place, new_key, run_program
from tests.support.backups import DAY, FOLDER, NOW, Volumes, archives, sending, sets, target
from tests.support.depth import with_the_clusters_programs

pytestmark = [
    pytest.mark.slow(keep=1),
    pytest.mark.skipif(
        not with_the_clusters_programs(), reason="make cluster-test builds rclone and age, and runs this"
    ),
]


def send(place: Place, volumes: Volumes, key: Key, now: float = NOW, lab: str = "lab") -> sets.Set:
    return place.sender(lab).send(archives.newest(volumes.data, volumes.config), [key.recipient], now)


def states(place: Place, lab: str = "lab") -> dict[str, str]:
    return {one.name: one.state for one in place.sender(lab).sets()}


def test_a_set_arrives_whole_and_its_owner_opens_it(place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up(size=1_000_000)
    assert place.sender().sets() == []
    found = send(place, volumes, key)
    assert found.state == sets.COMPLETE and states(place) == {name: sets.COMPLETE}
    assert set(place.files()) == {f"{name}/{part}" for part in (sets.DATA, sets.CONFIG, sets.MANIFEST)}
    plain = {
        sets.DATA: (volumes.data / f"{name}_gitlab_backup.tar").read_bytes(),
        sets.CONFIG: next(volumes.config.iterdir()).read_bytes(),
    }
    for part, content in plain.items():
        assert key.opens(place.read(f"{name}/{part}")) == content
    manifest = json.loads(place.read(f"{name}/{sets.MANIFEST}"))
    assert manifest["recipients"] == [key.recipient] and manifest["registry"] is True
    assert {one["name"]: one["plain_sha256"] for one in manifest["parts"]} == {
        part: hashlib.sha256(content).hexdigest() for part, content in plain.items()
    }


def test_nothing_of_gitlab_is_readable_at_the_target(place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up()
    send(place, volumes, key)
    for path in place.files():
        content = place.read(path)
        for secret in (b"the key of all", b"gitlab-secrets", b"the database", b"ustar"):
            assert secret not in content, path
        assert path.endswith(sets.MANIFEST) or content.startswith(b"age-encryption.org/v1\n")
    other = new_key(place.secrets.parent / "other.txt")
    with pytest.raises(AssertionError, match="no identity matched"):
        other.opens(place.read(f"{name}/{sets.DATA}"))


def test_sending_it_again_sends_nothing(place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up()
    send(place, volumes, key)
    before = place.read(f"{name}/{sets.DATA}")
    send(place, volumes, key)
    assert place.read(f"{name}/{sets.DATA}") == before
    assert place.said[-1] == f"{name} is at the target already, complete"


@pytest.mark.parametrize("part", [sets.DATA, sets.CONFIG, sets.MANIFEST])
def test_a_half_is_no_set_and_is_sent_anew(part: str, place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up()
    send(place, volumes, key)
    place.remove(f"{name}/{part}")
    (found,) = place.sender().sets()
    assert found.state == (sets.INCOMPLETE if part == sets.MANIFEST else sets.BROKEN) and part in found.why
    with pytest.raises(sending.RefusedError, match=f"{name} is {found.state}: "):
        place.sender().complete(name)
    assert send(place, volumes, key).state == sets.COMPLETE


def test_a_check_reads_everything_and_finds_a_changed_byte(place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up()
    send(place, volumes, key)
    assert place.sender().check(name).set == name
    for part in (sets.DATA, sets.CONFIG):
        content = place.read(f"{name}/{part}")
        place.write(f"{name}/{part}", content[:-1] + bytes([content[-1] ^ 1]))
        assert states(place) == {name: sets.COMPLETE}, "its size is the same"
        with pytest.raises(sending.RefusedError, match=rf"{name} is broken: {part} has another checksum"):
            place.sender().check(name)
        place.write(f"{name}/{part}", content)


def test_a_check_counts_for_how_many_a_part_is_encrypted(place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up()
    send(place, volumes, key)
    manifest = json.loads(place.read(f"{name}/{sets.MANIFEST}"))
    manifest["recipients"] = [key.recipient, new_key(place.secrets.parent / "other.txt").recipient]
    place.write(f"{name}/{sets.MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(sending.RefusedError, match="is encrypted for 1 keys, and its manifest names 2"):
        place.sender().check(name)


def test_plain_text_in_the_place_of_a_part_is_found(place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up()
    send(place, volumes, key)
    plain = b"in clear" * 1000
    manifest = json.loads(place.read(f"{name}/{sets.MANIFEST}"))
    for one in manifest["parts"]:
        one.update(size=len(plain), sha256=hashlib.sha256(plain).hexdigest())
        place.write(f"{name}/{one['name']}", plain)
    place.write(f"{name}/{sets.MANIFEST}", json.dumps(manifest).encode())
    with pytest.raises(sending.RefusedError, match="not encrypted by age"):
        place.sender().check(name)


def test_what_is_old_goes_and_the_newest_whole_set_stays(place: Place, volumes: Volumes, key: Key) -> None:
    names = [volumes.back_up(NOW + days * DAY) for days in (0, 10, 20)]
    for name in names:
        pair = archives.Pair(
            name, volumes.data / f"{name}_gitlab_backup.tar", next(volumes.config.glob(f"*{int(name[:10]) - 20}*"))
        )
        place.sender().send(pair, [key.recipient], NOW)
    assert [one.name for one in place.sender().sets()] == names[::-1]
    gone = place.sender().prune(7, NOW + 18 * DAY)
    assert [one.name for one in gone] == names[:2] and states(place) == {names[2]: sets.COMPLETE}
    assert place.sender().prune(7, NOW + 1000 * DAY) == [] and states(place) == {names[2]: sets.COMPLETE}
    if place.folder is not None:
        assert [one.name for one in place.folder.iterdir()] == [names[2]], "no empty folder stays"


def test_halves_go_after_a_day_and_what_is_not_the_labs_never(place: Place, volumes: Volumes, key: Key) -> None:
    mine = volumes.back_up(NOW)
    send(place, volumes, key)
    half = f"{NOW - 100}_2026_09_21_19.3.0"
    place.write(f"{half}/{sets.DATA}", b"cut off")
    place.write("photos/cat.jpg", b"a cat")
    theirs = volumes.back_up(NOW + 5)
    send(place, volumes, key, lab="theirs")
    assert states(place) == {mine: sets.COMPLETE, half: sets.INCOMPLETE, "photos": sets.FOREIGN, theirs: sets.FOREIGN}
    assert place.sender().prune(1, NOW + 3600) == []
    assert [one.name for one in place.sender().prune(1, NOW + 900 * DAY)] == [half]
    assert states(place) == {mine: sets.COMPLETE, "photos": sets.FOREIGN, theirs: sets.FOREIGN}


def test_a_set_of_another_lab_is_not_written_over(place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up()
    send(place, volumes, key, lab="theirs")
    before = place.files()
    with pytest.raises(sending.RefusedError, match=f"{name} at the target is not this lab's: it is of the lab theirs"):
        send(place, volumes, key)
    assert place.files() == before


def test_a_broken_archive_is_not_sent(place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up()
    file = volumes.data / f"{name}_gitlab_backup.tar"
    file.write_bytes(file.read_bytes()[:100_000])
    with pytest.raises(archives.ArchiveError, match="the archive of the data is broken"):
        send(place, volumes, key)
    assert place.files() == {}


def test_a_removal_that_is_cut_off_leaves_a_half(
    place: Place, volumes: Volumes, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = volumes.back_up()
    found = send(place, volumes, key)
    sender, deleted = place.sender(), []
    real = sender.target.delete

    def once(path: str) -> None:
        if deleted:
            raise target.TargetError("the network is gone")
        deleted.append(path)
        real(path)

    monkeypatch.setattr(sender.target, "delete", once)
    with pytest.raises(target.TargetError):
        sender.remove(found)
    assert states(place) == {name: sets.INCOMPLETE}


def test_there_is_no_room_and_nothing_is_begun(
    tmp_path: Path, volumes: Volumes, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    place = Place({"kind": "folder", "folder": str(folder), "place": "x"}, tmp_path, folder)
    name = volumes.back_up(size=3 << 20)
    sender = place.sender()
    monkeypatch.setattr(sender.target, "free", lambda: 1 << 20)
    with pytest.raises(
        sending.RefusedError, match=rf"{name} takes 4 MiB at the target, and 1 MiB are free.*keep sets for fewer days"
    ):
        sender.send(archives.newest(volumes.data, volumes.config), [key.recipient], NOW)
    assert place.files() == {}


# A network that is lost, a process that is killed


class Proxy:
    """Passes bytes on to a server, until so many have gone there; then the network is gone."""

    def __init__(self, address: str, most: int | None) -> None:
        self.host, port = address.removeprefix("http://").rsplit(":", 1)
        self.port, self.most, self.passed = int(port), most, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                if self.most is not None and self.passed >= self.most:
                    client.close()
                    continue
                server = socket.create_connection((self.host, self.port))
                threading.Thread(target=self._pass, args=(client, server, True), daemon=True).start()
                threading.Thread(target=self._pass, args=(server, client, False), daemon=True).start()

    def _pass(self, source: socket.socket, sink: socket.socket, counts: bool) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(16384):
                if counts:
                    self.passed += len(piece)
                    if self.most is not None and self.passed >= self.most:
                        break
                sink.sendall(piece)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let rclone give up soon."""
    monkeypatch.setattr(
        target,
        "PATIENCE",
        ("--config", "", "--retries", "1", "--low-level-retries", "1", "--contimeout", "2s", "--timeout", "3s"),
    )


@pytest.mark.parametrize("place", ["s3"], indirect=True)
@pytest.mark.parametrize("most", [1_000, 30_000, 200_000, 1_500_000])
def test_a_network_that_is_lost_leaves_no_set_that_looks_whole(
    most: int, place: Place, volumes: Volumes, key: Key, hasty: None
) -> None:
    name = volumes.back_up(size=2_000_000)
    direct = place.settings["endpoint"]
    proxy = Proxy(direct, most)
    place.settings["endpoint"] = proxy.url
    with pytest.raises(target.TargetError, match="could not") as failed:
        send(place, volumes, key)
    assert not any(value in str(failed.value) or value in "\n".join(place.said) for value in KEYS.values())
    place.settings["endpoint"] = direct
    assert states(place) in ({}, {name: sets.INCOMPLETE})
    assert f"{name}/{sets.MANIFEST}" not in place.files()
    assert send(place, volumes, key).state == sets.COMPLETE
    assert key.opens(place.read(f"{name}/{sets.DATA}")) == (volumes.data / f"{name}_gitlab_backup.tar").read_bytes()


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_a_short_loss_is_tried_again(place: Place, volumes: Volumes, key: Key, hasty: None) -> None:
    volumes.back_up(size=2_000_000)
    direct = place.settings["endpoint"]
    proxy = Proxy(direct, 500_000)
    place.settings["endpoint"] = proxy.url
    sender = place.sender()
    waited: list[float] = []

    def pause(seconds: float) -> None:
        waited.append(seconds)
        proxy.most = None

    sender._pause = pause
    found = sender.send(archives.newest(volumes.data, volumes.config), [key.recipient], NOW)
    assert found.state == sets.COMPLETE and waited == [sending.PAUSE]
    assert any("trying again" in line for line in place.said)


@pytest.mark.parametrize("place", ["s3"], indirect=True)
@pytest.mark.parametrize("most", [None, 7_000_000])
def test_what_is_large_goes_in_parts_and_is_there_once_all_are(
    most: int | None, place: Place, volumes: Volumes, key: Key, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 200 MiB on rclone sends parts; here from 5 MiB on."""
    parts = (
        "--s3-upload-cutoff",
        "5M",
        "--s3-chunk-size",
        "5M",
        "--retries",
        "1",
        "--low-level-retries",
        "1",
        "--timeout",
        "3s",
    )
    monkeypatch.setattr(target, "PATIENCE", ("--config", "", *parts))
    name = volumes.back_up(size=16_000_000)
    direct = place.settings["endpoint"]
    if most is not None:
        place.settings["endpoint"] = Proxy(direct, most).url
        with pytest.raises(target.TargetError):
            send(place, volumes, key)
        place.settings["endpoint"] = direct
        assert f"{name}/{sets.DATA}" not in place.files() and states(place) in ({}, {name: sets.INCOMPLETE})
    assert send(place, volumes, key).state == sets.COMPLETE
    stored = place.client.head_object(Bucket=BUCKET, Key=f"{PREFIX}/{name}/{sets.DATA}")
    assert "-" in stored["ETag"], "it was sent in one part"
    assert place.sender().check(name).set == name


@pytest.mark.parametrize("place", ["s3"], indirect=True)
def test_a_wrong_key_a_missing_bucket_and_a_dead_server_are_told_without_secrets(place: Place, hasty: None) -> None:
    for change, words in (
        ({"bucket": "nowhere"}, "NoSuchBucket|not exist|not found"),
        ({"endpoint": "http://127.0.0.1:9"}, "refused"),
    ):
        wrong = Place(place.settings | change, place.secrets, None, place.client)
        with pytest.raises(target.TargetError, match=words) as failed:
            wrong.target().write("x/y", 1, iter([b"z"]))
        assert KEYS["secret-access-key"] not in str(failed.value)
    (place.secrets / "access-key-id").unlink()
    with pytest.raises(
        target.TargetError, match=r"the Secret backup-target has no access-key-id: \./lab up --only backups"
    ):
        place.target()


@contextlib.contextmanager
def _sending(place: Place, volumes: Volumes, key: Key) -> Iterator[subprocess.Popen[bytes]]:
    code = """
import json, sys
from pathlib import Path
from lab_backups import archives, sending, target
settings, secrets, rclone, data, config, recipient = json.loads(sys.argv[1])
sender = sending.Sender(target.Target(settings, Path(secrets), rclone), "lab", print)
sender.send(archives.newest(Path(data), Path(config)), [recipient], 1790000000)
"""
    words = [place.settings, str(place.secrets), place.rclone, str(volumes.data), str(volumes.config), key.recipient]
    command = [sys.executable, "-B", "-c", code, json.dumps(words)]
    environment = {"PYTHONPATH": str(FOLDER), "PATH": os.environ["PATH"]}
    with subprocess.Popen(command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL) as process:
        yield process


@pytest.mark.parametrize("after", [0.15, 0.4, 0.7, 1.0])
def test_a_pod_that_is_killed_leaves_a_half_at_most(after: float, place: Place, volumes: Volumes, key: Key) -> None:
    name = volumes.back_up(size=40_000_000)
    with _sending(place, volumes, key) as process:
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    found = states(place)
    if f"{name}/{sets.MANIFEST}" in place.files():
        assert found == {name: sets.COMPLETE} and place.sender().check(name)
    else:
        assert found in ({}, {name: sets.INCOMPLETE})
    assert send(place, volumes, key).state == sets.COMPLETE
    assert place.sender().check(name).set == name


def test_the_access_key_is_on_no_command_line(place: Place, volumes: Volumes, key: Key, tmp_path: Path) -> None:
    spy, seen = tmp_path / "spy", tmp_path / "seen"
    spy.write_text(f'#!/bin/sh\necho "$@" >>{seen}\nexec {RCLONE} "$@"\n')
    spy.chmod(0o755)
    place.rclone = str(spy)
    volumes.back_up()
    send(place, volumes, key)
    place.sender().prune(1, NOW + 100 * DAY)
    words = seen.read_text()
    assert "rcat" in words and not any(value in words for value in KEYS.values())
    assert BUCKET in words or place.folder is not None
    assert PREFIX in words or place.folder is not None


def test_the_pods_program_reads_an_archive_from_its_standard_input(volumes: Volumes) -> None:
    name = volumes.back_up()
    content = (volumes.data / f"{name}_gitlab_backup.tar").read_bytes()
    done = run_program("look", "data", name, stdin=content)
    assert done.returncode == 0 and b"with the registry's images" in done.stderr
    done = run_program("look", "data", name, stdin=content[:50_000])
    assert done.returncode == 1 and b"broken" in done.stderr
    done = run_program("look", "config", stdin=next(volumes.config.iterdir()).read_bytes())
    assert done.returncode == 0, done.stderr

"""Each fault is told once, and its end once: over drawn histories, with a restart at each look, and runs that are cut off anywhere."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from tests.support.alerts import cluster, judge, program, settings
from tests.support.depth import every

BAD, GOOD, UNCLEAR = judge.BAD, judge.GOOD, judge.UNCLEAR
LOOK = 300
KEYS = ("flux/a", "flux/b", "disk/c", "disk/d")
BEFORE, SENDING, AFTER = "before the state is written", "while it is sent", "before it is written that it was sent"


class Killed(BaseException):
    """The run is cut off."""


class Cluster:
    """Keeps the state as text, as the ConfigMap does, and is cut off where it is told to be."""

    def __init__(self) -> None:
        self.data: dict[str, str] = {}
        self.version = 0
        self.cut = ""

    def load(self, *_: str) -> tuple[dict[str, Any], dict[str, Any]]:
        held = {"metadata": {"namespace": "gitlab", "name": "alerts-state", "resourceVersion": str(self.version)}}
        text = self.data.get(cluster.STATE_KEY)
        return {**judge.new_state(), **(json.loads(text) if text else {})}, held

    def save(self, held: dict[str, Any], key: str, content: Any, *, alone: bool = False) -> dict[str, Any]:
        if alone and held["metadata"]["resourceVersion"] != str(self.version):
            raise cluster.ClusterError("another run has written")
        if self.cut == (BEFORE if alone else AFTER):
            raise Killed
        self.data[key] = json.dumps(content)
        self.version += 1
        return {"metadata": {**held["metadata"], "resourceVersion": str(self.version)}}


class Lab:
    """Runs the alarm look by look, and keeps what reached the owner."""

    def __init__(self) -> None:
        self.cluster, self.now = Cluster(), 1_800_000_000.0
        self.got: list[tuple[float, judge.Message]] = []
        self.refuses = False

    def look(
        self, facts: list[judge.Fact], read: set[str], *, cut: str = "", refuses: bool = False, later: float = LOOK
    ) -> int | None:
        self.now += later
        self.cluster.cut = cut
        seen = judge.Look(tuple(facts), frozenset(read))
        with self._patched(seen, refuses):
            try:
                return program.run(settings("ntfy"), self.cluster, Path("/nowhere"), self.now)
            except Killed:
                return None

    @contextmanager
    def _patched(self, seen: judge.Look, refuses: bool) -> Iterator[None]:
        class Looker:
            def __init__(self, *_: Any) -> None:
                self.unread: dict[str, str] = {}

            def look(self, _: Any) -> judge.Look:
                return seen

        def deliver(_s: Any, _p: Any, message: judge.Message, now: float) -> str:
            if self.cluster.cut == SENDING:
                raise Killed
            if refuses:
                raise program.NotSentError("HTTP 503")
            self.got.append((now, message))
            return "HTTP 200"

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(program, "Looker", Looker)
            patch.setattr(program, "deliver", deliver)
            yield

    def lines(self) -> list[tuple[str, str, int]]:
        """Return what was told, message by message, a message that came twice once: its kind, its key and how often it passed."""
        found, numbers = [], set()
        for _, message in self.got:
            if message.number in numbers:
                continue
            numbers.add(message.number)
            for line in message.text.splitlines():
                kind, key = re.match(r"(FAULT|OVER|PASSED) fault (\S+?):? ", f"{line} ").groups()
                times = re.search(r", (\d+) times\)$", line)
                found.append((kind, key, int(times[1]) if times else 1))
        return found


def fact(key: str, state: str, grace: int = 0) -> judge.Fact:
    return judge.Fact(key, state, f"fault {key}", "why", grace)


class Expected:
    """Counts, by another way than the judge, how often each fault has begun to be told."""

    def __init__(self, grace: int) -> None:
        self.grace, self.since, self.open, self.begun = grace, {}, set(), Counter()

    def look(self, states: dict[str, str], read: set[str], now: float) -> None:
        for key in KEYS:
            state = states.get(key, "gone" if key.partition("/")[0] in read else UNCLEAR)
            if state == BAD:
                self.since.setdefault(key, now)
                if now - self.since[key] >= self.grace and key not in self.open:
                    self.open.add(key)
                    self.begun[key] += 1
            elif state in (GOOD, "gone"):
                self.since.pop(key, None)
                self.open.discard(key)


ONE_LOOK = st.fixed_dictionaries(
    {
        "states": st.dictionaries(st.sampled_from(KEYS), st.sampled_from([BAD, BAD, GOOD, UNCLEAR])),
        "read": st.sets(st.sampled_from(["flux", "disk"])),
        "how": st.sampled_from(["", "", "", "refuses", BEFORE, SENDING, AFTER]),
        "later": st.sampled_from([LOOK, LOOK, 1800, 7200]),
    }
)


@pytest.mark.slow
@given(history=st.lists(ONE_LOOK, max_size=25), grace=st.sampled_from([0, 600]))
@examples(max_examples=400 if every() else 60, deadline=None)
def test_each_fault_is_told_once_and_its_end_once_whatever_happens(history: list[dict[str, Any]], grace: int) -> None:
    lab, expected = Lab(), Expected(grace)
    for step in history:
        facts = [fact(key, state, grace) for key, state in step["states"].items()]
        how = step["how"]
        lab.look(
            facts, step["read"], cut=how if how != "refuses" else "", refuses=how == "refuses", later=step["later"]
        )
        if how != BEFORE:  # what was not written down was not seen
            expected.look(step["states"], step["read"], lab.now)
    for _ in range(4):
        lab.look([], {"flux", "disk"}, later=7200)
    told = lab.lines()
    counts, entries = Counter(), Counter()
    for kind, key, times in told:
        counts[kind, key] += times
        entries[kind, key] += 1
    for key in KEYS:
        assert entries["FAULT", key] == entries["OVER", key]
        # One that came back before its end was told is told as one that came twice.
        assert counts["OVER", key] + counts["PASSED", key] == expected.begun[key]
        order = [kind for kind, one, _ in told if one == key and kind != "PASSED"]
        assert order == ["FAULT", "OVER"] * (len(order) // 2)


@given(history=st.lists(ONE_LOOK, max_size=40))
@examples(max_examples=200 if every() else 40, deadline=None)
def test_no_hour_has_more_than_three_messages(history: list[dict[str, Any]]) -> None:
    lab = Lab()
    for step in history:
        lab.look([fact(key, state) for key, state in step["states"].items()], step["read"], later=LOOK)
    times = [at for at, _ in lab.got]
    assert all(later - first >= judge.HOUR for first, later in zip(times, times[3:], strict=False))


def test_a_burst_of_fifty_faults_is_one_message_and_their_end_another() -> None:
    lab = Lab()
    faults = [fact(f"flux/{number}", BAD) for number in range(50)]
    for _ in range(5):
        lab.look(faults, {"flux"})
    assert len(lab.got) == 1
    message = lab.got[0][1]
    assert message.subject == "lab: 50 faults" and "and 35 more" in message.text and len(message.text) < 2000
    lab.look([], {"flux"})
    assert [message.subject for _, message in lab.got][1:] == ["lab: 50 over"]


def test_fifty_faults_that_come_one_by_one_are_three_messages_and_then_one_an_hour() -> None:
    lab = Lab()
    for number in range(50):
        lab.look([fact(f"flux/{one}", BAD) for one in range(number + 1)], {"flux"})
    hours = 50 * LOOK / judge.HOUR
    assert len(lab.got) <= judge.AT_ONCE + hours + 1
    lab.look([fact(f"flux/{one}", BAD) for one in range(50)], {"flux"}, later=judge.HOUR)
    assert {key for kind, key, _ in lab.lines() if kind == "FAULT"} <= {f"flux/{one}" for one in range(50)}
    told = sum(int(found[1]) if (found := re.search(r"(\d+) faults", message.subject)) else 1 for _, message in lab.got)
    assert told == 50


def test_after_a_quiet_hour_messages_go_out_at_once_again() -> None:
    lab = Lab()
    for number in range(4):
        lab.look([fact(f"flux/{one}", BAD) for one in range(number + 1)], {"flux"})
    assert len(lab.got) == 3
    everything = [fact(f"flux/{one}", BAD) for one in range(4)]
    lab.look(everything, {"flux"}, later=judge.HOUR)
    assert len(lab.got) == 4
    lab.look(everything, {"flux"}, later=judge.HOUR)
    for number in (5, 6):
        lab.look([fact(f"flux/{one}", BAD) for one in range(number)], {"flux"})
    assert len(lab.got) == 6


def test_a_fault_is_told_after_its_grace_and_from_when_the_cluster_says_it_began() -> None:
    lab = Lab()
    began = lab.now
    down = judge.Fact("gitlab/ready", BAD, "fault gitlab", "why", 600, began)
    lab.look([down], {"gitlab"}, later=599)
    assert not lab.got
    lab.look([down], {"gitlab"}, later=1)
    assert [message.subject for _, message in lab.got] == ["lab: fault gitlab"]
    assert "(for 10 min)" in lab.got[0][1].text
    lab.look([judge.Fact("gitlab/ready", GOOD, "fault gitlab")], {"gitlab"})
    assert lab.got[1][1].subject == "lab: over: fault gitlab" and "(after 15 min)" in lab.got[1][1].text


def test_what_passes_within_its_grace_is_told_at_no_time() -> None:
    lab = Lab()
    for state in (BAD, GOOD, BAD, GOOD):
        lab.look([fact("flux/a", state, 600)], {"flux"})
    assert not lab.got


def test_a_message_that_the_server_refuses_is_tried_again_with_the_same_number() -> None:
    lab = Lab()
    assert lab.look([fact("flux/a", BAD)], {"flux"}, refuses=True) == 1
    state = json.loads(lab.cluster.data[cluster.STATE_KEY])
    assert state["not_sent"] == "HTTP 503" and not lab.got
    assert lab.look([fact("flux/a", BAD), fact("flux/b", BAD)], {"flux"}) == 0
    assert [message.text for _, message in lab.got] == ["FAULT fault flux/a: why"]
    lab.look([fact("flux/a", BAD), fact("flux/b", BAD)], {"flux"})
    assert lab.got[1][1].text.startswith("FAULT fault flux/b") and len({message.number for _, message in lab.got}) == 2
    assert json.loads(lab.cluster.data[cluster.STATE_KEY])["not_sent"] == ""


def test_only_a_run_cut_off_between_the_servers_answer_and_its_note_repeats_a_message_with_the_same_number() -> None:
    for cut, times in ((BEFORE, 1), (SENDING, 1), (AFTER, 2)):
        lab = Lab()
        lab.look([fact("flux/a", BAD)], {"flux"}, cut=cut)
        for _ in range(3):
            lab.look([fact("flux/a", BAD)], {"flux"})
        assert len(lab.got) == times, cut
        assert len({message.number for _, message in lab.got}) == 1


def test_two_runs_at_once_send_one_message() -> None:
    lab = Lab()
    lab.look([fact("flux/a", BAD)], {"flux"}, cut=SENDING)
    lab.look([fact("flux/a", BAD)], {"flux"}, later=10)
    assert not lab.got, "the other run is sending it"
    lab.look([fact("flux/a", BAD)], {"flux"}, later=judge.RUN)
    assert len(lab.got) == 1
    state, held = lab.cluster.load()
    lab.cluster.save(held, cluster.STATE_KEY, state)
    with pytest.raises(cluster.ClusterError):
        lab.cluster.save(held, cluster.STATE_KEY, state, alone=True)


def test_the_state_of_a_thousand_faults_fits_into_a_configmap() -> None:
    lab = Lab()
    lab.look([judge.Fact(f"flux/{one}", BAD, "t" * 900, "w" * 5000) for one in range(1000)], {"flux"}, refuses=True)
    assert len(lab.cluster.data[cluster.STATE_KEY]) < 900_000

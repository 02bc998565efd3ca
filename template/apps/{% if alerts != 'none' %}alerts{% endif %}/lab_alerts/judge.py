"""What is told, and when. Facts become faults, faults become messages; nothing here looks at anything or sends it.

A fault is told once it has lasted for its grace, and once more when it is over. What comes in one look is one message.
After three messages within an hour, what follows is gathered: one message an hour, until an hour was quiet.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

HOUR = 3600
# Messages that go out at once before they are gathered.
AT_ONCE = 3
# A run ends within this time (activeDeadlineSeconds of the CronJob): its message is nobody else's for so long.
RUN = 240
# A message stays readable on a telephone, and within what the services take; `./lab alerts` shows all.
LINES, LINE = 15, 300
BAD, GOOD, UNCLEAR = "bad", "good", "unclear"
FAULT, OVER, PASSED = "fault", "over", "passed"

State = dict[str, Any]


@dataclass(frozen=True)
class Fact:
    """One thing that was looked at.

    Attributes:
        key: what it is, beginning with its source and a slash; the same at each look.
        state: BAD, GOOD, or UNCLEAR, which neither begins a fault nor ends one.
        title: the fault in a few words, the same at each look.
        text: what there is to say about it now.
        grace: the seconds that it may last before it is told.
        since: when it began, if the cluster says so (seconds since 1970).
    """

    key: str
    state: str
    title: str
    text: str = ""
    grace: int = 0
    since: float | None = None


@dataclass(frozen=True)
class Look:
    """What one look has seen.

    Attributes:
        facts: all of them.
        read: the sources that were read whole. What is missing in such a source is no longer there; what is missing in
            another may be there still.
    """

    facts: tuple[Fact, ...]
    read: frozenset[str]


@dataclass(frozen=True)
class Message:
    """What is sent.

    Attributes:
        number: the same for each try of one message, and for no other message.
        subject: a line.
        text: the rest.
        is_bad: whether a fault is among it.
    """

    number: str
    subject: str
    text: str
    is_bad: bool = True

    def as_json(self) -> dict[str, Any]:
        return {"number": self.number, "subject": self.subject, "text": self.text, "is_bad": self.is_bad}


@dataclass
class _Events:
    """What is to be told, the newest of each fault alone."""

    held: list[dict[str, Any]] = field(default_factory=list)

    def begin(self, key: str, fault: dict[str, Any]) -> None:
        """Tell a fault. One that is back before its end was told goes on, as far as the owner knows."""
        untold = self._find(key, OVER)
        if untold is not None:
            self.held.remove(untold)
            fault.update(since=untold["from"], times=untold["times"] + 1)
            return
        self.held.append(self._event(FAULT, key, fault, text=fault["text"]))

    def end(self, key: str, fault: Mapping[str, Any], now: float) -> None:
        """Tell an end. Of a fault that nobody was told of yet, beginning and end are one line."""
        untold, passed = self._find(key, FAULT), self._find(key, PASSED)
        if untold is None:
            self.held.append(self._event(OVER, key, fault, to=now, times=fault.get("times", 1)))
            return
        self.held.remove(untold)
        if passed is None:
            self.held.append({**untold, "kind": PASSED, "to": now, "times": 1})
        else:
            passed.update(to=now, times=passed["times"] + 1)

    def _find(self, key: str, kind: str) -> dict[str, Any] | None:
        return next((one for one in self.held if one["key"] == key and one["kind"] == kind), None)

    @staticmethod
    def _event(kind: str, key: str, fault: Mapping[str, Any], *, text: str = "", **more: Any) -> dict[str, Any]:
        return {"kind": kind, "key": key, "title": fault["title"], "text": text, "from": fault["since"], **more}


def new_state() -> State:
    """Return the state before the first look."""
    return {"faults": {}, "pending": [], "sent": [], "gathering": False, "outgoing": None, "trying": 0, "number": 0}


def judge(state: State, look: Look, now: float) -> State:
    """Return the state after a look: which faults there are, and what is to be told of them."""
    after = copy.deepcopy(state)
    faults, events = after["faults"], _Events(after["pending"])
    seen = set()
    for fact in look.facts:
        seen.add(fact.key)
        if fact.state == BAD:
            _bad(faults, events, fact, now)
        elif fact.state == GOOD and fact.key in faults:
            _good(faults, events, fact.key, now)
    for key in sorted(set(faults) - seen):
        if key.partition("/")[0] in look.read:
            _good(faults, events, key, now)
    return after


def _bad(faults: dict[str, Any], events: _Events, fact: Fact, now: float) -> None:
    began = now if fact.since is None else min(fact.since, now)
    fault = faults.setdefault(fact.key, {"since": began, "told": False})
    fault.update(title=_cut(fact.title), text=_cut(fact.text))
    if not fault["told"] and now - fault["since"] >= fact.grace:
        fault["told"] = True
        events.begin(fact.key, fault)


def _good(faults: dict[str, Any], events: _Events, key: str, now: float) -> None:
    fault = faults.pop(key)
    if fault["told"]:
        events.end(key, fault, now)


def compose(state: State, lab: str, now: float) -> State:
    """Return the state with the next message in `outgoing`, if there is something to tell and it is time to."""
    after = copy.deepcopy(state)
    recent = after["sent"] = [at for at in after["sent"] if now - at < HOUR]
    if not after["pending"] and not recent:
        after["gathering"] = False
    if after["outgoing"] or not after["pending"] or (after["gathering"] and recent):
        return after
    after["number"] += 1
    message = worded(after["pending"], lab, f"{after['number']}.{int(now)}", now)
    after["outgoing"], after["pending"] = message.as_json(), []
    return after


def sent(state: State, now: float) -> State:
    """Return the state after its message has reached the server."""
    after = copy.deepcopy(state)
    after.update(outgoing=None, trying=0, not_sent="")
    after["sent"] = [*after["sent"], now]
    after["gathering"] = after["gathering"] or len(after["sent"]) >= AT_ONCE
    return after


def begin_to_send(state: State, now: float) -> tuple[State, Message | None]:
    """Return the state in which a message is being sent, and the message; none if another run sends it."""
    if not state["outgoing"] or 0 <= now - state["trying"] < RUN:
        return state, None
    return state | {"trying": now}, Message(**state["outgoing"])


def not_sent(state: State, why: str) -> State:
    """Return the state after its message has not reached the server: the next run tries again."""
    return state | {"trying": 0, "not_sent": why}


# Words


def worded(events: Iterable[Mapping[str, Any]], lab: str, number: str, now: float) -> Message:
    """Return the message that tells some events, faults first."""
    order = [FAULT, OVER, PASSED]
    found = sorted(events, key=lambda one: (order.index(one["kind"]), one["from"]))
    lines = [_line(one, now) for one in found]
    if len(lines) > LINES:
        lines = [*lines[:LINES], f"… and {len(lines) - LINES} more. `./lab alerts` shows what is open."]
    bad = [one for one in found if one["kind"] == FAULT]
    if len(found) == 1:
        subject = found[0]["title"] if bad else f"over: {found[0]['title']}"
    else:
        parts = [f"{len(bad)} fault{'s' * (len(bad) != 1)}"] if bad else []
        over = len(found) - len(bad)
        subject = ", ".join(parts + ([f"{over} over"] if over else []))
    return Message(number, f"{lab}: {subject}", "\n".join(lines), bool(bad))


def _line(event: Mapping[str, Any], now: float) -> str:
    text = f": {event['text']}" if event["text"] else ""
    if event["kind"] == FAULT:
        lasted = now - event["from"]
        return f"FAULT {event['title']}{text}" + (f" (for {span(lasted)})" if lasted >= 60 else "")
    times = f", {event['times']} times" if event["times"] > 1 else ""
    if event["kind"] == OVER:
        return f"OVER {event['title']} (after {span(event['to'] - event['from'])}{times})"
    return f"PASSED {event['title']}{text} (over before this message{times})"


def span(seconds: float) -> str:
    """Return a time in words: 12 min, 5 h, 3 days."""
    minutes = max(0, int(seconds // 60))
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 2880 else f"{minutes // 1440} days"


def _cut(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LINE else line[: LINE - 1] + "…"

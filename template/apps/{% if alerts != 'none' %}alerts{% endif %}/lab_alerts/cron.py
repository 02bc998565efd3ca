"""How long the pauses of a schedule are, for judging whether what it should have made is too old."""

from __future__ import annotations

import datetime

DAY = 86400
_MACROS = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0"}
_MACROS |= {"@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *"}
_MONTHS = ("", "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
# Long enough for a schedule of 29 February.
_YEARS = 9


def longest_pause(schedule: str) -> int:
    """Return the longest time between two days of a schedule, in seconds; a day at least.

    Args:
        schedule: five fields of cron, or a word such as @daily, as a CronJob has it. Each day counts as a whole.
    """
    fields = _MACROS.get(schedule.strip(), schedule).lower().split()
    if len(fields) != 5:
        return DAY
    days, months = _values(fields[2], 1, 31), _values(fields[3], 1, 12, _MONTHS)
    weekdays = {one % 7 for one in _values(fields[4], 0, 7, _DAYS)}
    # Cron takes either of the two days, if both are given.
    either = not fields[2].startswith("*") and not fields[4].startswith("*")
    last, longest = None, 1
    first = datetime.date(2024, 1, 1)
    for number in range(366 * _YEARS):
        day = first + datetime.timedelta(days=number)
        in_month, in_week = day.day in days, day.isoweekday() % 7 in weekdays
        if day.month in months and ((in_month or in_week) if either else (in_month and in_week)):
            longest = max(longest, number - last) if last is not None else longest
            last = number
    return longest * DAY


def _values(text: str, low: int, high: int, names: tuple[str, ...] = ()) -> set[int]:
    """Return the values that a field of cron names."""

    def value(word: str) -> int:
        return names.index(word) if word in names else int(word)

    found: set[int] = set()
    for part in text.split(","):
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        begin, end = (low, high) if span in ("*", "?") else (value(first), value(last or first))
        if step and not last and span not in ("*", "?"):
            end = high
        found |= set(range(begin, end + 1, int(step or 1)))
    return found

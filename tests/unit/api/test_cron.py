"""Cron schedules."""

import zoneinfo
from datetime import UTC, datetime, tzinfo

import pytest

from netpod.api import cron

BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")


def after(schedule: str, moment: str, zone: tzinfo = UTC) -> str:
    """Return the next moment in UTC, to the minute."""
    start = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    found = cron.parse(schedule).next(start, zone)
    return found.strftime("%Y-%m-%d %H:%M") if found is not None else "never"


@pytest.mark.parametrize(
    ("schedule", "start", "expected"),
    [
        ("* * * * *", "2026-01-01 12:00", "2026-01-01 12:01"),
        ("*/15 * * * *", "2026-01-01 12:46", "2026-01-01 13:00"),
        ("5/20 * * * *", "2026-01-01 12:00", "2026-01-01 12:05"),
        ("0 9-17/4 * * MON-FRI", "2026-01-02 17:30", "2026-01-05 09:00"),
        ("30 6 1,15 * *", "2026-01-01 07:00", "2026-01-15 06:30"),
        ("0 0 13 * 5", "2026-01-01 00:00", "2026-01-02 00:00"),
        ("0 0 29 feb *", "2026-01-01 00:00", "2028-02-29 00:00"),
        ("0 0 30 2 *", "2026-01-01 00:00", "never"),
        ("@hourly", "2026-01-01 12:00", "2026-01-01 13:00"),
        ("@weekly", "2026-01-01 12:00", "2026-01-04 00:00"),
        ("@yearly", "2026-01-01 12:00", "2027-01-01 00:00"),
        ("0 0 ? * sun", "2026-01-01 12:00", "2026-01-04 00:00"),
    ],
)
def test_next_time(schedule: str, start: str, expected: str) -> None:
    """Steps, ranges, names, either of two days, and dates that are rare or never."""
    assert after(schedule, start) == expected


def test_time_zone_and_summer_time() -> None:
    """Half past two does not exist in Berlin on 2026-03-29: that day is left out."""
    assert after("30 2 * * *", "2026-01-01 12:00", BERLIN) == "2026-01-02 01:30"
    assert after("30 2 * * *", "2026-03-28 12:00", BERLIN) == "2026-03-30 00:30"
    assert after("30 2 * * *", "2026-10-25 00:30", BERLIN) == "2026-10-26 01:30"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "*/0 * * * *",
        "5-1 * * * *",
        "@often",
        "x * * * *",
    ],
)
def test_what_is_no_schedule_is_refused(text: str) -> None:
    """A ValueError says why."""
    with pytest.raises(ValueError, match=r"\w"):
        cron.parse(text)

"""Ages and shortened lists."""

from datetime import UTC, datetime, timedelta

import pytest

from netpod.apiserver import tables_cells


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "<invalid>"),
        (-1, "0s"),
        (0, "0s"),
        (119, "119s"),
        (120, "2m"),
        (303, "5m3s"),
        (600, "10m"),
        (179 * 60 + 59, "179m"),
        (3 * 3600, "3h"),
        (7 * 3600 + 1800, "7h30m"),
        (8 * 3600 + 1800, "8h"),
        (47 * 3600, "47h"),
        (48 * 3600, "2d"),
        (51 * 3600, "2d3h"),
        (8 * 86400 + 3600, "8d"),
        (400 * 86400, "400d"),
        (730 * 86400, "2y"),
        (740 * 86400, "2y10d"),
        (8 * 365 * 86400, "8y"),
    ],
)
def test_durations_read_as_kubectl_prints_them(seconds: int, text: str) -> None:
    """Two to three significant digits; a clock slightly ahead reads as zero."""
    assert tables_cells.human_duration(timedelta(seconds=seconds)) == text


def test_an_absent_timestamp_is_unknown() -> None:
    """An object without a creation time has no age."""
    now = datetime(2024, 1, 1, tzinfo=UTC)
    for moment in (None, "", "yesterday", 3, "2024-01-01"):
        assert tables_cells.since(moment, now) == "<unknown>"
    assert tables_cells.since("2023-12-31T23:59:50Z", now) == "10s"
    assert tables_cells.since("2023-12-31T23:59:50.123456Z", now) == "9s"


def test_selectors_read_as_text() -> None:
    """All requirements, labels first."""
    assert tables_cells.selector_text(None) == "<none>"
    assert tables_cells.selector_text({"matchLabels": {}}) == "<none>"
    selector = {
        "matchLabels": {"b": "2", "a": "1"},
        "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["y", "x"]},
            {"key": "d", "operator": "NotIn", "values": ["z"]},
            {"key": "e", "operator": "Exists"},
            {"key": "f", "operator": "DoesNotExist"},
        ],
    }
    assert tables_cells.selector_text(selector) == "a=1,b=2,c in (x,y),d notin (z),e,!f"

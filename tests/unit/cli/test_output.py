"""Tables and jsonpath as kubectl prints them."""

import pytest

from netpod.errors import UsageError
from netpod_cli import output, waiting

POD = {
    "metadata": {"name": "a", "labels": {"app.kubernetes.io/name": "x"}},
    "status": {"podIPs": [{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}], "ready": True},
}


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("{.metadata.name}", "a"),
        (".metadata.name", "a"),
        ("{.status.podIPs[0].ip}", "10.0.0.1"),
        ("{.status.podIPs[-1].ip}", "10.0.0.2"),
        ("{.status.podIPs[*].ip}", "10.0.0.1 10.0.0.2"),
        ("{.metadata.labels['app.kubernetes.io/name']}", "x"),
        ("{.status.missing}", ""),
        ("{.status.podIPs[9].ip}", ""),
        ("name={.metadata.name}, ready={.status.ready}", "name=a, ready=true"),
        ('{range .status.podIPs[*]}{.ip}{"\\n"}{end}', "10.0.0.1\n10.0.0.2\n"),
    ],
)
def test_jsonpath(expression: str, text: str) -> None:
    """Fields, indexes, wildcards, quoted keys, ranges and literal text."""
    assert output.jsonpath(POD, expression) == text


def test_jsonpath_says_what_it_cannot_read() -> None:
    """A filter is not supported and is not silently empty."""
    with pytest.raises(UsageError, match="cannot read jsonpath"):
        output.jsonpath(POD, "{.items[?(@.a==1)]}")


def test_jsonpath_with_an_open_brace_is_no_text() -> None:
    """A typing error must not read as text that is always there: `wait --for=jsonpath=` would be met."""
    with pytest.raises(UsageError, match="brace is not closed"):
        output.jsonpath(POD, "{.status.ready")


def test_columns_align_and_do_not_trail() -> None:
    """Three spaces between columns, none at the end of a line."""
    assert (
        output.columns([("NAME", "AGE"), ("example-app", "5s")])
        == "NAME          AGE\nexample-app   5s"
    )


def test_wide_columns_only_when_asked() -> None:
    """Columns of priority 1 belong to -o wide."""
    table = {
        "columnDefinitions": [{"name": "Name", "priority": 0}, {"name": "IP", "priority": 1}],
        "rows": [{"cells": ["a", None], "object": {"metadata": {"namespace": "default"}}}],
    }
    assert output.table(table, wide=False, namespaces=False) == "NAME\na"
    assert output.table(table, wide=True, namespaces=False) == "NAME   IP\na      <none>"
    assert (
        output.table(table, wide=False, namespaces=True, kind="pod")
        == "NAMESPACE   NAME\ndefault     pod/a"
    )


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("1m30s", 90), ("500ms", 0.5), ("2h", 7200), ("0s", 0)]
)
def test_durations_are_gos(text: str, seconds: float) -> None:
    """30s, 1m30s; a bare number is seconds."""
    assert waiting.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "5 m", "1m2", "-3s"])
def test_a_bad_duration_is_refused(text: str) -> None:
    """What is no duration is a usage error, not zero."""
    with pytest.raises(UsageError, match="cannot read duration"):
        waiting.seconds(text)

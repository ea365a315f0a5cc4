"""Who gets into the dashboard, and what a trace's form may hold."""

import stat

import pytest

from netpod.dashboard import access, links, traces
from netpod.dashboard.access import Right
from netpod.errors import UsageError
from netpod.paths import Paths

LINK = links.Link(port=8001, view="v" * 43, edit="e" * 43)


def test_a_token_is_what_it_was_made_for() -> None:
    """Viewing, editing, or nothing; never part of one."""
    assert access.of_token(LINK, LINK.view) is Right.VIEW
    assert access.of_token(LINK, LINK.edit) is Right.EDIT
    for token in ("", "v", LINK.view[:-1], LINK.view + "v", "ü"):
        assert access.of_token(LINK, token) is Right.NONE


def test_a_link_survives_a_restart_and_is_roots_alone() -> None:
    """The tokens stay when the port changes; others may not read them."""
    paths = Paths("linktest")
    paths.run.mkdir(parents=True)
    try:
        first = links.save(paths, 8001)
        second = links.save(paths, 9000)
        assert (first.view, first.edit) == (second.view, second.edit)
        assert links.load(paths) == second
        assert stat.S_IMODE((paths.run / "dashboard.json").stat().st_mode) == 0o600
        assert first.edit not in first.url()
    finally:
        (paths.run / "dashboard.json").unlink()
        paths.run.rmdir()


def test_a_taken_port_is_left_to_who_has_it() -> None:
    """Two clusters on one machine have two dashboards."""
    with links.listen(0) as first:
        port = first.getsockname()[1]
        with links.listen(port) as second:
            assert second.getsockname()[1] not in (0, port)


def test_a_form_becomes_the_commands_arguments() -> None:
    """As somebody types it."""
    form = {"from": "pod/a", "to": "10.96.0.10:53", "protocol": "dns", "query": "web"}
    assert traces.arguments(form) == ["--from", "pod/a", "--udp", "10.96.0.10:53", "--query", "web"]
    assert traces.arguments({"to": "http://example.com/"}) == ["http://example.com/"]


@pytest.mark.parametrize(
    ("form", "cause"),
    [
        ({}, "to: say where"),
        ({"to": "svc/a", "protocol": "gopher"}, "protocol: http"),
        ({"to": "--help"}, "does not begin with '-'"),
        ({"to": "svc/a", "from": "-x"}, "from: text"),
        ({"to": ["svc/a"]}, "to: text"),
    ],
)
def test_a_form_cannot_smuggle_options(form: dict[str, object], cause: str) -> None:
    """What begins with a dash would be an option."""
    with pytest.raises(UsageError, match=cause):
        traces.arguments(form)

"""How little a running HAProxy is changed."""

from hypothesis import given
from hypothesis import strategies as st

from netpod.ingress import change, haproxy
from netpod.ingress.haproxy import Config
from netpod.ingress.model import Address


def _maps(**entries: dict[str, str]) -> dict[str, dict[str, str]]:
    return {name: entries.get(name.removesuffix(".map"), {}) for name in haproxy.MAPS}


A, B, C = (Address(ip=f"10.0.0.{n}", port=80) for n in (1, 2, 3))


def test_nothing_runs_so_everything_is_loaded() -> None:
    """The first configuration is a start."""
    plan = change.plan(None, Config(slots={"d:web:80": ()}))
    assert plan.reload
    assert plan.config.slots == {"d:web:80": (None,)}


def test_new_route_needs_no_reload() -> None:
    """Routes are map entries; the host comes after its rules, and goes before them."""
    running = Config(slots={"d:web:80": (A,)}, maps=_maps(hosts={"a": "a"}, prefix={"a#/": "x"}))
    wanted = Config(
        slots={"d:web:80": (A,)}, maps=_maps(hosts={"b": "b"}, prefix={"b#/;\\": "y z"})
    )
    plan = change.plan(running, wanted)
    assert not plan.reload
    assert plan.commands == (
        "add map prefix.map b#/\\;\\\\ y\\ z",
        "add map hosts.map b b",
        "del map hosts.map a",
        "del map prefix.map a#/",
    )


def test_changed_address_moves_both_twins() -> None:
    """The backend of traced requests always has the same servers."""
    running = Config(slots={"d:web:80": (None,)})
    plan = change.plan(running, Config(slots={"d:web:80": (A,)}))
    assert plan.commands == (
        "set server svc-d:web:80/s0 addr 10.0.0.1 port 80",
        "set server svc-d:web:80/s0 state ready",
        "set server trace-d:web:80/s0 addr 10.0.0.1 port 80",
        "set server trace-d:web:80/s0 state ready",
    )


def test_target_nobody_names_any_more_stays_until_the_next_reload() -> None:
    """Removing a Service takes its server out of work without a reload."""
    running = Config(slots={"d:old:80": (A,), "d:web:80": (B,)})
    plan = change.plan(running, Config(slots={"d:web:80": (B,)}))
    assert not plan.reload
    assert plan.config.slots == {"d:old:80": (None,), "d:web:80": (B,)}
    assert plan.commands == (
        "set server svc-d:old:80/s0 state maint",
        "set server trace-d:old:80/s0 state maint",
    )


def test_new_target_and_too_many_addresses_reload() -> None:
    """A backend or a server that does not exist cannot be changed."""
    running = Config(slots={"d:web:80": (A,)})
    assert change.plan(running, Config(slots={"d:new:80": ()})).reload
    grown = change.plan(running, Config(slots={"d:web:80": (A, B, C)}))
    assert grown.reload
    assert grown.config.slots == {"d:web:80": (A, B, C, None)}


@given(st.sets(st.integers(1, 8), max_size=8), st.sets(st.integers(1, 8), max_size=8))
def test_address_that_stays_keeps_its_server(before: set[int], after: set[int]) -> None:
    """Every wanted address has exactly one server, and none moves without need."""
    old = change.assign([None] * 8, [Address(ip=f"10.0.0.{n}", port=1) for n in sorted(before)])
    new = change.assign(old, [Address(ip=f"10.0.0.{n}", port=1) for n in sorted(after)])
    placed = [a.ip for a in new if a is not None]
    assert sorted(placed) == sorted(f"10.0.0.{n}" for n in after)
    for was, now in zip(old, new, strict=True):
        if was is not None and int(was.ip.rpartition(".")[2]) in after:
            assert now == was

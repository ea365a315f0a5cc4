"""Whatever happens on the way, the kernel ends with the rules of the final state: changes, repetitions, kills."""

import asyncio
import contextlib
import functools
import os
import random
import re
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from netpod.api.discovery import EndpointSlice
from netpod.api.service import Service
from netpod.ip import Family
from netpod.linux import iptables, netns, nft, process
from netpod.proxy import iptables as iptables_mode
from netpod.proxy import nftables, nftables_proxier, nftables_table, restore
from netpod.proxy.changes import ChangeTracker
from netpod.proxy.model import Model
from netpod.proxy.proxier import Proxier
from netpod.proxy.restore import TABLES
from tests.kernel.proxy import conftest, lab
from tests.unit.proxy import builders, families
from tests.unit.proxy.test_properties import FIXTURE, change, either_family, steps
from tests.unit.proxy.test_upstream import CASES as RECORDED
from tests.unit.proxy.test_upstream import CONFIG as RECORDED_CONFIG
from tests.unit.proxy.test_upstream import objects

KILLS = 20
family = either_family
CASES = builders.cases()


# IPVS mode is more than tables: test_ipvs.py.
@pytest.fixture(params=[name for name in conftest.WAYS if name != "ipvs"])
def way(request: pytest.FixtureRequest) -> str:
    """Name of a mode and variant."""
    return str(request.param)


def tables(way: str) -> dict[str, str]:
    """Each table as the kernel has it; chains of nftables that wait for their deletion are left out."""
    if way == "nftables":
        found = nftables_proxier.observe(lab.NODE, families.family())
        if found is None:
            return {}
        for chain in [c for c, rules in found.chains.items() if "/" in c and not rules]:
            del found.chains[chain]
        return {"kube-proxy": nftables_table.list_text(found)}
    saved = iptables.save(lab.NODE, legacy=way == "iptables-legacy", family=families.family())
    parsed = restore.parse_save(re.sub(r"\[\d+:\d+\]", "[0:0]", saved))
    return {table: restore.save_text({table: parsed.get(table, {})}) for table in TABLES}


def proxier(way: str) -> Proxier:
    """One that knows nothing yet."""
    return lab.new_proxier(**conftest.WAYS[way])


def full(way: str, model: Model) -> dict[str, str]:
    """The tables after one full sync in an empty namespace."""
    netns.delete_netns(lab.NODE)
    netns.create(lab.NODE)
    lab.run(proxier(way).full_sync(model))
    return tables(way)


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    suppress_health_check=FIXTURE,
)
@given(steps)
def test_any_changes_end_as_one_full_sync(
    empty_node: str,
    way: str,
    family: Family,
    changes: list[Service | EndpointSlice | tuple[bool, str]],
) -> None:
    """Partial syncs, one per change, leave the kernel's rules as one full sync of the final state would."""
    netns.delete_netns(empty_node)
    netns.create(empty_node)
    tracker = ChangeTracker("worker", family)
    made = proxier(way)

    async def walk() -> None:
        await made.full_sync(tracker.model)
        for step in changes:
            change(tracker, step)
            await made.sync(tracker.model, tracker.take())
        assert not await made.sync(tracker.model, frozenset(tracker.model.services))
        assert not await made.full_sync(tracker.model), "the second time something changed"
        assert not await proxier(way).full_sync(tracker.model), "a restart changed something"

    lab.run(walk())
    assert tables(way) == full(way, tracker.model)


def test_a_kill_leaves_old_or_new_tables(
    empty_node: str, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at any moment, for the proxy and the program it runs: each table is old or new; a restart converges."""
    monkeypatch.setattr(nftables_proxier, "STALE_SECONDS", 0.0)
    old, new = CASES["web-local"], CASES["two-services"]
    want = [full(way, old), full(way, new)]
    assert want[0] != want[1]
    draw = random.Random(4)
    last = list(want[0])[-1]
    seen: set[str] = set()
    for _ in range(KILLS):
        with _syncing_back_and_forth(way, old, new):
            select.select([], [], [], draw.uniform(0, 0.08))
        found = tables(way)
        for table, text in found.items():
            assert text in (want[0][table], want[1][table]), f"table {table} is a mixture"
        seen.add(found[last])
        lab.run(proxier(way).full_sync(old))
        assert tables(way) == want[0]
    assert seen == {want[0][last], want[1][last]}, "no kill came in time to matter"


@contextlib.contextmanager
def _syncing_back_and_forth(way: str, old: Model, new: Model) -> Iterator[None]:
    """A process of its own goes from one model to the other and back until the block ends, then is killed."""
    ready, begun = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setpgid(0, 0)
            asyncio.run(_forever(proxier(way), old, new, begun))
        finally:
            os._exit(1)
    os.close(begun)
    try:
        assert os.read(ready, 1) == b"!", "it never began"
        yield
    finally:
        os.close(ready)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        _wait_for_orphans(pid)


async def _forever(made: Proxier, old: Model, new: Model, begun: int) -> None:
    names = {*old.services, *new.services}
    await made.full_sync(old)
    os.write(begun, b"!")
    while True:
        for model in (new, old):
            await made.sync(model, names)
            await made.tidy()


def _wait_for_orphans(group: int) -> None:
    """A program that was killed with its parent is gone from the kernel a moment later."""
    for _ in range(500):
        if not any(map(functools.partial(_runs_in, group), Path("/proc").glob("[0-9]*/stat"))):
            return
        select.select([], [], [], 0.01)
    raise AssertionError("a killed program is still there")


def _runs_in(group: int, stat: Path) -> bool:
    with contextlib.suppress(OSError):
        state, _, its_group = stat.read_text().rpartition(") ")[2].split(" ")[:3]
        return int(its_group) == group and state != "Z"
    return False


@pytest.mark.parametrize("case", RECORDED)
def test_programs_accept_what_is_compiled_for_recorded_objects(empty_node: str, case: str) -> None:
    """The objects a real kube-proxy saw: `iptables-restore --test` and `nft -c` take the whole text."""
    built = objects(case)
    compiled = iptables_mode.compile(built, RECORDED_CONFIG)
    delta = restore.difference(compiled, {}, jumps=iptables_mode.JUMPS, ours=iptables_mode.is_ours)
    text = restore.restore_text(delta)
    iptables.restore(empty_node, text, test=True)
    process.run(
        ["iptables-legacy-restore", "--noflush", "--test"], stdin=text.encode(), netns=empty_node
    )
    nft.check(empty_node, nftables_table.list_text(nftables.compile(built, RECORDED_CONFIG)))

"""Writes are answered as a real kube-apiserver answered them: code, causes with field paths, objects with defaults.

The answers were recorded from kube-apiserver 1.20.2 (tests/upstream/test_writes.py does so again);
tests/support/writes/accepted.yaml says what has changed since, and why netpod differs where it does.
"""

import asyncio
import dataclasses
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

import pytest

from netpod.apiserver.server import ApiServerConfig
from tests.support.writes import accepted, playing, recording
from tests.unit.apiserver.support import CONFIG, serving

DUAL = (IPv4Network("10.96.0.0/16"), IPv6Network("fd00:10:96::/112"))
NAMESPACE = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "limited"}}


@dataclasses.dataclass
class Replay:
    """Cases of one group that netpod answers otherwise, and the exemptions that were needed."""

    found: list[str] = dataclasses.field(default_factory=list)
    exempt: set[str] = dataclasses.field(default_factory=set)


async def replay(player: playing.Player, group: str) -> Replay:
    """Play a group's cases, one after the other: they all write the same object."""
    told = Replay()
    for name, steps, theirs in recording.read(group):
        ours = recording.brief(await player.play(steps), name, group)
        if ours == theirs:
            continue
        if why := accepted.exempt(group, name):
            told.exempt.add(why)
        else:
            told.found.append(f"{name}\n    upstream {theirs}\n    netpod   {ours}")
    return told


async def replays(folder: Path, config: ApiServerConfig, groups: list[str]) -> dict[str, Replay]:
    """Play groups against one server: kinds side by side, the groups of Services one after the other."""
    found: dict[str, Replay] = {}

    async def play(player: playing.Player, names: list[str]) -> None:
        for name in names:
            found[name] = await replay(player, name)

    async with asyncio.timeout(120), serving(folder, config) as api:
        await api.create("/api/v1/namespaces", NAMESPACE)
        player = playing.Player(api)
        services = [group for group in groups if not recording.is_mutated(group)]
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(
                play(player, ["Service", *services] if "Service" in groups else services)
            )
            for group in groups:
                if recording.is_mutated(group) and group != "Service":
                    tasks.create_task(play(player, [group]))
    return found


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Replay]:
    """Every group, on a cluster of one address family and on one of two."""
    single = [group for group in recording.groups() if group != recording.DUAL]
    found = asyncio.run(replays(tmp_path_factory.mktemp("single"), CONFIG, single))
    dual = dataclasses.replace(CONFIG, service_cidrs=DUAL)
    return found | asyncio.run(replays(tmp_path_factory.mktemp("dual"), dual, [recording.DUAL]))


@pytest.mark.parametrize("group", recording.groups())
def test_writes_are_answered_as_upstream(played: dict[str, Replay], group: str) -> None:
    """Every recorded case, and no exemption that nothing needs."""
    told = played[group]
    assert not told.found, "\n".join([f"{len(told.found)} differ", *told.found])
    assert told.exempt == set(accepted.reasons(group)), "an exemption that nothing needs"

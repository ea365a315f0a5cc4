"""The recorded answers are those of a real kube-apiserver 1.20; `NETPOD_RECORD=1` records them anew.

tests/unit/apiserver/test_upstream_answers.py holds netpod against them.
"""

import asyncio
import os
from pathlib import Path
from typing import Any

from tests.support import kubeapiserver, upstream
from tests.support.writes import playing, recording
from tests.unit.apiserver.support import Api

Json = Any

pytestmark = upstream.needed("kube-apiserver")
SINGLE, BOTH = "10.96.0.0/16", "10.96.0.0/16,fd00:10:96::/112"


async def prepare(api: Api) -> None:
    """What controllers would have made."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "limited"}}
    await api.create("/api/v1/namespaces", body)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    for namespace in ("default", "limited"):
        await api.create(f"/api/v1/namespaces/{namespace}/serviceaccounts", account)


async def record(player: playing.Player, group: str) -> None:
    """Play all cases of a group and keep those worth it."""
    found = [(name, steps, await player.play(steps)) for name, steps in recording.cases(group)]
    recording.write(group, found)


async def verify(player: playing.Player, group: str) -> list[str]:
    """Recorded cases that are answered otherwise now."""
    different = []
    for name, steps, theirs in recording.read(group):
        now = recording.brief(await player.play(steps), name, group)
        if now != theirs:
            different.append(f"{group}: {name}\n    recorded {theirs}\n    now      {now}")
    return different


def test_the_recorded_answers_are_upstreams(tmp_path: Path) -> None:
    """Nobody wrote an answer by hand, and none depends on the moment."""
    different: list[str] = []

    async def play(api: Api, groups: list[str]) -> None:
        await prepare(api)
        player = playing.Player(api, kubeapiserver.VERSIONS)
        for group in groups:
            if os.environ.get("NETPOD_RECORD"):
                await record(player, group)
            different.extend(await verify(player, group))

    async def story(store: str) -> None:
        single = [group for group in recording.groups() if group != recording.DUAL]
        async with kubeapiserver.serving(tmp_path / "single", store, SINGLE) as api:
            await play(api, single)
        async with kubeapiserver.serving(tmp_path / "dual", store, BOTH) as api:
            await play(api, [recording.DUAL])

    with kubeapiserver.etcd(tmp_path) as store:
        asyncio.run(story(store))
    assert not different, "\n".join(different)

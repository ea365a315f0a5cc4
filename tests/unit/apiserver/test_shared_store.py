"""Two API servers over one etcd: neither gives out what the other has, nor overwrites what it has not seen."""

import asyncio
import shutil
from pathlib import Path

import pytest

from netpod.store.etcd import EtcdStore
from tests.unit.apiserver.support import CONFIGMAPS, SERVICES, configmap, serving
from tests.unit.store.members import Members


def test_two_servers_share_objects_addresses_and_ports(tmp_path: Path) -> None:
    """Services made by both in turn and at once differ in addresses and ports; an update over the other's is a
    conflict; a watch at one sees what the other writes; an address freed at one is free at the other."""
    if shutil.which("etcd") is None:
        pytest.skip("no etcd on this machine: apt-get install etcd-server")
    ports = {"type": "NodePort", "ports": [{"port": 80}]}

    async def body(members: Members) -> None:
        folders = [tmp_path / name for name in "ab"]
        for folder in folders:
            folder.mkdir()
        stores = [await EtcdStore.open(members.target) for _ in folders]
        async with (
            serving(folders[0], store=stores[0]) as one,
            serving(folders[1], store=stores[1]) as two,
        ):
            made = []
            for number in range(6):
                name = {"metadata": {"name": f"turn-{number}"}, "spec": ports}
                made.append(await (one, two)[number % 2].create(SERVICES, name))
            made += await asyncio.gather(
                *(
                    (one, two)[number % 2].create(
                        SERVICES, {"metadata": {"name": f"once-{number}"}, "spec": ports}
                    )
                    for number in range(6)
                )
            )
            specs = [it["spec"] for it in made]
            assert len({it["clusterIP"] for it in specs}) == len(specs)
            assert len({it["ports"][0]["nodePort"] for it in specs}) == len(specs)

            last = made[-1]
            path = f"{SERVICES}/{last['metadata']['name']}"
            assert (await one("DELETE", path))[0] == 200
            again = {"metadata": {"name": "again"}, "spec": {"ports": [{"port": 80}]}}
            again["spec"]["clusterIP"] = last["spec"]["clusterIP"]
            async with asyncio.timeout(5):
                while (await two("POST", SERVICES, again))[0] != 201:
                    await asyncio.sleep(0.01)

            kept = await one.create(CONFIGMAPS, configmap("c", a="1"))
            version = kept["metadata"]["resourceVersion"]
            async with two.watch(CONFIGMAPS, resourceVersion=version) as event:
                await one("PUT", f"{CONFIGMAPS}/c", {**kept, "data": {"a": "2"}})
                assert (await event())["object"]["data"] == {"a": "2"}
            code, _ = await two("PUT", f"{CONFIGMAPS}/c", {**kept, "data": {"a": "3"}})
            assert code == 409
            assert (await two.get(f"{CONFIGMAPS}/c"))["data"] == {"a": "2"}

    with Members(tmp_path, 1) as members:
        asyncio.run(body(members))

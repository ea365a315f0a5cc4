"""Several controllers over the same pods: each keeps to its own, and what nobody owns finds an owner."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from netpod.api.apps import ReplicaSet
from netpod.api.pod import Pod
from netpod.api.workloads import StatefulSet
from netpod.client.rest import Client
from tests.unit.controllers import plane, workloads

Owners = dict[str, str]
"""Name of the controller of each pod by the pod's name, "" for none."""


def manifest(kind: str, name: str, replicas: int, labels: str, selector: str = "") -> Any:
    """Return a ReplicaSet or StatefulSet; its selector is its labels unless said otherwise."""
    return workloads.made(
        f"""
apiVersion: apps/v1
kind: {kind}
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{{selector or labels}}}}}
  template:
    metadata: {{labels: {{{labels}}}}}
    spec: {{containers: [{{name: c, image: "web:1"}}]}}
"""
    )


def bare(name: str, labels: str) -> Any:
    """Return a pod that nobody owns."""
    return workloads.made(
        f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, labels: {{{labels}}}}}
spec: {{containers: [{{name: c, image: "web:1"}}]}}
"""
    )


async def owners(client: Client) -> Owners:
    """Return who owns which pod; two controllers of one pod fail the test."""
    found: Owners = {}
    for pod in await plane.pods(client):
        controllers = [r for r in pod.metadata.owner_references if r.controller]
        assert len(controllers) <= 1, pod.metadata
        found[pod.metadata.name] = controllers[0].name if controllers else ""
    return found


async def share(client: Client, **wanted: int) -> bool:
    """Tell whether each controller owns so many pods and says so itself; `free` are those without one."""
    counted = list((await owners(client)).values())
    free = wanted.pop("free", 0)
    if sorted(counted) != sorted(
        [""] * free + [n for n, many in wanted.items() for _ in range(many)]
    ):
        return False
    sets = [
        *(await client.list(ReplicaSet, "shop")).items,
        *(await client.list(StatefulSet, "shop")).items,
    ]
    return {it.metadata.name: it.status.ready_replicas for it in sets} == wanted


async def settled(client: Client, **wanted: int) -> Owners:
    """Wait until the pods are shared so, and see that nothing moves any more."""
    await plane.until(lambda: share(client, **wanted), f"shared as {wanted}")
    before = {p.metadata.uid for p in await plane.pods(client)}
    for _ in range(15):
        await asyncio.sleep(0.02)
        assert {p.metadata.uid for p in await plane.pods(client)} == before, "pods come and go"
    return await owners(client)


def test_two_replica_sets_with_one_selector_keep_to_their_own(tmp_path: Path) -> None:
    """Each makes and counts its own pods; scaling one moves none of the other's."""

    async def story(client: Client) -> None:
        await client.create(manifest("ReplicaSet", "one", 3, "app: web"))
        await client.create(manifest("ReplicaSet", "two", 2, "app: web, tier: b", "app: web"))
        first = await settled(client, one=3, two=2)
        await client.patch(ReplicaSet, "one", "shop", {"spec": {"replicas": 1}})
        second = await settled(client, one=1, two=2)
        assert {n for n, o in second.items() if o == "two"} == {
            n for n, o in first.items() if o == "two"
        }
        await client.delete(ReplicaSet, "one", "shop", propagation_policy="Background")
        assert await settled(client, two=2) == {n: o for n, o in second.items() if o == "two"}

    workloads.tell(tmp_path, story)


def test_an_orphan_is_adopted_and_a_rivals_pod_is_not(tmp_path: Path) -> None:
    """A ReplicaSet takes the matching pod that nobody owns, but none that another owns or that does not match."""

    async def story(client: Client) -> None:
        await client.create(manifest("ReplicaSet", "rival", 2, "app: web, tier: a"))
        rivals = await settled(client, rival=2)
        orphan = await client.create(bare("orphan", "app: web, tier: b"))
        await client.create(bare("stranger", "app: other"))
        await client.create(manifest("ReplicaSet", "web", 2, "app: web, tier: b", "app: web"))
        found = await settled(client, rival=2, web=2, free=1)
        assert (found["orphan"], found["stranger"]) == ("web", "")
        assert {n: found[n] for n in rivals} == rivals
        assert (await client.get(Pod, "orphan", "shop")).metadata.uid == orphan.metadata.uid

    workloads.tell(tmp_path, story)


def test_a_pod_whose_label_changes_leaves_its_owner_for_another(tmp_path: Path) -> None:
    """It is released and replaced; as it is then, whoever selects it has it, and makes one fewer."""

    async def story(client: Client) -> None:
        await client.create(manifest("ReplicaSet", "one", 2, "app: one"))
        moved, stays = await settled(client, one=2)
        await client.patch(Pod, moved, "shop", {"metadata": {"labels": {"app": "two"}}})
        found = await settled(client, one=2, free=1)
        assert (found[moved], found[stays]) == ("", "one")
        await client.create(manifest("ReplicaSet", "two", 2, "app: two"))
        found = await settled(client, one=2, two=2)
        assert (found[moved], found[stays]) == ("two", "one")

    workloads.tell(tmp_path, story)


def test_a_stateful_set_and_a_replica_set_never_fight(tmp_path: Path) -> None:
    """With one selector each keeps its number; a lost pod comes back to the one whose it was."""

    async def story(client: Client) -> None:
        await client.create(manifest("StatefulSet", "db", 2, "app: web"))
        await client.create(manifest("ReplicaSet", "web", 2, "app: web"))
        first = await settled(client, db=2, web=2)
        assert {n for n, o in first.items() if o == "db"} == {"db-0", "db-1"}
        lost = await client.get(Pod, "db-0", "shop")
        await client.delete(Pod, "db-0", "shop")

        async def replaced() -> bool:
            return all(p.metadata.uid != lost.metadata.uid for p in await plane.pods(client))

        await plane.until(replaced)
        assert await settled(client, db=2, web=2) == first
        await client.patch(StatefulSet, "db", "shop", {"spec": {"replicas": 1}})
        del first["db-1"]
        assert await settled(client, db=1, web=2) == first

    workloads.tell(tmp_path, story)


@pytest.mark.parametrize("kind", ["ReplicaSet", "StatefulSet"])
def test_what_an_orphaning_deletion_leaves_the_next_one_adopts(tmp_path: Path, kind: str) -> None:
    """The very same pods run on, without an owner and then with the new one; none is made or deleted."""
    cls = {"ReplicaSet": ReplicaSet, "StatefulSet": StatefulSet}[kind]

    async def story(client: Client) -> None:
        await client.create(manifest(kind, "old", 2, "app: web"))
        await settled(client, old=2)
        before = {p.metadata.uid for p in await plane.pods(client)}
        await client.delete(cls, "old", "shop", propagation_policy="Orphan")
        await settled(client, free=2)
        # Pods of a StatefulSet are its own by name, those of a ReplicaSet by labels alone.
        name = "old" if kind == "StatefulSet" else "new"
        await client.create(manifest(kind, name, 2, "app: web"))
        await settled(client, **{name: 2})
        assert {p.metadata.uid for p in await plane.pods(client)} == before

    workloads.tell(tmp_path, story)

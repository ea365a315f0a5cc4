"""DaemonSets against the real API server and scheduler."""

import dataclasses
from pathlib import Path

import orjson
import pytest

from netpod.api.meta import ObjectMeta
from netpod.api.node import Node, NodeSpec, Taint
from netpod.api.pod import Pod
from netpod.api.workloads import ControllerRevision, DaemonSet
from netpod.client.rest import Client
from netpod.controllers import daemons
from tests.unit.controllers import builders, plane, workloads

AGENT = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {containers: [{name: c, image: "agent:1"}]}
"""


NODES = ["node-0", "node-1", "node-2"]


async def spread(client: Client, image: str = "agent:1") -> list[str]:
    """Return the nodes that have a live, ready pod of an image, sorted."""
    return sorted(
        p.spec.node_name
        for p in await plane.pods(client)
        if p.spec.containers[0].image == image
        and p.status.phase == "Running"
        and not p.metadata.deletion_timestamp
    )


async def roll(client: Client, image: str) -> None:
    """Change the template's image."""
    containers = [{"name": "c", "image": image}]
    patch = {"spec": {"template": {"spec": {"containers": containers}}}}
    await client.patch(DaemonSet, "agent", "shop", patch)


def test_one_pod_per_node_as_nodes_come_and_get_tainted(tmp_path: Path) -> None:
    """Every node has one pod; a new node gets one; a NoExecute taint takes it away, a cordon does not."""

    async def story(client: Client) -> None:
        made = await client.create(workloads.made(AGENT))

        async def on(*nodes: str) -> bool:
            return await spread(client) == list(nodes)

        await plane.until(lambda: on("node-0", "node-1", "node-2"))
        await plane.register_node(client, "node-3")
        await plane.until(lambda: on("node-0", "node-1", "node-2", "node-3"))
        await client.patch(Node, "node-0", "", {"spec": {"unschedulable": True}})
        taint = {"key": "gpu", "effect": "NoExecute", "value": "x"}
        await client.patch(Node, "node-1", "", {"spec": {"taints": [taint]}})
        await plane.until(lambda: on("node-0", "node-2", "node-3"))

        async def counted() -> bool:
            state = (await client.get(DaemonSet, "agent", "shop")).status
            return (
                state.desired_number_scheduled,
                state.current_number_scheduled,
                state.number_ready,
                state.number_available,
                state.updated_number_scheduled,
            ) == (3, 3, 3, 3, 3)

        await plane.until(counted, "the status")
        (pod, *_) = await plane.pods(client)
        keys = {(t.key, t.effect) for t in pod.spec.tolerations}
        assert ("node.kubernetes.io/unschedulable", "NoSchedule") in keys
        assert ("node.kubernetes.io/not-ready", "NoExecute") in keys
        said = await workloads.events(client, made)
        assert {component for component, _, _ in said} == {"daemonset-controller"}

    workloads.tell(tmp_path, story)


def test_rolling_update_takes_one_node_at_a_time_and_comes_back(tmp_path: Path) -> None:
    """Never more than one node without a pod; a template that comes back is its old revision with a new number."""

    async def story(client: Client) -> None:
        await client.create(workloads.made(AGENT))

        async def all_run(image: str) -> bool:
            found = await plane.pods(client)
            assert sum(p.status.phase == "Running" for p in found) >= 2 or image == "agent:1"
            state = (await client.get(DaemonSet, "agent", "shop")).status
            return len(await spread(client, image)) == 3 and state.updated_number_scheduled == 3

        await plane.until(lambda: all_run("agent:1"))
        await roll(client, "agent:2")
        await plane.until(lambda: all_run("agent:2"))
        found = (await client.list(ControllerRevision, "shop")).items
        assert sorted(r.revision for r in found) == [1, 2]
        for revision in found:
            data = orjson.dumps(revision.data)
            assert data == orjson.dumps(revision.data, option=orjson.OPT_SORT_KEYS)
            assert data.startswith(
                b'{"spec":{"template":{"$patch":"replace","metadata":{"creationTimestamp":null,'
            )
        await roll(client, "agent:1")
        await plane.until(lambda: all_run("agent:1"))
        found = (await client.list(ControllerRevision, "shop")).items
        assert sorted(r.revision for r in found) == [2, 3]

    workloads.tell(tmp_path, story)


@pytest.mark.parametrize(
    ("strategy", "least", "surging"),
    [
        ("maxUnavailable: 2", 1, False),
        ('maxUnavailable: "50%"', 1, False),
        ("maxSurge: 1, maxUnavailable: 0", 3, True),
    ],
)
def test_rolling_update_keeps_to_its_bounds(
    tmp_path: Path, strategy: str, least: int, surging: bool
) -> None:
    """As many nodes as allowed are without a pod at a time, or have two, and never one more."""
    reached: list[bool] = []

    def play(pod: Pod) -> str:
        new = pod.spec.containers[0].image == "agent:2"
        return "wait" if new and not reached else "run"

    async def story(client: Client) -> None:
        update = f"  updateStrategy: {{type: RollingUpdate, rollingUpdate: {{{strategy}}}}}"
        await client.create(workloads.made(AGENT + update))

        async def all_run(image: str) -> bool:
            alive = [p for p in await plane.pods(client) if not p.metadata.deletion_timestamp]
            if image == "agent:2":
                served = {p.spec.node_name for p in alive if p.status.phase == "Running"}
                places = [p.spec.node_name for p in alive if p.spec.node_name]
                doubled = len(places) - len(set(places))
                assert len(served) >= least
                assert doubled <= surging
                if len(served) == least and doubled == surging:
                    reached.append(True)
            state = (await client.get(DaemonSet, "agent", "shop")).status
            return await spread(client, image) == NODES and state.updated_number_scheduled == 3

        await plane.until(lambda: all_run("agent:1"))
        await roll(client, "agent:2")
        await plane.until(lambda: all_run("agent:2"))

    workloads.tell(tmp_path, story, play=play)


def test_failed_pod_is_replaced(tmp_path: Path) -> None:
    """A daemon pod that ended for good is deleted and made anew."""
    first: list[str] = []

    def play(pod: Pod) -> str:
        if not first and pod.spec.node_name == "node-0":
            first.append(pod.metadata.uid)
        return "fail" if pod.metadata.uid in first else "run"

    async def story(client: Client) -> None:
        await client.create(workloads.made(AGENT))

        async def whole() -> bool:
            return await spread(client) == ["node-0", "node-1", "node-2"]

        await plane.until(whole)
        assert first[0] not in {p.metadata.uid for p in await plane.pods(client)}

    workloads.tell(tmp_path, story, play=play)


def _node(name: str, **spec: object) -> Node:
    return Node(
        metadata=ObjectMeta(name=name, labels={"disk": "ssd"}),
        spec=NodeSpec(**spec),  # type: ignore[arg-type]
    )


def test_node_choice_and_taints_decide_where_it_runs() -> None:
    """nodeSelector excludes; NoSchedule keeps new pods out but lets old ones stay; NoExecute does neither."""
    wanted = workloads.made(AGENT)
    assert daemons.fit(wanted, _node("a")) == daemons.Fit(run=True, stay=True)
    closed = _node("a", taints=(Taint(key="x", effect="NoSchedule"),))
    assert daemons.fit(wanted, closed) == daemons.Fit(run=False, stay=True)
    barred = _node("a", taints=(Taint(key="x", effect="NoExecute"),))
    assert daemons.fit(wanted, barred) == daemons.Fit(run=False, stay=False)
    spec = dataclasses.replace(wanted.spec.template.spec, node_selector={"disk": "hdd"})
    template = dataclasses.replace(wanted.spec.template, spec=spec)
    picky = dataclasses.replace(wanted, spec=dataclasses.replace(wanted.spec, template=template))
    assert daemons.fit(picky, _node("a")) == daemons.Fit(run=False, stay=False)


def test_surge_makes_the_new_pod_before_the_old_one_goes() -> None:
    """With maxSurge 1 one node gets a second pod; the old one goes when the new one is available."""
    wanted = workloads.made(
        AGENT
        + "  updateStrategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}"
    )
    old = {n: [builders.pod(f"old-{n}", node=n, labels={})] for n in ("a", "b")}
    step = daemons.roll(wanted, ["a", "b"], old, "new", builders.NOW)
    assert (step.create, step.delete) == (("a",), ())
    labels = {"controller-revision-hash": "new"}
    both = {**old, "a": [*old["a"], builders.pod("new-a", node="a", labels=labels, ready=False)]}
    step = daemons.roll(wanted, ["a", "b"], both, "new", builders.NOW)
    assert (step.create, step.delete) == ((), ())
    both["a"][1] = builders.pod("new-a", node="a", labels=labels)
    step = daemons.roll(wanted, ["a", "b"], both, "new", builders.NOW)
    assert [p.metadata.name for p in step.delete] == ["old-a"]
    assert step.create == ("b",)

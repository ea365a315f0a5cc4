"""Node lifecycle controller: a silent node becomes Unknown, its pods not ready, and in the end they are evicted.

A heartbeat is any change of the node's Lease or of its Ready condition's heartbeat; how long it has been missing is
measured by this process's own clock, so a restart, or clocks that disagree, never condemn a healthy node.

Source: kubernetes pkg/controller/nodelifecycle, pkg/controller/tainteviction.
"""

import asyncio
import dataclasses
import logging
from dataclasses import dataclass

from netpod.api import codec, meta
from netpod.api.coordination import Lease
from netpod.api.meta import Condition, Key
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.controllers import controller, health, membership, pods
from netpod.controllers.controller import Context, Controller
from netpod.errors import Conflict, NotFound

log = logging.getLogger(__name__)

LEASES = "kube-node-lease"


@dataclass(frozen=True, slots=True, kw_only=True)
class Periods:
    """How patient the controller is; seconds.

    `eviction` is what the time between two nodes of a zone losing their pods is multiplied by.
    """

    monitor: float = 5.0
    grace: float = 50.0
    startup_grace: float = 60.0
    eviction: float = 1.0


@dataclass(slots=True, kw_only=True)
class _Pulse:
    """The last heartbeat seen of a node, and when it was seen on our clock."""

    beat: tuple[str, str, str]
    seen: float
    ready: str = ""


class NodeLifecycleController:
    """Watches over nodes and what their failure means for pods."""

    def __init__(self, context: Context, periods: Periods | None = None) -> None:
        self._context = context.named("node-controller")
        self._periods = periods or Periods()
        self._nodes = context.view(Node)
        self._pods = context.view(Pod)
        self._leases = context.view(Lease)
        self._pods.index("node", membership.by_node)
        self._pulses: dict[str, _Pulse] = {}
        self._next_eviction: dict[str, float] = {}
        self._loop: Controller[Key] = context.loop(
            "nodelifecycle", self.reconcile, after=[self._nodes, self._pods, self._leases]
        )
        self._nodes.subscribe(self._node_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run_with_tick(self._periods.monitor, self._look_at_all)

    def _look_at_all(self) -> None:
        zones: dict[str, tuple[int, int]] = {}
        for node in self._nodes.values():
            self._loop.enqueue(meta.key_of(node))
            zone = membership.zone_of(node)
            nodes, bad = zones.get(zone, (0, 0))
            zones[zone] = (nodes + 1, bad + (health.readiness(node) != "True"))
        self._context.counted.zones = zones

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is not None:
            self._loop.enqueue(meta.key_of(new))
        elif old is not None:
            name = old.metadata.name
            if self._pulses.pop(name, None) is not None:
                said = f"Node {name} event: Removing Node {name} from Controller"
                self._context.recorder.event(old, "Normal", "RemovingNode", said)

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        """A pod that arrives on a node in trouble is subject to its taints too."""
        if new is None or not new.spec.node_name or (old is not None and old.spec.node_name):
            return
        node = self._nodes.get(Key("", new.spec.node_name))
        if node is not None and any(t.effect == "NoExecute" for t in node.spec.taints):
            self._loop.enqueue(meta.key_of(node))

    async def reconcile(self, key: Key) -> None:
        """Judge one node, then carry out what that means."""
        node = self._nodes.get(key)
        if node is None or node.metadata.deletion_timestamp:
            return
        loop = asyncio.get_running_loop()
        moment = loop.time()
        pulse = self._listen(node, moment)
        reported = health.readiness(node)
        grace = self._periods.grace if reported else self._periods.startup_grace
        remaining = pulse.seen + grace - moment
        try:
            if remaining > 0:
                self._loop.enqueue_after(key, remaining)
            else:
                node = await self._declare_silent(node)
            self._context.counted.judged(loop.time() - moment)
            await self._mark_pods(node, pulse)
            node = await self._taint(node, moment)
            await self._evict(node)
        except NotFound:
            log.debug("node %s: something went away meanwhile", key.name)

    def _listen(self, node: Node, moment: float) -> _Pulse:
        """Note a new heartbeat."""
        name = node.metadata.name
        lease = self._leases.get(Key(LEASES, name))
        ready = meta.condition(node.status.conditions, "Ready")
        renewed = lease.spec.renew_time or "" if lease is not None else ""
        posted = ready.last_heartbeat_time if ready is not None else ""
        status = ready.status if ready is not None else ""
        beat = (renewed, posted, status)
        pulse = self._pulses.get(name)
        if pulse is None:
            pulse = self._pulses[name] = _Pulse(beat=beat, seen=moment)
            said = f"Node {name} event: Registered Node {name} in Controller"
            self._context.recorder.event(node, "Normal", "RegisteredNode", said)
            return pulse
        # What we wrote ourselves about a silent node is no sign of life; what replaces it is.
        if beat[:2] != pulse.beat[:2] or status not in ("Unknown", pulse.beat[2]):
            pulse.seen = moment
        pulse.beat = beat
        return pulse

    async def _declare_silent(self, node: Node) -> Node:
        status = health.silent(node.status, self._context.clock())
        if status == node.status:
            return node
        log.warning("node %s: kubelet stopped posting node status", node.metadata.name)
        return self._nodes.wrote(
            await self._context.client.update(
                dataclasses.replace(node, status=status), subresource="status"
            )
        )

    async def _mark_pods(self, node: Node, pulse: _Pulse) -> None:
        """When a node stops being ready its pods are not ready, long before they are evicted.

        A kubelet that still talks corrects its pods itself, so for Ready=False once is enough; a silent one
        cannot, so for Unknown it is looked at every time.
        """
        before, now = pulse.ready, health.readiness(node)
        if now == "Unknown" or (now == "False" and before == "True"):
            if before == "True":
                self._context.recorder.event(
                    node,
                    "Normal",
                    "NodeNotReady",
                    f"Node {node.metadata.name} status is now: NodeNotReady",
                )
            await controller.all_of(
                self._mark_not_ready(pod)
                for pod in self._pods.by("node", node.metadata.name)
                if pods.is_ready(pod)
            )
        pulse.ready = now

    async def _mark_not_ready(self, pod: Pod) -> None:
        known = meta.condition(pod.status.conditions, "Ready")
        new = dataclasses.replace(
            known or Condition(type="Ready"),
            status="False",
            last_transition_time=meta.timestamp(self._context.clock()),
        )
        await self._write_condition(pod, new)
        self._context.recorder.event(pod, "Warning", "NodeNotReady", "Node is not ready")

    async def _write_condition(self, pod: Pod, new: Condition) -> None:
        conditions = pods.set_condition(pod.status.conditions, new)
        status = dataclasses.replace(pod.status, conditions=conditions)
        try:
            self._pods.wrote(
                await self._context.client.update(
                    dataclasses.replace(pod, status=status), subresource="status"
                )
            )
        except NotFound:
            log.debug("pod %s is gone already", pod.metadata.name)

    async def _taint(self, node: Node, moment: float) -> Node:
        """Keep the taints in step with the conditions, the evicting ones no faster than the zone allows."""
        evict = health.needs_eviction_taint(node) and self._may_evict(node, moment)
        if evict:
            self._context.counted.evicting(membership.zone_of(node))
        wanted = health.taints(node, evict, self._context.clock())
        if wanted == node.spec.taints:
            return node
        identity = {
            "uid": node.metadata.uid,
            "resourceVersion": node.metadata.resource_version,
        }
        patch = {
            "metadata": identity,
            "spec": {"taints": [codec.encode(taint) for taint in wanted] or None},
        }
        return self._nodes.wrote(
            await self._context.client.patch(Node, node.metadata.name, "", patch)
        )

    def _may_evict(self, node: Node, moment: float) -> bool:
        zone = membership.zone_of(node)
        everywhere = self._nodes.values()
        states = [health.readiness(n) for n in everywhere if membership.zone_of(n) == zone]
        down = not any(health.readiness(n) == "True" for n in everywhere)
        interval = health.eviction_interval(states, down)
        if interval is None or moment < self._next_eviction.get(zone, 0.0):
            return False
        self._next_eviction[zone] = moment + interval * self._periods.eviction
        return True

    async def _evict(self, node: Node) -> None:
        """Delete the pods whose time on a tainted node has run out; come back for the next."""
        now = self._context.clock()
        due: list[Pod] = []
        for pod in self._pods.by("node", node.metadata.name):
            end = health.eviction_time(pod, node.spec.taints, now)
            if end is None or pods.is_terminating(pod):
                continue
            if end <= now:
                due.append(pod)
            else:
                wait = (end - now).total_seconds()
                self._loop.enqueue_after(meta.key_of(node), wait)
        await controller.all_of(self._evict_pod(pod) for pod in due)

    async def _evict_pod(self, pod: Pod) -> None:
        about = pod.metadata
        self._context.recorder.event(
            pod,
            "Normal",
            "TaintManagerEviction",
            f"Marking for deletion Pod {about.namespace}/{about.name}",
        )
        target = Condition(
            type="DisruptionTarget",
            status="True",
            reason="DeletionByTaintManager",
            message="Taint manager: deleting due to NoExecute taint",
            last_transition_time=meta.timestamp(self._context.clock()),
        )
        await self._write_condition(pod, target)
        try:
            await self._context.client.delete(Pod, about.name, about.namespace, uid=about.uid)
            self._context.counted.evicted()
        except (NotFound, Conflict):
            log.debug("pod %s is gone already", about.name)

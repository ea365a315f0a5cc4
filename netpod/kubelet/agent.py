"""The node agent: registers the node, keeps it alive, and gives every pod bound to it a worker.

Runs in the node's root network namespace. Start reading here, then podworker.py.
"""

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import ip_network

from netpod.api.meta import Key, OwnerReference, key_of
from netpod.api.node import Node, internal_ip
from netpod.api.node import pod_cidrs as node_cidrs
from netpod.api.pod import Pod
from netpod.client.events import EventRecorder
from netpod.client.informer import Informer, Informers
from netpod.client.lease import Heartbeat
from netpod.client.rest import Client
from netpod.cni import backend, flannel, masquerade, network
from netpod.cni.flannel import Backend, Peer
from netpod.cni.network import NetworkConfig
from netpod.errors import ApiError, KernelError, NetpodError
from netpod.ip import Network, address_of, by_family, family_of
from netpod.kubelet import admission, status
from netpod.kubelet import node as nodes
from netpod.kubelet.config import KubeletConfig
from netpod.kubelet.env import Services
from netpod.kubelet.files import Changes
from netpod.kubelet.images import Entry, Images
from netpod.kubelet.podworker import Node as Shared
from netpod.kubelet.podworker import PodWorker
from netpod.kubelet.probe import Prober
from netpod.kubelet.probemetrics import ProbeMetrics
from netpod.kubelet.runtime import Runtime
from netpod.kubelet.sandbox import Sandboxes
from netpod.kubelet.server import KubeletServer
from netpod.kubelet.stats import Sampler

log = logging.getLogger(__name__)
LEASE_NAMESPACE = "kube-node-lease"
STATUS_SECONDS = 10.0
STARTUP_GRACE_SECONDS = 5.0
RETRY_SECONDS = 0.2
ORPHAN_RETRY_SECONDS = 1.0


async def run(client: Client, config: KubeletConfig) -> None:
    """Be this node's kubelet until cancelled.

    Containers run on when it ends; the next one adopts them.
    """
    agent = Agent(client, config)
    try:
        await agent.run()
    finally:
        await agent.close()


class Agent:
    """One node. Everything happens in the loop's thread but what enters namespaces, which has one of its own."""

    def __init__(self, client: Client, config: KubeletConfig) -> None:
        self._client = client
        self._config = config
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="kernel")
        self._runtime = Runtime(config.shim_socket, self._runtime_changed)
        self._informers = Informers(client)
        self._events = EventRecorder(client, "kubelet", config.node)
        self._sandboxes = Sandboxes(config, self._runtime, self._worker)
        self._prober = Prober()
        self._probed = ProbeMetrics()
        self._sampler = Sampler(config, client, self._runtime)
        self._shared = Shared(
            config=config,
            client=client,
            runtime=self._runtime,
            sandboxes=self._sandboxes,
            prober=self._prober,
            probed=self._probed,
            events=self._events,
            services=Services(client),
            images=Images(config.images),
            changes=Changes(self._informers),
        )
        self._workers: dict[str, PodWorker] = {}
        self._nodes: Informer[Node] = self._informers.of(Node)
        self._pods: Informer[Pod] = self._informers.of(
            Pod, field_selector=f"spec.nodeName={config.node}"
        )
        self._route = asyncio.Event()
        self._status = asyncio.Event()
        self._reported: tuple[bool, list[Entry]] | None = None
        self._networked = asyncio.Event()
        self._tasks: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Register, then run everything."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            tasks.create_task(self._runtime.run(), name="runtime")
            tasks.create_task(self._events.run(), name="events")
            if self._config.tls is not None:
                server = KubeletServer(
                    self._config,
                    self._runtime,
                    self._pods.values,
                    self._sampler,
                    self._probed,
                    self._client,
                )
                tasks.create_task(server.run(self._config.tls), name="server")
            registered = await self._register()
            self._events.event(registered, "Normal", "Starting", "Starting kubelet.")
            owner = OwnerReference(
                api_version="v1", kind="Node", name=self._config.node, uid=registered.metadata.uid
            )
            heartbeat = Heartbeat(
                self._client,
                namespace=LEASE_NAMESPACE,
                name=self._config.node,
                holder=self._config.node,
                duration=self._config.lease_seconds,
                owners=(owner,),
            )
            tasks.create_task(self._informers.run(), name="informers")
            tasks.create_task(heartbeat.run(self._config.lease_seconds * 0.25), name="heartbeat")
            tasks.create_task(self._report_node(), name="node status")
            tasks.create_task(self._sampler.run(), name="stats")
            await self._make_network()
            self._networked.set()
            self._status.set()
            self._nodes.subscribe(self._node_changed)
            tasks.create_task(self._route_nodes(), name="routes")
            await self._pods.wait_synced()
            await self._runtime.connected.wait()
            pods = self._pods.values()
            await self._sandboxes.in_worker(lambda: self._sandboxes.keep_addresses(pods))
            self._pods.subscribe(self._pod_changed)
            self._remove_orphans()

    async def close(self) -> None:
        """Let go of sockets and the thread."""
        await self._prober.close()
        self._worker.shutdown(wait=False)

    async def _register(self) -> Node:
        while True:
            try:
                return await nodes.register(self._client, self._config)
            except ApiError as error:
                log.debug("cannot register node: %s", error)
                await asyncio.sleep(RETRY_SECONDS)

    async def _report_node(self) -> None:
        """Report at once when the node is ready, else after a grace: a restart is no reason to be NotReady."""
        try:
            async with asyncio.timeout(STARTUP_GRACE_SECONDS):
                await self._runtime.connected.wait()
                await self._networked.wait()
        except TimeoutError:
            log.warning("not ready within %g s of the start", STARTUP_GRACE_SECONDS)
        while True:
            self._status.clear()
            self._reported = ready, images = self._node_facts()
            pause = STATUS_SECONDS
            try:
                await nodes.report(
                    self._client, self._config, ready=ready, images=images, tell=self._tell
                )
            except ApiError as error:
                log.debug("cannot write node status: %s", error)
                pause = RETRY_SECONDS
            try:
                async with asyncio.timeout(pause):
                    await self._status.wait()
            except TimeoutError:
                continue

    def _node_facts(self) -> tuple[bool, list[Entry]]:
        """What the node's status says that changes: whether pods can run, and the images."""
        ready = self._sandboxes.networked and self._runtime.connected.is_set()
        return ready, self._shared.images.entries()

    async def _make_network(self) -> None:
        """Wait for this node's pod CIDR and make the pod network."""
        pod_cidrs = await self._pod_cidrs()
        config = NetworkConfig(
            pod_cidrs=pod_cidrs,
            state=self._config.paths.node(self._config.node),
            mtu=flannel.mtu(self._config.backend, self._config.families),
        )
        while True:
            try:
                await self._sandboxes.in_worker(lambda: network.prepare(config))
                await self._sandboxes.in_worker(lambda: self._prepare_backend(pod_cidrs))
                await self._sandboxes.in_worker(lambda: self._masquerade(pod_cidrs))
                break
            except KernelError as error:
                if not error.retryable:
                    raise
                log.warning("cannot prepare pod network: %s", error)
                await asyncio.sleep(1.0)
        self._sandboxes.use(config)

    def _masquerade(self, pod_cidrs: tuple[Network, ...]) -> None:
        everything = by_family(self._config.pod_cidrs)
        for pod_cidr in pod_cidrs:
            masquerade.apply(
                "",
                pod_cidr,
                everything[family_of(pod_cidr)],
                legacy=self._config.iptables_legacy,
            )

    def _prepare_backend(self, pod_cidrs: tuple[Network, ...]) -> None:
        backend.prepare(self._config.backend, "", self._config.node_ips, pod_cidrs)

    def _sync_peers(self, peers: Sequence[Peer]) -> None:
        backend.sync(self._config.backend, "", peers, families=self._config.families)

    async def _pod_cidrs(self) -> tuple[Network, ...]:
        """Wait for this node's pod CIDRs; those of a family that the cluster has not are of no use."""
        found: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()

        def look(old: Node | None, new: Node | None) -> None:
            mine = new is not None and new.metadata.name == self._config.node
            if mine and new is not None and new.spec.pod_cidr and not found.done():
                found.set_result(node_cidrs(new))

        self._nodes.subscribe(look)
        families = self._config.families
        return tuple(it for it in map(ip_network, await found) if family_of(it) in families)

    def _tell(self, node: Node, reason: str) -> None:
        """Say that the node's status changed."""
        message = f"Node {node.metadata.name} status is now: {reason}"
        self._events.event(node, "Normal", reason, message)

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        self._route.set()
        mine = new is not None and new.metadata.name == self._config.node
        if mine and new is not None and old is not None:
            if new.status.capacity != new.status.allocatable:
                self._status.set()
            if old.spec.unschedulable != new.spec.unschedulable:
                closed = new.spec.unschedulable
                self._tell(new, "NodeNotSchedulable" if closed else "NodeSchedulable")

    async def _route_nodes(self) -> None:
        """Keep the ways to the other nodes' pods."""
        while True:
            await self._route.wait()
            self._route.clear()
            peers = [
                peer
                for other in self._nodes.values()
                if other.metadata.name != self._config.node
                for peer in self._peers(other)
            ]
            try:
                await self._sandboxes.in_worker(
                    lambda peers=peers: self._sync_peers(peers)  # type: ignore[misc]
                )
            except KernelError as error:
                log.warning("cannot route to the other nodes: %s", error)
                self._route.set()
                await asyncio.sleep(1.0)

    def _peers(self, other: Node) -> list[Peer]:
        """What is known of another node: by its addresses, or for the overlay by what it says of its end."""
        if self._config.backend is Backend.VXLAN:
            return list(flannel.peers(other.metadata.annotations, node_cidrs(other)))
        return [
            Peer(pod_cidr=pod_cidr, node_ip=address)
            for pod_cidr in map(ip_network, node_cidrs(other))
            if (node_ip := internal_ip(other, family_of(pod_cidr)))
            and (address := address_of(node_ip, family_of(pod_cidr)))
        ]

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            worker = self._workers.get(old.metadata.uid)
            if worker is not None:
                worker.remove()
        if new is None:
            return
        worker = self._workers.get(new.metadata.uid)
        if worker is not None:
            worker.update(new)
        elif self._tasks is not None:
            others = (
                it.pod
                for it in self._workers.values()
                if not it.refused[0] and it.pod.status.phase not in status.FINISHED
            )
            worker = PodWorker(self._shared, new, admission.refusal(new, others))
            self._workers[new.metadata.uid] = worker
            self._tasks.create_task(self._work(worker), name=f"pod {key_of(new)}")

    async def _work(self, worker: PodWorker) -> None:
        uid = worker.pod.metadata.uid
        try:
            await worker.run()
        finally:
            self._workers.pop(uid, None)
            self._probed.forget(worker.pod)

    def _runtime_changed(self, uid: str) -> None:
        for worker in [self._workers.get(uid)] if uid else self._workers.values():
            if worker is not None:
                worker.poke()
        if self._node_facts() != self._reported:
            self._status.set()

    def _remove_orphans(self) -> None:
        """End what runs for pods that the API server has no more."""
        assert self._tasks is not None, "the agent runs"
        known = {pod.metadata.uid for pod in self._pods.values()}
        for sandbox in list(self._runtime.sandboxes.values()):
            if sandbox.config.uid not in known:
                name = f"orphan {sandbox.config.namespace}/{sandbox.config.name}"
                self._tasks.create_task(self._remove_orphan(sandbox.config.id), name=name)

    async def _remove_orphan(self, name: str) -> None:
        while (sandbox := self._runtime.sandboxes.get(name)) is not None:
            try:
                await self._sandboxes.delete(sandbox)
                config = sandbox.config
                self._sandboxes.forget(Key(config.namespace, config.name), config.uid)
            except NetpodError as error:
                log.info("cannot remove orphan %s: %s", sandbox.config.name, error)
                await asyncio.sleep(ORPHAN_RETRY_SECONDS)

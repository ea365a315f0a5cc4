"""The cloud's two loops: addresses for Services, and the edge's table kept equal to what Services and Nodes say.

The table is compiled from everything known whenever something came, and loaded only when its text differs;
connections that are already there keep their backend, for conntrack remembers it.
"""

import asyncio
import contextlib
import dataclasses
import logging
from dataclasses import dataclass
from ipaddress import IPv4Network

from netpod.api.node import Node
from netpod.api.service import Service
from netpod.client.events import EventRecorder
from netpod.client.informer import Informer, Informers
from netpod.client.rest import Client
from netpod.cloud import edge, edge_legacy, health
from netpod.cloud.edge import EdgeModel, Frontend
from netpod.cloud.loadbalancer import LoadBalancerController
from netpod.errors import KernelError
from netpod.ip import Address, Network, family_of
from netpod.linux import nft

log = logging.getLogger(__name__)

DEFAULT_VIP_CIDR = IPv4Network("198.51.100.0/24")
CHECK_SECONDS = 1.0
"""Between two questions to a node's healthCheckNodePort."""
RETRY_SECONDS = 1.0
"""Before the table is handed over again after the kernel refused it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudConfig:
    """What the cloud is told at start.

    Attributes:
        vip_cidrs: Networks of the load balancers' addresses, one of each family; the first and last address of each
            are not used.
        edge_netns: Network namespace of the edge router; "" is this process's own.
        legacy: Write the edge's rules with legacy iptables instead of an nftables table.
    """

    vip_cidrs: tuple[Network, ...] = (DEFAULT_VIP_CIDR,)
    edge_netns: str = ""
    legacy: bool = False


async def run(client: Client, config: CloudConfig) -> None:
    """Give Services of type LoadBalancer addresses and answer those at the edge, until cancelled.

    Raises:
        Unsupported: nft is not installed.
    """
    informers = Informers(client)
    services = informers.of(Service)
    nodes = informers.of(Node)
    events = EventRecorder(client, "service-controller")
    controller = LoadBalancerController(client, services, events, config.vip_cidrs)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(informers.run(), name="cloud informers")
        tasks.create_task(events.run(), name="cloud events")
        tasks.create_task(controller.run(), name="cloud loadbalancer")
        for network in config.vip_cidrs:
            own = Edge(config, services, nodes, network)
            tasks.create_task(own.run(), name=f"cloud edge {network}")


class Edge:
    """Keeps the edge's table of one address family up to date."""

    def __init__(
        self,
        config: CloudConfig,
        services: Informer[Service],
        nodes: Informer[Node],
        vip_cidr: Network = DEFAULT_VIP_CIDR,
    ) -> None:
        self._config = config
        self._vip_cidr = vip_cidr
        self._family = family_of(vip_cidr)
        self._services = services
        self._nodes = nodes
        self._wake = asyncio.Event()
        self._ask = asyncio.Event()
        self._applied = ""
        self._checked: dict[int, frozenset[Address]] = {}

    async def run(self) -> None:
        """Follow Services and Nodes until cancelled; nothing is written before both were listed."""
        await self._services.wait_synced()
        await self._nodes.wait_synced()
        self._services.subscribe(self._service_changed)
        self._nodes.subscribe(lambda _old, _new: self._wake.set())
        self._wake.set()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow(), name="cloud edge table")
            tasks.create_task(self._check_nodes(), name="cloud edge health")

    def observe(self) -> EdgeModel:
        """What the edge should balance now."""
        nodes = edge.eligible_nodes(self._nodes.values(), self._family)
        found = [
            self._healthy(frontend)
            for service in self._services.values()
            for frontend in edge.frontends(service, nodes)
        ]
        return EdgeModel(vip_cidr=self._vip_cidr, frontends=tuple(found))

    async def _follow(self) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(0)
            self._wake.clear()
            model = self.observe()
            asked = {f.health_check_node_port for f in model.frontends} - {0}
            if asked != self._checked.keys():
                self._ask.set()
            legacy = self._config.legacy
            text = edge_legacy.compile(model) if legacy else edge.compile(model)
            if text == self._applied:
                continue
            try:
                if legacy:
                    await asyncio.to_thread(edge_legacy.apply, self._config.edge_netns, model)
                else:
                    await asyncio.to_thread(nft.apply, self._config.edge_netns, text)
                self._applied = text
            except KernelError as error:
                if not error.retryable:
                    raise
                log.error("cannot load the edge's table: %s", error)
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)

    def _service_changed(self, old: Service | None, new: Service | None) -> None:
        if any(one is not None and one.spec.type == "LoadBalancer" for one in (old, new)):
            self._wake.set()

    def _healthy(self, frontend: Frontend) -> Frontend:
        if not frontend.health_check_node_port:
            return frontend
        passed = self._checked.get(frontend.health_check_node_port, frozenset())
        backends = tuple(node for node in frontend.backends if node in passed)
        return dataclasses.replace(frontend, backends=backends)

    async def _check_nodes(self) -> None:
        while True:
            ports = {
                service.spec.health_check_node_port
                for service in self._services.values()
                if service.spec.health_check_node_port and edge.frontends(service, ())
            }
            nodes = edge.eligible_nodes(self._nodes.values(), self._family)
            checked = {port: await self._check(port, nodes) for port in sorted(ports)}
            if checked != self._checked:
                self._checked = checked
                self._wake.set()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CHECK_SECONDS):
                    await self._ask.wait()
            self._ask.clear()

    async def _check(self, port: int, nodes: tuple[Address, ...]) -> frozenset[Address]:
        answers = await asyncio.gather(
            *(health.check(self._config.edge_netns, node, port) for node in nodes)
        )
        return frozenset(node for node, ok in zip(nodes, answers, strict=True) if ok)

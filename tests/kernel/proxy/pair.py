"""Two nodes with pods and a machine outside: real namespaces, sockets and packets, one proxy on each node.

outside br0 172.18.0.1 --- eth0 172.18.0.3 [worker]  cni0 10.244.1.1 --- .5 [a], .6 [b], .9 [near]
                       --- eth0 172.18.0.4 [worker2] cni0 10.244.2.1 --- .7 [c], .9 [far]
"""

import asyncio
import contextlib
import dataclasses
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import Any

from netpod.api.discovery import EndpointSlice
from netpod.api.service import Service
from netpod.ip import Family
from netpod.linux import netns, sysctl
from netpod.proxy import conntrack, modes
from netpod.proxy.changes import ChangeTracker
from netpod.proxy.config import ProxyConfig
from netpod.proxy.proxier import Proxier
from tests.kernel.proxy import lab
from tests.unit.proxy import builders, families

OUTSIDE, WORKER, WORKER2 = "npt-outside", "npt-worker", "npt-worker2"
A, B, C, NEAR, FAR = "npt-a", "npt-b", "npt-c", "npt-near", "npt-far"
NODES = {WORKER: "172.18.0.3", WORKER2: "172.18.0.4"}
OUTSIDE_IP = "172.18.0.1"
PODS = {
    A: "10.244.1.5",
    B: "10.244.1.6",
    C: "10.244.2.7",
    NEAR: "10.244.1.9",
    FAR: "10.244.2.9",
}
"""Address of each pod; a, b and c serve, near and far are clients."""
NODE_OF = {A: WORKER, B: WORKER, NEAR: WORKER, C: WORKER2, FAR: WORKER2}
NODE_NAMES = {WORKER: "worker", WORKER2: "worker2"}
BRIDGES = {WORKER: "10.244.1.1", WORKER2: "10.244.2.1"}
VIP_NETWORKS = ("10.96.0.0/16", "203.0.113.0/24")
ROUTER = {
    Family.IPV4: {"net.ipv4.ip_forward": 1, "net.ipv4.icmp_ratelimit": 0},
    Family.IPV6: {"net.ipv6.conf.all.forwarding": 1, "net.ipv6.icmp.ratelimit": 0},
}
ANSWERS_IN = 5.0
"""Seconds in which whoever answers at all has answered."""
SILENT = 0.15
"""Seconds after which nobody answers any more."""


def build() -> None:
    """Make the namespaces and the wires."""
    for name in (OUTSIDE, *NODES, *PODS):
        netns.create(name)
        if families.family() is Family.IPV6:
            sysctl.write_all(name, sysctl.IPV6)
    lab.ip(
        OUTSIDE,
        "link set lo up",
        "link add br0 type bridge",
        f"address add {OUTSIDE_IP}/16 dev br0",
        "link set br0 up",
    )
    for number, (node, address) in enumerate(NODES.items()):
        lab.ip(
            node,
            "link set lo up",
            "link add cni0 type bridge",
            f"address add {BRIDGES[node]}/24 dev cni0",
            "link set cni0 up",
            f"link add eth0 type veth peer name node{number} netns {OUTSIDE}",
            f"address add {address}/16 dev eth0",
            "link set eth0 up",
            f"route add default via {OUTSIDE_IP}",
        )
        # Else the second refusal within a second is not told, and a client waits for its retransmission.
        sysctl.write_all(node, ROUTER[families.family()])
        lab.ip(OUTSIDE, f"link set node{number} master br0", f"link set node{number} up")
    lab.ip(WORKER, f"route add 10.244.2.0/24 via {NODES[WORKER2]}")
    lab.ip(WORKER2, f"route add 10.244.1.0/24 via {NODES[WORKER]}")
    # To the outside every address of a Service is behind the first node.
    for network in (*VIP_NETWORKS, "10.244.1.0/24"):
        lab.ip(OUTSIDE, f"route add {network} via {NODES[WORKER]}")
    lab.ip(OUTSIDE, f"route add 10.244.2.0/24 via {NODES[WORKER2]}")
    for number, (pod, address) in enumerate(PODS.items()):
        node = NODE_OF[pod]
        lab.ip(
            node,
            f"link add veth{number} type veth peer name eth0 netns {pod}",
            f"link set veth{number} master cni0",
            f"link set veth{number} type bridge_slave hairpin on",
            f"link set veth{number} up",
        )
        lab.ip(
            pod,
            "link set lo up",
            "link set eth0 up",
            f"address add {address}/24 dev eth0",
            f"route add default via {BRIDGES[node]}",
        )


def destroy() -> None:
    """Delete the namespaces."""
    for name in (OUTSIDE, *NODES, *PODS):
        netns.delete_netns(name)


@dataclass
class Pair:
    """Both nodes' proxies; objects are put and deleted, `sync` does what the proxies' loops do after it."""

    settings: dict[str, Any]
    objects: dict[tuple[str, str], Service | EndpointSlice] = field(default_factory=dict)
    proxies: list["_Proxy"] = field(default_factory=list)

    def start(self, **more: Any) -> None:
        """New proxies with further settings, which adopt what is in the kernel."""
        self.proxies = [_Proxy(node, {**self.settings, **more}) for node in NODES]
        for one in self.objects.values():
            for proxy in self.proxies:
                proxy.changed(None, one)
        self.sync()

    def put(self, *objects: Service | EndpointSlice) -> None:
        """Create or replace, and sync."""
        for one in map(families.told_object, objects):
            key = (type(one).__name__, one.metadata.name)
            old = self.objects.get(key)
            self.objects[key] = one
            for proxy in self.proxies:
                proxy.changed(old, one)
        self.sync()

    def delete(self, *objects: Service | EndpointSlice) -> None:
        """Delete, and sync."""
        for one in objects:
            old = self.objects.pop((type(one).__name__, one.metadata.name))
            for proxy in self.proxies:
                proxy.changed(old, None)
        self.sync()

    def clear(self) -> None:
        """Delete everything."""
        self.delete(*self.objects.values())

    def sync(self) -> None:
        """Bring both kernels up to date."""

        async def both() -> None:
            for proxy in self.proxies:
                await proxy.sync()

        asyncio.run(both())


class _Proxy:
    """What one node's loop does, called by hand."""

    def __init__(self, node: str, settings: dict[str, Any]) -> None:
        config: ProxyConfig = dataclasses.replace(
            builders.CONFIG,
            node_name=NODE_NAMES[node],
            node_ip=IPv4Address(NODES[node]),
            **{**settings, "netns": node},
        )
        config = families.told_config(config)
        self._tracker = ChangeTracker(config.node_name, config.family)
        self._proxier: Proxier = modes.make(config.mode, config)
        self._conntrack = conntrack.Reconciler(config)
        self._full = True
        self._zone = {"worker": "west", "worker2": "east"}[config.node_name]

    def changed(
        self, old: Service | EndpointSlice | None, new: Service | EndpointSlice | None
    ) -> None:
        if isinstance(new or old, Service):
            self._tracker.service_changed(old, new)  # type: ignore[arg-type]
        else:
            self._tracker.slice_changed(old, new)  # type: ignore[arg-type]

    async def sync(self) -> None:
        changed = self._tracker.take()
        model = self._tracker.model
        if self._full:
            await self._proxier.full_sync(model, zone=self._zone)
        else:
            await self._proxier.sync(model, changed, zone=self._zone)
        self._full = False
        if any(name.protocol == "UDP" for name in changed):
            self._conntrack.reconcile(conntrack.frontends(model))


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """Every serving pod answers on TCP 8080 and 9090 and on UDP 5353."""
    build()
    try:
        with contextlib.ExitStack() as stack:
            for pod in (A, B, C):
                for number in (8080, 9090):
                    stack.enter_context(lab.tcp_server(pod, number))
                stack.enter_context(lab.udp_server(pod, 5353))
            yield
    finally:
        destroy()


def fate(client: str, address: str, port: int = 80, *, silent: bool = False) -> tuple[str, str]:
    """What becomes of one TCP connection: (pod that answered, source it saw), ("refused", "") or ("dropped", "").

    Args:
        client: Namespace it comes from.
        address: Where to.
        port: Which port there.
        silent: Whether no answer is expected, so that nobody waits for one for long.
    """
    try:
        return lab.ask(client, address, port, timeout=SILENT if silent else ANSWERS_IN)
    except ConnectionRefusedError:
        return "refused", ""
    except TimeoutError:
        return "dropped", ""


def who(client: str, address: str, port: int = 80, *, times: int = 24) -> set[str]:
    """The pods that answered so many connections."""
    return {fate(client, address, port)[0] for _ in range(times)}


def say(client: socket.socket, address: str, port: int) -> str:
    """Which pod answers a datagram from this very socket; "" for nobody."""
    client.settimeout(SILENT)
    for _ in range(3):
        client.sendto(b"?", (families.told(address), port))
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            return client.recv(100).decode()
    return ""

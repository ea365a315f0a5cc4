"""Flows that conntrack keeps sending where no Service leads any more; UDP only.

A UDP flow has no end: as long as packets come, conntrack repeats the decision it made for the first one, be it an
endpoint that is gone or, for a client that spoke before the Service existed, no endpoint at all. TCP ends by itself
and is left alone.

Source: kubernetes pkg/proxy/conntrack/cleanup.go, with addresses and ports instead of addresses alone, and with
services that lost their last endpoint or were deleted.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

from netpod.ip import Address
from netpod.linux import conntrack
from netpod.linux.conntrack import Flow
from netpod.proxy.config import ProxyConfig
from netpod.proxy.model import Model

log = logging.getLogger(__name__)

Place = tuple[Address, int]
"""An address and a port."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontends:
    """Where UDP service ports are reached, and which endpoints may answer there."""

    addresses: Mapping[Place, frozenset[Place]] = field(default_factory=dict)
    node_ports: Mapping[int, frozenset[Place]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.addresses or self.node_ports)


def frontends(model: Model) -> Frontends:
    """Every UDP frontend of a model."""
    addresses: dict[Place, frozenset[Place]] = {}
    node_ports: dict[int, frozenset[Place]] = {}
    for name, port in model.services.items():
        if name.protocol != "UDP":
            continue
        serving = frozenset((e.ip, e.port) for e in model.endpoints[name] if e.serving)
        for ip in (port.cluster_ip, *port.external_ips, *port.load_balancer_vips):
            addresses[ip, port.port] = serving
        if port.node_port:
            node_ports[port.node_port] = serving
    return Frontends(addresses=addresses, node_ports=node_ports)


def is_stale(flow: Flow, now: Frontends, before: Frontends, node_ip: Address) -> bool:
    """Whether a UDP flow to a frontend, or to one that was there before, is answered by what does not serve it."""
    to = (flow.original.destination, flow.original.destination_port)
    answers = (flow.reply.source, flow.reply.source_port)
    local = to[0] == node_ip or to[0].is_loopback
    if to in now.addresses:
        return answers not in now.addresses[to]
    if local and to[1] in now.node_ports:
        return answers not in now.node_ports[to[1]]
    gone = to in before.addresses or (local and to[1] in before.node_ports)
    return gone and answers != to


class Reconciler:
    """Deletes stale UDP flows of one node after each sync that may have made some."""

    def __init__(self, config: ProxyConfig) -> None:
        self._netns = config.netns
        self._node_ip = config.node_ip
        self._family = config.family
        self._before = Frontends()

    def reconcile(self, now: Frontends) -> int:
        """Delete what is stale; return how many flows that were. Blocks; not thread-safe."""
        before = self._before
        deleted = 0
        if now or before:
            deleted = conntrack.delete(
                self._netns,
                lambda flow: is_stale(flow, now, before, self._node_ip),
                protocol="udp",
                family=self._family,
            )
        self._before = now
        if deleted:
            log.info("deleted %d stale UDP flows", deleted)
        return deleted

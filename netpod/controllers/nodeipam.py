"""Node IPAM controller: every node gets its own part of the pod network, once.

Nodes are served in the order they registered, lowest free part first; a part is free again when its node is deleted.

Source: kubernetes pkg/controller/nodeipam/ipam/range_allocator.go, cidrset.
"""

import logging
from collections.abc import Iterable
from ipaddress import ip_network

from netpod.api import meta
from netpod.api.meta import Key
from netpod.api.node import Node, pod_cidrs
from netpod.controllers.controller import Context, Controller
from netpod.errors import Exhausted, NotFound
from netpod.ip import Network

log = logging.getLogger(__name__)


def next_cidr(pool: Network, prefix: int, used: Iterable[str]) -> Network | None:
    """Return the lowest part of `pool` of that prefix length that overlaps nothing used, None when all are taken.

    Args:
        pool: The cluster's pod network, e.g. 10.244.0.0/16.
        prefix: Length of a node's part, e.g. 24.
        used: podCIDRs of the other nodes, as text; they may have any length.
    """
    taken = [net for net in map(_network, used) if net is not None and net.version == pool.version]
    size = 1 << (pool.max_prefixlen - prefix)
    occupied: set[int] = set()
    for net in taken:
        first = (int(net.network_address) - int(pool.network_address)) // size
        last = (int(net.broadcast_address) - int(pool.network_address)) // size
        occupied.update(range(first, last + 1))
    count = 1 << (prefix - pool.prefixlen)
    number = next((n for n in range(count) if n not in occupied), None)
    if number is None:
        return None
    return ip_network(f"{pool[number * size]}/{prefix}")


def _network(text: str) -> Network | None:
    """Read a podCIDR; one that somebody wrote by hand and that is none takes nothing."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


class NodeIpamController:
    """Gives every node its podCIDR.

    Args:
        context: Of the process.
        pools: The cluster's pod networks, one per family, each with the prefix length of a node's part.
    """

    def __init__(self, context: Context, pools: Iterable[tuple[Network, int]]) -> None:
        self._context = context.named("cidrAllocator")
        self._pools = tuple(pools)
        self._nodes = context.view(Node)
        # One worker: two nodes are never given a part at the same time.
        self._loop: Controller[Key] = context.loop(
            "nodeipam", self.reconcile, after=[self._nodes], workers=1
        )
        self._nodes.subscribe(self._node_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _node_changed(self, old: Node | None, new: Node | None) -> None:
        if new is not None and not new.spec.pod_cidr:
            self._loop.enqueue(meta.key_of(new))

    async def reconcile(self, key: Key) -> None:
        """Give one node its part, if it has none.

        Raises:
            Exhausted: every part is taken; tried again, since a node may be deleted.
        """
        node = self._nodes.get(key)
        if node is None or node.spec.pod_cidr or node.metadata.deletion_timestamp:
            return
        used = [text for other in self._nodes.values() for text in pod_cidrs(other)]
        chosen = []
        for pool, prefix in self._pools:
            cidr = next_cidr(pool, prefix, used)
            if cidr is None:
                self._context.recorder.event(
                    node,
                    "Normal",
                    "CIDRNotAvailable",
                    f"Node {key.name} status is now: CIDRNotAvailable",
                )
                raise Exhausted(f"cannot allocate podCIDR for node {key.name}: {pool} is full")
            chosen.append(str(cidr))
        patch = {
            "metadata": {"uid": node.metadata.uid},
            "spec": {"podCIDR": chosen[0], "podCIDRs": chosen},
        }
        try:
            self._nodes.wrote(await self._context.client.patch(Node, key.name, "", patch))
        except NotFound:
            return
        log.info("node %s: podCIDR %s", key.name, ", ".join(chosen))

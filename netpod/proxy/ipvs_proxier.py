"""IPVS mode: virtual servers, kube-ipvs0, ipsets and helper rules.

New things come first and old ones go last, in an order in which every step leaves a node that serves: members of
sets, virtual servers, addresses, rules; then addresses, virtual servers, members that are not wanted any more. A full
sync reads all of it, so it goes on wherever an earlier process was killed.

Source: kubernetes pkg/proxy/ipvs/proxier.go, graceful_termination.go.
"""

import asyncio
import logging
import time
from collections.abc import Collection

from netpod.ip import Address
from netpod.linux import dummy, iptables, ipvs
from netpod.proxy import ipvs_kernel, owners, variants
from netpod.proxy.config import Mode, ProxyConfig, Variant
from netpod.proxy.ipvs import DUMMY
from netpod.proxy.ipvs_compiled import Compiled, Delta
from netpod.proxy.ipvs_port import Place, RealServer
from netpod.proxy.model import Model, ServicePortName
from netpod.proxy.names import Chain
from netpod.proxy.proxier import FEW

log = logging.getLogger(__name__)


class IpvsProxier:
    """IPVS mode.

    Raises from every method:
        KernelError: the kernel refused a step; those before it are done, so a full sync goes on from there.
        Unsupported: this kernel has no ip_vs, no dummy links, no sets, or not that scheduler; nothing was changed.
    """

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._compiled = Compiled(config)
        self._tried = False
        self._places: set[Place] = set()
        self._nodes: tuple[tuple[Address, ...], frozenset[Address]] = ((), frozenset())
        self._draining: set[tuple[Place, RealServer]] = set()
        self._look_at = 0.0

    async def full_sync(self, model: Model, *, zone: str = "") -> bool:
        """See Proxier.full_sync."""
        return await asyncio.to_thread(self._full_sync, model, zone)

    async def sync(
        self, model: Model, changed: Collection[ServicePortName], *, zone: str = ""
    ) -> bool:
        """See Proxier.sync."""
        if len(changed) <= FEW:
            delta = self._difference(model, changed, zone)
        else:  # so many would keep the rest of this process waiting
            delta = await asyncio.to_thread(self._difference, model, changed, zone)
        if delta:
            await asyncio.to_thread(self._hand_over, delta)
        self._compiled.applied()
        return bool(delta)

    async def intact(self) -> bool:
        """See Proxier.intact: link, chain and virtual servers are there, and the node's addresses are the same."""
        return await asyncio.to_thread(self._intact)

    async def tidy(self) -> float:
        """See Proxier.tidy: delete real servers whose last connection has ended."""
        if not self._draining:
            return 0.0
        now = time.monotonic()
        if now >= self._look_at:
            left = await asyncio.to_thread(
                ipvs_kernel.drain, self._config.netns, frozenset(self._draining)
            )
            self._draining = left
            self._look_at = now + self._config.ipvs.drain_period
        return max(0.01, self._look_at - now) if self._draining else 0.0

    async def remove(self, *, but: Mode | None = None) -> bool:
        """See Proxier.remove; False while connections hold virtual servers, which take no new ones."""
        return await asyncio.to_thread(self._remove, but)

    def _difference(self, model: Model, changed: Collection[ServicePortName], zone: str) -> Delta:
        self._compiled.update(changed, model, zone=zone)
        return self._compiled.pending()

    def _full_sync(self, model: Model, zone: str) -> bool:
        config = self._config
        if not self._tried:
            ipvs_kernel.require(config.netns, config.ipvs.scheduler)
            variants.prepare(config.iptables_variant)
            self._tried = True
        ipvs_kernel.prepare(config)
        self._nodes = ipvs_kernel.node_addresses(config)
        ports, own = self._nodes
        self._compiled.rebuild(model, zone=zone, nodes=ports, own=own)
        observed = ipvs_kernel.observe(config)
        saved = variants.observe(config.iptables_variant, config.netns, family=config.family)
        delta = self._compiled.against(observed, saved)
        self._places = {server.place for server in observed.servers}
        self._draining.clear()
        if delta:
            self._hand_over(delta)
        self._compiled.applied()
        return bool(delta)

    def _hand_over(self, delta: Delta) -> None:
        config = self._config
        netns = config.netns
        ipvs_kernel.change_sets(config, add=delta.add_members)
        if delta.servers:
            waiting = ipvs_kernel.serve(netns, delta.servers)
            touched = {server.place for server, _ in delta.servers}
            self._places |= touched
            self._wait_for(
                waiting | {(place, it) for place, it in self._draining if place not in touched}
            )
        if delta.bind:
            dummy.change(netns, DUMMY, add=delta.bind)
        if delta.rules:
            variants.hand_over(config.iptables_variant, netns, delta.rules, family=config.family)
        if delta.unbind:
            dummy.change(netns, DUMMY, remove=delta.unbind)
        if delta.gone:
            ipvs_kernel.delete(netns, delta.gone)
            self._places -= delta.gone
        ipvs_kernel.change_sets(config, remove=delta.remove_members)

    def _wait_for(self, draining: set[tuple[Place, RealServer]]) -> None:
        if draining and not self._draining:
            self._look_at = time.monotonic() + self._config.ipvs.drain_period
        self._draining = draining

    def _intact(self) -> bool:
        config = self._config
        if not ipvs_kernel.is_there(config.netns) or not ipvs.present(config.netns):
            return False
        if ipvs_kernel.node_addresses(config) != self._nodes or not self._has_chain():
            return False
        with ipvs.Ipvs(config.netns) as kernel:
            return self._places <= {service.place for service in kernel.services()}

    def _has_chain(self) -> bool:
        config = self._config
        if config.iptables_variant is Variant.NFT:
            return iptables.has_chain(config.netns, "nat", Chain.SERVICES, family=config.family)
        observed = variants.observe(
            config.iptables_variant, config.netns, "nat", family=config.family
        )
        return Chain.SERVICES in observed.get("nat", {})

    def _remove(self, but: Mode | None) -> bool:
        config = self._config
        if not ipvs_kernel.is_there(config.netns):
            return True
        observed = variants.observe(config.iptables_variant, config.netns, family=config.family)
        doomed, jumps = owners.taken_away(observed, Mode.IPVS, but=but)
        variants.remove(config.iptables_variant, config.netns, doomed, jumps, family=config.family)
        return ipvs_kernel.leave(config)

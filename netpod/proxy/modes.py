"""How a node's proxy goes from one mode to another."""

import asyncio
import logging
import time
from dataclasses import replace

from netpod.errors import KernelError, Unsupported
from netpod.ip import Family
from netpod.linux import sysctl
from netpod.proxy.config import Mode, ProxyConfig
from netpod.proxy.iptables import localhost_node_ports
from netpod.proxy.ipvs_config import IpvsConfig
from netpod.proxy.ipvs_proxier import IpvsProxier
from netpod.proxy.model import Model
from netpod.proxy.nftables_proxier import NftablesProxier
from netpod.proxy.proxier import IptablesProxier, Proxier

log = logging.getLogger(__name__)

_LEAVE_PERIOD = 1.0
"""Seconds between looks at what waits for connections to end, in a mode that was left."""
_ROUTE_LOCALNET = "net.ipv4.conf.all.route_localnet"


def make(mode: Mode, config: ProxyConfig) -> Proxier:
    """A proxier that knows nothing yet."""
    if mode is Mode.IPVS:
        return IpvsProxier(config)
    return NftablesProxier(config) if mode is Mode.NFTABLES else IptablesProxier(config)


class Switch:
    """The proxier of the mode of now; on a change the new rules are in place before the old ones go.

    A connection keeps its way: conntrack decided it with its first packet, in whatever mode that was. One that goes
    through a virtual server of IPVS keeps that until it has ended.
    """

    def __init__(self, config: ProxyConfig, proxier: Proxier | None = None) -> None:
        self._config = config
        self._mode = config.mode
        self._clean = False
        self._leaving: set[Mode] = set()
        self._look_at = 0.0
        self.proxier = proxier or make(config.mode, config)

    @property
    def mode(self) -> Mode:
        """The mode of `proxier`."""
        return self._mode

    @property
    def ipvs(self) -> IpvsConfig:
        """The settings of IPVS mode of now."""
        return self._config.ipvs

    async def full_sync(
        self, mode: Mode, model: Model, *, zone: str = "", ipvs: IpvsConfig | None = None
    ) -> bool:
        """Read the kernel, correct it, and take away what other modes, or an earlier process, left there.

        Args:
            mode: The mode to be in afterwards.
            model: Services and endpoints.
            zone: The node's zone.
            ipvs: Settings of IPVS mode; None: those of now.
        """
        config = self._config
        if ipvs is not None and ipvs != config.ipvs:
            config = replace(config, ipvs=ipvs)
        if mode != self._mode or (mode is Mode.IPVS and config != self._config):
            if mode != self._mode:
                log.info("switching from %s to %s", self._mode, mode)
            fresh = make(mode, config)
            await asyncio.to_thread(self._prepare, mode)
            done = await fresh.full_sync(model, zone=zone)
            self.proxier, self._mode, self._clean = fresh, mode, False
        else:
            if not self._clean:
                await asyncio.to_thread(self._prepare, mode)
            done = await self.proxier.full_sync(model, zone=zone)
        self._config = config
        if not self._clean:
            self._leaving = set(Mode) - {mode}
            await self._leave()
            self._clean = True
        return done

    async def tidy(self) -> float:
        """See Proxier.tidy; also goes on leaving a mode that connections hold."""
        wait = await self.proxier.tidy()
        if not self._leaving:
            return wait
        if time.monotonic() >= self._look_at:
            await self._leave()
        rest = max(0.01, self._look_at - time.monotonic())
        return min(wait, rest) if wait and self._leaving else (rest if self._leaving else wait)

    async def _leave(self) -> None:
        self._leaving = {mode for mode in sorted(self._leaving) if not await self._remove(mode)}
        self._look_at = time.monotonic() + _LEAVE_PERIOD

    async def _remove(self, mode: Mode) -> bool:
        try:
            done = await make(mode, self._config).remove(but=self._mode)
            if mode is Mode.IPTABLES and self._config.family is Family.IPV4:
                await asyncio.to_thread(sysctl.write, self._config.netns, _ROUTE_LOCALNET, 0)
        except Unsupported:
            return True  # a program that is not there left nothing
        except KernelError as error:
            log.error("cannot remove the rules of %s mode: %s", mode, error)
            raise
        return done

    def _prepare(self, mode: Mode) -> None:
        if mode is Mode.IPTABLES and localhost_node_ports(self._config):
            # Else a packet from 127.0.0.1 to a node port is dropped as a martian once it was DNATed.
            sysctl.write(self._config.netns, _ROUTE_LOCALNET, 1)

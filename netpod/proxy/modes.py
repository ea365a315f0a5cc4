"""How a node's proxy goes from one mode to another."""

import asyncio
import logging

from netpod.errors import KernelError, Unsupported
from netpod.ip import Family
from netpod.linux import sysctl
from netpod.proxy.config import Mode, ProxyConfig
from netpod.proxy.iptables import localhost_node_ports
from netpod.proxy.model import Model
from netpod.proxy.nftables_proxier import NftablesProxier
from netpod.proxy.proxier import IptablesProxier, Proxier

log = logging.getLogger(__name__)

_ROUTE_LOCALNET = "net.ipv4.conf.all.route_localnet"


def make(mode: Mode, config: ProxyConfig) -> Proxier:
    """A proxier that knows nothing yet."""
    return NftablesProxier(config) if mode is Mode.NFTABLES else IptablesProxier(config)


class Switch:
    """The proxier of the mode of now; on a change the new rules are in place before the old ones go.

    A connection keeps its way: conntrack decided it with its first packet, in whatever mode that was.
    """

    def __init__(self, config: ProxyConfig, proxier: Proxier | None = None) -> None:
        self._config = config
        self._mode = config.mode
        self._clean = False
        self.proxier = proxier or make(config.mode, config)

    @property
    def mode(self) -> Mode:
        """The mode of `proxier`."""
        return self._mode

    async def full_sync(self, mode: Mode, model: Model, *, zone: str = "") -> bool:
        """Read the kernel, correct it, and take away what other modes, or an earlier process, left there."""
        if mode != self._mode:
            log.info("switching from %s to %s", self._mode, mode)
            fresh = make(mode, self._config)
            await asyncio.to_thread(self._prepare, mode)
            done = await fresh.full_sync(model, zone=zone)
            self.proxier, self._mode, self._clean = fresh, mode, False
        else:
            if not self._clean:
                await asyncio.to_thread(self._prepare, mode)
            done = await self.proxier.full_sync(model, zone=zone)
        if not self._clean:
            for other in Mode:
                if other != mode:
                    await self._remove(other)
            self._clean = True
        return done

    async def _remove(self, mode: Mode) -> None:
        try:
            await make(mode, self._config).remove()
            if mode is Mode.IPTABLES and self._config.family is Family.IPV4:
                await asyncio.to_thread(sysctl.write, self._config.netns, _ROUTE_LOCALNET, 0)
        except Unsupported:
            return  # a program that is not there left nothing
        except KernelError as error:
            log.error("cannot remove the rules of %s mode: %s", mode, error)
            raise

    def _prepare(self, mode: Mode) -> None:
        if mode is Mode.IPTABLES and localhost_node_ports(self._config):
            # Else a packet from 127.0.0.1 to a node port is dropped as a martian once it was DNATed.
            sysctl.write(self._config.netns, _ROUTE_LOCALNET, 1)

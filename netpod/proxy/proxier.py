"""What a proxy mode is to the sync loop, and iptables mode as one.

A proxier keeps the kernel's rules equal to a model. It reads the kernel on a full sync only; between two of them it
remembers what it handed over and hands over what differs, or nothing.
"""

import asyncio
import logging
from collections.abc import Collection
from typing import Protocol

from netpod.errors import CommandFailed
from netpod.linux import iptables, process
from netpod.proxy import iptables as iptables_mode
from netpod.proxy.compiled import Compiled
from netpod.proxy.config import ProxyConfig
from netpod.proxy.model import Model, ServicePortName
from netpod.proxy.names import Chain
from netpod.proxy.restore import TABLES, Delta, parse_save, removal_text, restore_text

log = logging.getLogger(__name__)


class Proxier(Protocol):
    """One proxy mode of one node; the model given to a method must not change until it has returned."""

    async def full_sync(self, model: Model, *, zone: str = "") -> bool:
        """Read the kernel, adopt what is right, correct the difference; True when something was handed over."""
        ...

    async def sync(
        self, model: Model, changed: Collection[ServicePortName], *, zone: str = ""
    ) -> bool:
        """Hand over what these service ports changed; True when something was handed over."""
        ...

    async def intact(self) -> bool:
        """Whether nobody flushed our rules since the last sync."""
        ...

    async def tidy(self) -> float:
        """Do what had to wait after an earlier sync; return in how many seconds to ask again, 0 for not at all."""
        ...

    async def remove(self) -> None:
        """Take everything of this mode out of the kernel; what is absent is fine, other people's rules stay."""
        ...


class IptablesProxier:
    """Iptables mode.

    Raises from every method:
        CommandFailed: iptables refused; each table is as before or as wanted, so a full sync repairs it.
        Unsupported: iptables is not installed.
    """

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._compiled = Compiled(config)

    async def full_sync(self, model: Model, *, zone: str = "") -> bool:
        """See Proxier.full_sync."""
        return await self._hand_over(await asyncio.to_thread(self._look, model, zone))

    async def sync(
        self, model: Model, changed: Collection[ServicePortName], *, zone: str = ""
    ) -> bool:
        """See Proxier.sync."""
        self._compiled.update(changed, model, zone=zone)
        return await self._hand_over(self._compiled.pending())

    async def intact(self) -> bool:
        """See Proxier.intact: the canary chain of every table is still there."""
        for table in TABLES:
            argv = ["iptables", "-w", "5", "-t", table, "-S", str(Chain.CANARY)]
            try:
                await process.arun(argv, netns=self._config.netns)
            except CommandFailed:
                return False
        return True

    async def tidy(self) -> float:
        """See Proxier.tidy: nothing ever waits."""
        return 0.0

    async def remove(self) -> None:
        """See Proxier.remove."""
        await asyncio.to_thread(remove, self._config.netns)

    def _look(self, model: Model, zone: str) -> Delta:
        self._compiled.rebuild(model, zone=zone)
        return self._compiled.against(parse_save(iptables.save(self._config.netns)))

    async def _hand_over(self, delta: Delta) -> bool:
        text = restore_text(delta)
        if text:
            log.debug("iptables-restore of %d bytes", len(text))
            await asyncio.to_thread(iptables.restore, self._config.netns, text)
        self._compiled.applied()
        return bool(text)


def remove(netns: str) -> None:
    """Delete the jumps to our chains, and the chains."""
    text = removal_text(parse_save(iptables.save(netns)), iptables_mode.is_mine)
    if text:
        iptables.restore(netns, text)

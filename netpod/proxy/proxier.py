"""What a proxy mode is to the sync loop, and iptables mode as one.

A proxier keeps the kernel's rules equal to a model. It reads the kernel on a full sync only; between two of them it
remembers what it handed over and hands over what differs, or nothing.
"""

import asyncio
import logging
from collections.abc import Collection
from typing import Protocol

from netpod.linux import iptables
from netpod.proxy import iptables as iptables_mode
from netpod.proxy import owners, variants
from netpod.proxy.compiled import Compiled
from netpod.proxy.config import Mode, ProxyConfig, Variant
from netpod.proxy.model import Model, ServicePortName
from netpod.proxy.names import Chain
from netpod.proxy.restore import TABLES, Delta

log = logging.getLogger(__name__)

FEW = 20
"""Service ports compiled within one turn of the event loop; handing them to a thread would take longer."""


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

    async def remove(self, *, but: Mode | None = None) -> bool:
        """Take everything of this mode out of the kernel; what is absent is fine, other people's rules stay.

        Args:
            but: A mode whose rules are in place; what both have is its.

        Returns:
            False while something has to wait; then it is to be called again.
        """
        ...


class IptablesProxier:
    """Iptables mode, in either variant.

    Raises from every method:
        CommandFailed: iptables refused; each table is as before or as wanted, so a full sync repairs it.
        Unsupported: iptables is not installed.
    """

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._compiled = Compiled(config)
        self._last: dict[str, int] = {}

    def written(self) -> dict[str, dict[str, int]]:
        """Numbers of rules by table: "total" in the kernel, "last" by the last hand-over."""
        applied = self._compiled.desired()
        total = {table: sum(map(len, chains.values())) for table, chains in applied.items()}
        for table, _ in iptables_mode.JUMPS:
            total[table] += 1
        return {"total": total, "last": self._last}

    async def full_sync(self, model: Model, *, zone: str = "") -> bool:
        """See Proxier.full_sync."""
        return await self._hand_over(await asyncio.to_thread(self._look, model, zone))

    async def sync(
        self, model: Model, changed: Collection[ServicePortName], *, zone: str = ""
    ) -> bool:
        """See Proxier.sync."""
        if len(changed) <= FEW:
            return await self._hand_over(self._difference(model, changed, zone))
        # So many would keep the rest of this process waiting.
        delta = await asyncio.to_thread(self._difference, model, changed, zone)
        return await self._hand_over(delta)

    async def intact(self) -> bool:
        """See Proxier.intact: the canary chain of every table is still there."""
        return await asyncio.to_thread(self._has_canaries)

    async def tidy(self) -> float:
        """See Proxier.tidy: nothing ever waits."""
        return 0.0

    async def remove(self, *, but: Mode | None = None) -> bool:
        """See Proxier.remove."""
        await asyncio.to_thread(self._remove, but)
        return True

    def _look(self, model: Model, zone: str) -> Delta:
        self._compiled.rebuild(model, zone=zone)
        config = self._config
        return self._compiled.against(
            variants.observe(config.iptables_variant, config.netns, family=config.family)
        )

    def _difference(self, model: Model, changed: Collection[ServicePortName], zone: str) -> Delta:
        self._compiled.update(changed, model, zone=zone)
        return self._compiled.pending()

    async def _hand_over(self, delta: Delta) -> bool:
        config = self._config
        if delta:
            await asyncio.to_thread(
                variants.hand_over,
                config.iptables_variant,
                config.netns,
                delta,
                family=config.family,
            )
        self._compiled.applied()
        if delta:
            self._last = {
                table: sum(map(len, delta.changed.get(table, {}).values()))
                + len(delta.jumps.get(table, ()))
                for table in TABLES
            }
        return bool(delta)

    def _has_canaries(self) -> bool:
        config = self._config
        if config.iptables_variant is Variant.NFT:
            return all(
                iptables.has_chain(config.netns, t, Chain.CANARY, family=config.family)
                for t in TABLES
            )
        observed = variants.observe(config.iptables_variant, config.netns, family=config.family)
        return all(Chain.CANARY in observed.get(table, {}) for table in TABLES)

    def _remove(self, but: Mode | None) -> None:
        config = self._config
        observed = variants.observe(config.iptables_variant, config.netns, family=config.family)
        doomed, jumps = owners.taken_away(observed, Mode.IPTABLES, but=but)
        variants.remove(config.iptables_variant, config.netns, doomed, jumps, family=config.family)

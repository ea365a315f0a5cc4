"""nftables mode: table `ip kube-proxy` or `ip6 kube-proxy`, handed over by nft(8) in transactions.

A chain that lost its last reference is emptied at once and deleted a second later: kernels before 6.2 may still be
sending a packet through the map that named it. Source: kubernetes pkg/proxy/nftables/proxier.go, staleChains.
"""

import asyncio
import dataclasses
import logging
import time
from collections.abc import Collection

from netpod.errors import KernelError
from netpod.ip import Family
from netpod.linux import nft, nftread, nftwire
from netpod.proxy import nftables
from netpod.proxy.config import Mode, ProxyConfig
from netpod.proxy.model import Model, ServicePortName
from netpod.proxy.nftables_compiled import Compiled
from netpod.proxy.nftables_names import NAME, table_of
from netpod.proxy.nftables_table import Delta, Table, delete_text, parse_list, transactions

log = logging.getLogger(__name__)

FEW = 20
"""Service ports compiled within one turn of the event loop; handing them to a thread would take longer."""
STALE_SECONDS = 1.0


class NftablesProxier:
    """Nftables mode.

    Raises from every method:
        CommandFailed: nft refused; the table is as before, or some chains are there that nothing leads to yet.
        Unsupported: nft is not installed.
    """

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._table = table_of(config.family)
        self._compiled = Compiled(config)
        self._stale: dict[str, float] = {}

    async def full_sync(self, model: Model, *, zone: str = "") -> bool:
        """See Proxier.full_sync."""
        delta, empty = await asyncio.to_thread(self._look, model, zone)
        self._stale.clear()
        done = await self._hand_over(delta)
        self._stale.update(dict.fromkeys(empty, time.monotonic()))
        return done

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
        """See Proxier.intact: the chains that are there without any Service still have their rules."""
        return await asyncio.to_thread(self._has_base)

    async def tidy(self) -> float:
        """See Proxier.tidy: delete the chains that were emptied long enough ago."""
        now = time.monotonic()
        due = [chain for chain, since in self._stale.items() if now - since >= STALE_SECONDS]
        if due:
            try:
                await asyncio.to_thread(
                    hand_over, self._config.netns, delete_text(due, self._table)
                )
            except KernelError as error:
                log.warning("cannot delete stale chains yet: %s", error)
                self._stale.update(dict.fromkeys(due, now))
            else:
                for chain in due:
                    del self._stale[chain]
        if not self._stale:
            return 0.0
        return max(0.01, min(self._stale.values()) + STALE_SECONDS - time.monotonic())

    async def remove(self, *, but: Mode | None = None) -> bool:
        """See Proxier.remove."""
        await asyncio.to_thread(remove, self._config.netns, self._config.family)
        return True

    def _has_base(self) -> bool:
        config = self._config
        return all(
            nftread.rule_count(config.netns, NAME, chain, config.family) == len(rules)
            for chain, rules in nftables.base(config).chains.items()
        )

    def _look(self, model: Model, zone: str) -> tuple[Delta, frozenset[str]]:
        """What to hand over, and the chains that only wait for their deletion."""
        self._compiled.rebuild(model, zone=zone)
        observed = observe(self._config.netns, self._config.family)
        delta = self._compiled.against(observed)
        chains = observed.chains if observed else {}
        empty = frozenset(chain for chain in delta.stale if not chains.get(chain))
        return dataclasses.replace(delta, stale=delta.stale - empty), empty

    def _difference(self, model: Model, changed: Collection[ServicePortName], zone: str) -> Delta:
        self._compiled.update(changed, model, zone=zone)
        return self._compiled.pending()

    async def _hand_over(self, delta: Delta) -> bool:
        texts = transactions(delta, self._table)
        if texts:
            await asyncio.to_thread(self._apply, texts)
        now = time.monotonic()
        for chain in delta.chains:
            self._stale.pop(chain, None)
        self._stale.update(dict.fromkeys(delta.stale, now))
        self._compiled.applied()
        return bool(texts)

    def _apply(self, texts: list[str]) -> None:
        for text in texts:
            hand_over(self._config.netns, text)


def hand_over(netns: str, text: str) -> None:
    """One transaction: straight to the kernel where that is possible, by nft where it is not."""
    try:
        if nftwire.apply(netns, text):
            return
    except KernelError as error:
        log.debug("%s; nft may say why", error)
    nft.apply(netns, text, timeout=120)


def observe(netns: str, family: Family = Family.IPV4) -> Table | None:
    """The table of a family as the kernel has it; None when there is none."""
    if not nftread.exists(netns, NAME, family=family):
        return None
    return parse_list(nft.list_text(netns, "table", family.nft, NAME, stateless=True))


def remove(netns: str, family: Family = Family.IPV4) -> None:
    """Delete the table of a family with all that is in it; absent is fine."""
    if nftread.exists(netns, NAME, family=family):
        nft.apply(netns, f"delete table {table_of(family)}\n")

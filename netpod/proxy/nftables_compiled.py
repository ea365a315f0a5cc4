"""What one node's table should hold, beside what it is known to hold, kept up per service port (pure)."""

from collections.abc import Iterable
from typing import TypeVar

from netpod.proxy import nftables
from netpod.proxy.config import ProxyConfig
from netpod.proxy.model import Model, ServicePortName
from netpod.proxy.nftables_port import PortTable
from netpod.proxy.nftables_table import Delta, Table, difference

V = TypeVar("V")
_NOTHING = PortTable(chains={}, elements={}, affinity={})


class Compiled:
    """The wanted table; every change is noted until it was applied."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._ports: dict[ServicePortName, PortTable] = {}
        self._owners: dict[tuple[str, str], dict[ServicePortName, str]] = {}
        self._before_chains: dict[str, tuple[str, ...] | None] = {}
        self._before_elements: dict[tuple[str, str], str | None] = {}
        self._before_affinity: dict[str, int | None] = {}
        self.desired: Table = nftables.base(config)

    def update(self, names: Iterable[ServicePortName], model: Model, *, zone: str = "") -> None:
        """Compile these service ports again, or forget those the model no longer has."""
        for name in names:
            port = model.services.get(name)
            if port is None:
                self._replace(name, None)
                continue
            endpoints = model.endpoints.get(name, ())
            made = nftables.compile_port(port, endpoints, self._config, zone=zone)
            self._replace(name, made)

    def rebuild(self, model: Model, *, zone: str = "") -> None:
        """Compile everything again."""
        self.update({*self._ports, *model.services}, model, zone=zone)

    def against(self, observed: Table | None) -> Delta:
        """What to do when the kernel has `observed`."""
        return difference(self.desired, observed)

    def pending(self) -> Delta:
        """What to do when the kernel has what was applied last."""
        desired = self.desired
        chains: dict[str, tuple[str, ...]] = {}
        new: set[str] = set()
        stale: set[str] = set()
        for chain, before in self._before_chains.items():
            rules = desired.chains.get(chain)
            if rules is None:
                if before is not None:
                    stale.add(chain)
            elif rules != before:
                chains[chain] = rules
                if before is None:
                    new.add(chain)
        add: dict[str, dict[str, str]] = {}
        remove: dict[str, list[str]] = {}
        for (container, key), old in self._before_elements.items():
            value = desired.elements[container].get(key)
            if value == old:
                continue
            if old is not None:
                remove.setdefault(container, []).append(key)
            if value is not None:
                add.setdefault(container, {})[key] = value
        affinity: dict[str, int] = {}
        gone_sets: set[str] = set()
        for name, seconds in self._before_affinity.items():
            now = desired.affinity.get(name)
            if now == seconds:
                continue
            if seconds is not None:
                gone_sets.add(name)
            if now is not None:
                affinity[name] = now
        if gone_sets:
            self._rewrite_users(gone_sets, chains, new)
        return Delta(
            chains=chains,
            new=frozenset(new),
            stale=frozenset(stale),
            add=add,
            remove=remove,
            affinity=affinity,
            gone_sets=frozenset(gone_sets),
        )

    def applied(self) -> None:
        """The kernel now has everything desired."""
        self._before_chains.clear()
        self._before_elements.clear()
        self._before_affinity.clear()

    def _rewrite_users(
        self, sets: set[str], chains: dict[str, tuple[str, ...]], new: set[str]
    ) -> None:
        """A set can be made again only with no rule naming it, so the port's chains are written again too."""
        names = {f"@{name}" for name in sets}
        for made in self._ports.values():
            if not sets.isdisjoint(made.affinity):
                for chain, rules in made.chains.items():
                    if any(not names.isdisjoint(rule.split(" ")) for rule in rules):
                        chains[chain] = rules

    def _replace(self, name: ServicePortName, new: PortTable | None) -> None:
        old = self._ports.pop(name, None)
        if new is not None:
            self._ports[name] = new
        before, after = old or _NOTHING, new or _NOTHING
        if before == after:
            return
        desired = self.desired
        for chain in {*before.chains, *after.chains}:
            rules = after.chains.get(chain)
            if rules == before.chains.get(chain):
                continue
            self._before_chains.setdefault(chain, desired.chains.get(chain))
            _put(desired.chains, chain, rules)
        for affinity in {*before.affinity, *after.affinity}:
            seconds = after.affinity.get(affinity)
            if seconds == before.affinity.get(affinity):
                continue
            self._before_affinity.setdefault(affinity, desired.affinity.get(affinity))
            _put(desired.affinity, affinity, seconds)
        for place in {*before.elements, *after.elements}:
            owners = self._owners.setdefault(place, {})
            owners.pop(name, None)
            if place in after.elements:
                owners[name] = after.elements[place]
            if not owners:
                del self._owners[place]
            container, key = place
            elements = desired.elements[container]
            value = owners[min(owners)] if owners else None
            if value != elements.get(key):
                self._before_elements.setdefault(place, elements.get(key))
                _put(elements, key, value)


def _put(mapping: dict[str, V], key: str, value: V | None) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value

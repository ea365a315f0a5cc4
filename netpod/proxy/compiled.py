"""Compiled rules of every service port, and which chains the kernel does not have yet (pure).

Compiling is per service port and remembered, so a sync costs what changed. Chains shared by all ports are put
together again only when a port's share of them differs.
"""

import bisect
from collections.abc import Iterable

from netpod.proxy import iptables
from netpod.proxy.config import ProxyConfig
from netpod.proxy.iptables_port import PortRules
from netpod.proxy.model import Model, ServicePortName
from netpod.proxy.names import Chain
from netpod.proxy.restore import Delta, Rules, Ruleset, difference


class Compiled:
    """The rules one node should have, beside those it is known to have."""

    def __init__(self, config: ProxyConfig) -> None:
        self._config = config
        self._order: list[ServicePortName] = []
        self._ports: dict[ServicePortName, PortRules] = {}
        self._endpoints: dict[ServicePortName, int] = {}
        self._total = 0
        self._outdated: set[tuple[str, Chain]] = set(iptables.SHARED)
        self._dirty_shared: set[tuple[str, Chain]] = set(iptables.SHARED)
        self._dirty_chains: set[str] = set()
        self._desired: dict[str, dict[str, Rules]] = iptables.base(config)
        self._applied: dict[str, dict[str, Rules]] = {}

    def update(self, names: Iterable[ServicePortName], model: Model, *, zone: str = "") -> None:
        """Compile these service ports again, or forget those the model no longer has."""
        wanted = list(names)
        for name in wanted:
            count = len(model.endpoints.get(name, ()))
            self._total += count - self._endpoints.pop(name, 0)
            if name in model.services:
                self._endpoints[name] = count
        large = iptables.is_large(self._total)
        for name in wanted:
            port = model.services.get(name)
            if port is None:
                self._replace(name, None)
                continue
            endpoints = model.endpoints.get(name, ())
            rules = iptables.compile_port(port, endpoints, self._config, zone=zone, large=large)
            self._replace(name, rules)

    def rebuild(self, model: Model, *, zone: str = "") -> None:
        """Compile everything again."""
        self.update({*self._ports, *model.services}, model, zone=zone)

    def desired(self) -> Ruleset:
        """Every chain this node should have, without the jumps out of the built-in chains."""
        if self._outdated:
            ports = [self._ports[name] for name in self._order]
            for table, chain in self._outdated:
                rules = iptables.shared(table, chain, ports, self._config)
                self._desired[table][chain] = rules
            self._outdated.clear()
        return self._desired

    def against(self, observed: Ruleset) -> Delta:
        """What to do when the kernel has `observed`, jumps included."""
        return difference(self.desired(), observed, jumps=iptables.JUMPS, ours=iptables.is_ours)

    def pending(self) -> Delta:
        """What to do when the kernel has what was applied last."""
        desired = self.desired()
        touched = [("nat", chain) for chain in self._dirty_chains]
        touched += [(table, str(chain)) for table, chain in self._dirty_shared]
        changed: dict[str, dict[str, Rules]] = {}
        stale: list[str] = []
        for table, chain in touched:
            want = desired[table].get(chain)
            have = self._applied.get(table, {}).get(chain)
            if want is None and have is not None:
                stale.append(chain)
            elif want is not None and want != have:
                changed.setdefault(table, {})[chain] = want
        return Delta(changed=changed, stale={"nat": tuple(stale)} if stale else {})

    def applied(self) -> None:
        """The kernel now has everything desired."""
        desired = self.desired()
        if not self._applied:
            self._applied = {table: dict(chains) for table, chains in desired.items()}
        for table, chain in self._dirty_shared:
            self._applied[table][chain] = desired[table][chain]
        for name in self._dirty_chains:
            rules = desired["nat"].get(name)
            if rules is None:
                self._applied["nat"].pop(name, None)
            else:
                self._applied["nat"][name] = rules
        self._dirty_shared.clear()
        self._dirty_chains.clear()

    def _replace(self, name: ServicePortName, new: PortRules | None) -> None:
        old = self._ports.get(name)
        if old is None and new is None:
            return
        if new is None:
            del self._ports[name]
            self._order.pop(bisect.bisect_left(self._order, name))
        else:
            if old is None:
                bisect.insort(self._order, name)
            self._ports[name] = new
        before = old or _NOTHING
        after = new or _NOTHING
        nat = self._desired["nat"]
        for chain in {*before.chains, *after.chains}:
            rules = after.chains.get(chain)
            if rules == before.chains.get(chain):
                continue
            self._dirty_chains.add(chain)
            if rules is None:
                del nat[chain]
            else:
                nat[chain] = rules
        for shared in {*before.shared, *after.shared}:
            if before.shared.get(shared) != after.shared.get(shared):
                self._outdated.add(shared)
                self._dirty_shared.add(shared)


_NOTHING = PortRules(chains={}, shared={})

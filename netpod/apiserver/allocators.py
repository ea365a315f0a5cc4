"""Cluster IPs and node ports: given out once each, also to concurrent creates.

Both pools live in memory and belong to the event loop's thread, so claiming is one step nobody can come between.
The store is the truth: pools are rebuilt from its Services at start. A claim is made before the write; the write's
outcome commits it (what the old version no longer uses is freed) or undoes it.

Dynamic values come from the upper band of a pool first, so that the lower band stays free for people who choose:
static band = min(max(16, size/16), 256) addresses, min(max(16, size/32), 128) ports.
Source: pkg/registry/core/service/ipallocator, portallocator; KEP-3070, KEP-3668.
"""

import dataclasses
import itertools
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from netpod import errors
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.apiserver import families, status
from netpod.ip import Address, Family, Network, by_family, family_of


class Pool:
    """Integers from `first` to `last`, each with at most one owner; the first `static` are given out last."""

    def __init__(self, first: int, last: int, static: int) -> None:
        self.first, self.last = first, last
        self._dynamic = min(first + static, last)
        self._next = self._dynamic
        self._owners: dict[int, str] = {}

    def __contains__(self, value: int) -> bool:
        return self.first <= value <= self.last

    def owner(self, value: int) -> str | None:
        """Who has the value."""
        return self._owners.get(value)

    def claim(self, value: int, owner: str) -> bool:
        """Take one value; False when somebody else has it. Repeating one's own claim is fine."""
        return self._owners.setdefault(value, owner) == owner

    def allocate(self, owner: str) -> int | None:
        """Take a free value, going round so that a freed one is not reused at once; None when all are taken."""
        upper = itertools.chain(range(self._next, self.last + 1), range(self._dynamic, self._next))
        for value in itertools.chain(upper, range(self.first, self._dynamic)):
            if value not in self._owners:
                self._owners[value] = owner
                if value >= self._dynamic:
                    self._next = value + 1 if value < self.last else self._dynamic
                return value
        return None

    def scatter(self, chance: random.Random) -> None:
        """Go round from a random value on."""
        self._next = chance.randint(self._dynamic, self.last)

    def forget(self, owner: str) -> None:
        """Free all values of an owner."""
        for value in [it for it, whose in self._owners.items() if whose == owner]:
            del self._owners[value]

    def release(self, value: int, owner: str) -> None:
        """Free a value if that owner has it."""
        if self._owners.get(value) == owner:
            del self._owners[value]


@dataclass(frozen=True, slots=True)
class Claim:
    """What one write took, and what it will give back when it succeeds: (pool, value) pairs."""

    owner: str
    taken: list[tuple[Pool, int]]
    dropped: list[tuple[Pool, int]]

    def commit(self) -> None:
        """The write is durable: free what the Service no longer uses."""
        for pool, value in self.dropped:
            pool.release(value, self.owner)

    def undo(self) -> None:
        """The write failed: free what was taken for it."""
        for pool, value in self.taken:
            pool.release(value, self.owner)


class Allocators:
    """The cluster's pools: cluster IPs of each address family, and node ports.

    Args:
        services: Networks of the cluster IPs, one of each family, the default one first.
        node_ports: Numbers of the node ports.
    """

    def __init__(self, services: Sequence[Network], node_ports: range) -> None:
        self._networks = by_family(services)
        self._ips = {family: _pool(network) for family, network in self._networks.items()}
        band = min(max(16, len(node_ports) // 32), 128)
        self._ports = Pool(node_ports[0], node_ports[-1], band if len(node_ports) > 32 else 0)

    def adopt(self, services: Iterable[Service]) -> None:
        """Mark what stored Services use: before anything is served, and when another server has written some."""
        for service in services:
            owner = _owner(service)
            for pool, value in self._used(service):
                pool.claim(value, owner)

    def scatter(self, chance: random.Random) -> None:
        """Begin anywhere in the pools."""
        for pool in (*self._ips.values(), self._ports):
            pool.scatter(chance)

    def forget(self, service: Service) -> None:
        """Free everything a deleted Service ever had here, also what another server has taken from it since."""
        for pool in (*self._ips.values(), self._ports):
            pool.forget(_owner(service))

    def release(self, service: Service) -> None:
        """Free everything a deleted Service had."""
        owner = _owner(service)
        for pool, value in self._used(service):
            pool.release(value, owner)

    def claim(self, old: Service | None, new: Service) -> tuple[Service, Claim]:
        """Give `new` the addresses and ports it needs; it keeps those of `old` that it names.

        Raises:
            Invalid: a value it names is taken or out of range.
            ApiError: a pool is empty.
        """
        claim = Claim(_owner(new), [], [])
        try:
            spec = families.settle(old, new, tuple(self._networks))
            spec = self._addresses(spec, claim, new)
            spec = self._node_ports(spec, claim, new)
            spec = self._health_check(spec, claim, new)
        except errors.ApiError:
            claim.undo()
            raise
        service = dataclasses.replace(new, spec=spec)
        if old is not None:
            kept = set(self._used(service))
            claim.dropped.extend(used for used in self._used(old) if used not in kept)
        return service, claim

    def _used(self, service: Service) -> list[tuple[Pool, int]]:
        found: list[tuple[Pool, int]] = []
        spec = service.spec
        for text in spec.cluster_ips or (spec.cluster_ip,):
            if text and text != families.NONE:
                address = ip_address(text)
                pool = self._ips.get(family_of(address))
                found.extend([(pool, int(address))] if pool is not None else [])
        found.extend((self._ports, port.node_port) for port in spec.ports if port.node_port)
        if spec.health_check_node_port:
            found.append((self._ports, spec.health_check_node_port))
        return found

    def _addresses(self, spec: ServiceSpec, claim: Claim, new: Service) -> ServiceSpec:
        if spec.type == "ExternalName" or spec.cluster_ip == families.NONE:
            return spec
        addresses = list(spec.cluster_ips)
        # What its author chose first, so that a dynamic address does not get in the way of it.
        for address in addresses:
            self._claim_address(ip_address(address), addresses, claim, new)
        for name in spec.ip_families[len(addresses) :]:
            family = Family(name)
            value = self._ips[family].allocate(claim.owner)
            if value is None:
                raise errors.ApiError(
                    "failed to allocate a serviceIP: range is full",
                    details={"retryAfterSeconds": 10},
                )
            claim.taken.append((self._ips[family], value))
            network = self._networks[family]
            addresses.append(str(network[value - int(network.network_address)]))
        return dataclasses.replace(spec, cluster_ip=addresses[0], cluster_ips=tuple(addresses))

    def _claim_address(
        self, wanted: Address, together: Sequence[str], claim: Claim, new: Service
    ) -> None:
        value = int(wanted)
        pool = self._ips[family_of(wanted)]
        shown = ", ".join(f'"{it}"' for it in together)
        value_text = f"Invalid value: []string{{{shown}}}: failed to allocate IP {wanted}:"
        if value not in pool:
            raise _invalid(
                new,
                "spec.clusterIPs",
                f"{value_text} the provided IP ({wanted}) is not in the valid range. "
                f"The range of valid IPs is {self._networks[family_of(wanted)]}",
            )
        mine = pool.owner(value) == claim.owner
        if not pool.claim(value, claim.owner):
            raise _invalid(new, "spec.clusterIPs", f"{value_text} provided IP is already allocated")
        if not mine:
            claim.taken.append((pool, value))

    def _node_ports(self, spec: ServiceSpec, claim: Claim, new: Service) -> ServiceSpec:
        if spec.type not in ("NodePort", "LoadBalancer"):
            return dataclasses.replace(
                spec, ports=tuple(dataclasses.replace(port, node_port=0) for port in spec.ports)
            )
        wanted = spec.type == "NodePort" or spec.allocate_load_balancer_node_ports is not False
        for index, port in enumerate(spec.ports):
            if port.node_port:
                self._claim_port(port.node_port, f"spec.ports[{index}].nodePort", claim, new)
        ports: list[ServicePort] = []
        for port in spec.ports:
            if not port.node_port and wanted:
                # The same number serves TCP and UDP of one port, as for DNS.
                twin = next(
                    (p for p in ports if p.port == port.port and p.protocol != port.protocol), None
                )
                number = twin.node_port if twin else self._allocate_port(claim)
                port = dataclasses.replace(port, node_port=number)
            ports.append(port)
        return dataclasses.replace(spec, ports=tuple(ports))

    def _health_check(self, spec: ServiceSpec, claim: Claim, new: Service) -> ServiceSpec:
        if spec.type != "LoadBalancer" or spec.external_traffic_policy != "Local":
            return dataclasses.replace(spec, health_check_node_port=0)
        if spec.health_check_node_port:
            self._claim_port(spec.health_check_node_port, "spec.healthCheckNodePort", claim, new)
            return spec
        return dataclasses.replace(spec, health_check_node_port=self._allocate_port(claim))

    def _allocate_port(self, claim: Claim) -> int:
        value = self._ports.allocate(claim.owner)
        if value is None:
            raise errors.ApiError(
                "failed to allocate a nodePort: range is full", details={"retryAfterSeconds": 10}
            )
        claim.taken.append((self._ports, value))
        return value

    def _claim_port(self, port: int, path: str, claim: Claim, new: Service) -> None:
        if port not in self._ports:
            raise _invalid(
                new,
                path,
                f"Invalid value: {port}: provided port is not in the valid range. "
                f"The range of valid ports is {self._ports.first}-{self._ports.last}",
            )
        mine = self._ports.owner(port) == claim.owner
        if not self._ports.claim(port, claim.owner):
            raise _invalid(new, path, f"Invalid value: {port}: provided port is already allocated")
        if not mine:
            claim.taken.append((self._ports, port))


def _pool(network: Network) -> Pool:
    """Addresses of a network, without the first and, of IPv4, the last. Source: ipallocator.go New."""
    size = network.num_addresses
    base = int(network.network_address)
    last = base + size - (2 if network.version == 4 else 1)
    return Pool(base + 1, last, min(max(16, size // 16), 256))


def _owner(service: Service) -> str:
    # The uid, not the name: a deleted Service's late release must not free its successor's values.
    return service.metadata.uid


def _invalid(service: Service, path: str, message: str) -> errors.Invalid:
    error = errors.FieldError(field=path, reason="FieldValueInvalid", message=message)
    return status.invalid("Service", "", service.metadata.name, [error])

"""What one service port adds to table kube-proxy in nftables mode (pure).

Rules are in the form in which `nft list` prints them, which is valid input too.
Source: kubernetes pkg/proxy/nftables/proxier.go syncProxyRules, writeServiceToEndpointRules.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from netpod.ip import Address, Network, interface_of
from netpod.proxy import nftables_names as names
from netpod.proxy.config import ProxyConfig
from netpod.proxy.model import Endpoint, ServicePort
from netpod.proxy.nftables_names import Chain, Map, Prefix
from netpod.proxy.restore import Rules
from netpod.proxy.topology import Categories

_MARK = f"jump {Chain.MARK_FOR_MASQUERADE}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortTable:
    """One service port's share of the table.

    Attributes:
        chains: Rules of the chains that belong to it alone.
        elements: (set or map, key) to what follows the key: "" or ` comment "..." : VERDICT`.
        affinity: Seconds after which a client may get another endpoint, by set.
    """

    chains: Mapping[str, Rules]
    elements: Mapping[tuple[str, str], str]
    affinity: Mapping[str, int]


def compile_port(port: ServicePort, usable: Categories, config: ProxyConfig) -> PortTable:
    """Compile one service port whose usable endpoints are known."""
    return _Port(port, usable, config).table()


class _Port:
    """One compilation."""

    def __init__(self, port: ServicePort, usable: Categories, config: ProxyConfig) -> None:
        self.port = port
        self.usable = usable
        self.config = config
        self.ip = config.family.nft
        self.name = str(port.name)
        self.protocol = port.name.protocol.lower()
        base = names.service_base(port.name)
        self.service = Prefix.SERVICE + base
        self.local = Prefix.LOCAL + base
        self.external = Prefix.EXTERNAL + base
        self.firewall = Prefix.FIREWALL + base
        here = bool(usable.local)
        self.has_internal = usable.anywhere and (here or not port.internal_policy_local)
        self.has_external = usable.anywhere and (here or not port.external_policy_local)
        self.bases = {e.address: names.endpoint_base(port.name, e) for e in usable.reachable}
        self.chains: dict[str, list[str]] = {}
        self.elements: dict[tuple[str, str], str] = {}
        self.affinity: dict[str, int] = {}

    def table(self) -> PortTable:
        self._cluster_ip()
        self._external_addresses()
        self._node_port()
        self._balance(self.service, self.usable.cluster)
        self._balance(self.local, self.usable.local)
        self._external_chain()
        self._firewall_chain()
        self._endpoints()
        return PortTable(
            chains={chain: tuple(rules) for chain, rules in self.chains.items()},
            elements=self.elements,
            affinity=self.affinity,
        )

    def _cluster_ip(self) -> None:
        port = self.port
        self.elements[Map.CLUSTER_IPS, str(port.cluster_ip)] = ""
        if not self.has_internal:
            self._refuse(port.cluster_ip, local=port.internal_policy_local)
            return
        target = self.local if port.internal_policy_local else self.service
        self.elements[Map.SERVICE_IPS, self._key(port.cluster_ip)] = f" : goto {target}"
        # Packets that would come back another way, because their sender is no pod, must come back here.
        if self.config.masquerade_all:
            self._add(target, f"{self.ip} daddr {port.cluster_ip} {_MARK}")
        elif self.config.cluster_cidr:
            other = f"{self.ip} saddr != {self.config.cluster_cidr}"
            self._add(target, f"{self.ip} daddr {port.cluster_ip} {other} {_MARK}")

    def _external_addresses(self) -> None:
        port = self.port
        for ip in (*port.external_ips, *port.load_balancer_vips):
            if self.usable.anywhere:
                self.elements[Map.SERVICE_IPS, self._key(ip)] = f" : goto {self.external}"
            if not self.has_external:
                self._refuse(ip, local=port.external_policy_local)
        if self.usable.anywhere and port.source_ranges:
            for ip in port.load_balancer_vips:
                self.elements[Map.FIREWALL_IPS, self._key(ip)] = f" : goto {self.firewall}"

    def _node_port(self) -> None:
        if not self.port.node_port:
            return
        key = f"{self.protocol} . {self.port.node_port}"
        if self.usable.anywhere:
            self.elements[Map.SERVICE_NODEPORTS, key] = f" : goto {self.external}"
        if not self.has_external:
            verdict = self._refusal(self.port.external_policy_local)
            self.elements[Map.NO_ENDPOINT_NODEPORTS, key] = verdict

    def _balance(self, chain: str, endpoints: tuple[Endpoint, ...]) -> None:
        if not endpoints:
            return
        bases = [self.bases[endpoint.address] for endpoint in endpoints]
        if self.port.affinity_seconds:
            for base in bases:
                match = f"{self.ip} saddr @{Prefix.AFFINITY}{base}"
                self._add(chain, f"{match} goto {Prefix.ENDPOINT}{base}")
        choices = ", ".join(f"{i} : goto {Prefix.ENDPOINT}{b}" for i, b in enumerate(bases))
        self._add(chain, f"numgen random mod {len(bases)} vmap {{ {choices} }}")

    def _external_chain(self) -> None:
        if not (self.usable.anywhere and self.port.externally_accessible):
            return
        if not self.port.external_policy_local:
            self._add(self.external, _MARK)
            self._add(self.external, f"goto {self.service}")
            return
        # Pods and processes of this node are not external: they may use every endpoint.
        if self.config.cluster_cidr:
            source = f"{self.ip} saddr {self.config.cluster_cidr}"
            comment = 'comment "short-circuit pod traffic"'
            self._add(self.external, f"{source} goto {self.service} {comment}")
        local = "fib saddr type local"
        self._add(self.external, f'{local} {_MARK} comment "masquerade local traffic"')
        comment = 'comment "short-circuit local traffic"'
        self._add(self.external, f"{local} goto {self.service} {comment}")
        if self.usable.local:
            self._add(self.external, f"goto {self.local}")

    def _firewall_chain(self) -> None:
        port = self.port
        if not (self.usable.anywhere and port.load_balancer_vips and port.source_ranges):
            return
        allowed = list(port.source_ranges)
        # Where a VIP is also a local address, this node's own packets to it carry it as their source.
        if any(self.config.node_ip in network for network in allowed):
            allowed += [
                interface_of(ip, ip.max_prefixlen).network for ip in port.load_balancer_vips
            ]
        self._add(self.firewall, f"{self.ip} saddr != {networks(allowed)} drop")

    def _endpoints(self) -> None:
        for endpoint in self.usable.reachable:
            base = self.bases[endpoint.address]
            chain = Prefix.ENDPOINT + base
            # A pod that reaches itself must see another source, or it answers itself without un-DNAT.
            self._add(chain, f"{self.ip} saddr {endpoint.ip} {_MARK}")
            if self.port.affinity_seconds:
                self.affinity[Prefix.AFFINITY + base] = self.port.affinity_seconds
                self._add(chain, f"update @{Prefix.AFFINITY}{base} {{ {self.ip} saddr }}")
            self._add(chain, f"meta l4proto {self.protocol} dnat to {endpoint.address}")

    def _refuse(self, ip: Address, *, local: bool) -> None:
        self.elements[Map.NO_ENDPOINT_SERVICES, self._key(ip)] = self._refusal(local)

    def _refusal(self, local: bool) -> str:
        """Refused at once when nobody serves, silently dropped when only other nodes do."""
        verdict = "drop" if local and self.usable.anywhere else f"goto {Chain.REJECT}"
        return f' comment "{self.name}" : {verdict}'

    def _key(self, ip: Address) -> str:
        return f"{ip} . {self.protocol} . {self.port.port}"

    def _add(self, chain: str, rule: str) -> None:
        self.chains.setdefault(chain, []).append(rule)


def networks(found: Sequence[Network]) -> str:
    """Networks of one family as an anonymous set, in the kernel's order; one alone needs no set.

    Overlapping intervals are an error in a set, and adjacent ones come back from the kernel as one.
    """
    four = sorted(collapse_addresses(it for it in found if isinstance(it, IPv4Network)))
    six = sorted(collapse_addresses(it for it in found if isinstance(it, IPv6Network)))
    merged: tuple[Network, ...] = (*four, *six)
    texts = [
        str(it.network_address) if it.prefixlen == it.max_prefixlen else str(it) for it in merged
    ]
    return texts[0] if len(texts) == 1 else f"{{ {', '.join(texts)} }}"

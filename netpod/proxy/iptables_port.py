"""Rules of one service port in iptables mode (pure). The numbered steps are in the order in which upstream writes them.

Source: kubernetes pkg/proxy/iptables/proxier.go, syncProxyRules and writeServiceToEndpointRules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from netpod.ip import Family
from netpod.proxy import names
from netpod.proxy.config import ProxyConfig
from netpod.proxy.model import Endpoint, ServicePort
from netpod.proxy.names import Chain, Prefix
from netpod.proxy.restore import Rules
from netpod.proxy.topology import Categories

_REJECT = {
    Family.IPV4: "REJECT --reject-with icmp-port-unreachable",
    Family.IPV6: "REJECT --reject-with icmp6-port-unreachable",
}
_ONE = {Family.IPV4: "255.255.255.255", Family.IPV6: ":".join(["ffff"] * 8)}
"""The mask of a single address."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortRules:
    """What one service port adds to the ruleset.

    Attributes:
        chains: The chains of table nat that belong to it alone.
        shared: Its rules in chains it shares with other ports, by (table, chain).
    """

    chains: Mapping[str, Rules]
    shared: Mapping[tuple[str, Chain], Rules]


def compile_port(
    port: ServicePort, usable: Categories, config: ProxyConfig, *, large: bool = False
) -> PortRules:
    """Compile one service port whose usable endpoints are known.

    Args:
        port: The service port.
        usable: Its endpoints, categorized for this node.
        config: This node's settings.
        large: Leave out the comments of rules that choose and reach endpoints.
    """
    return _Port(port, usable, config, large).rules()


class _Port:
    """One compilation."""

    def __init__(
        self, port: ServicePort, usable: Categories, config: ProxyConfig, large: bool
    ) -> None:
        self.port = port
        self.usable = usable
        self.config = config
        self.large = large
        self.family = config.family
        self.name = str(port.name)
        self.protocol = port.name.protocol.lower()
        key = names.service_hash(port.name)
        self.svc = Prefix.SERVICE + key
        self.svl = Prefix.LOCAL + key
        self.ext = Prefix.EXTERNAL + key
        self.fw = Prefix.FIREWALL + key
        self.internal = self.svl if port.internal_policy_local else self.svc
        self.external = self.svl if port.external_policy_local else self.svc
        here = bool(usable.local)
        self.has_internal = usable.anywhere and (here or not port.internal_policy_local)
        self.has_external = usable.anywhere and (here or not port.external_policy_local)
        self.chains: dict[str, list[str]] = {}
        self.shared: dict[tuple[str, Chain], list[str]] = {}

    def rules(self) -> PortRules:
        self._cluster_ip()
        self._external_ips()
        self._load_balancer()
        self._node_port()
        self._health_check()
        self._capture_internal()
        self._external_chain()
        self._firewall_chain()
        self._balance(self.svc, self.usable.cluster)
        self._balance(self.svl, self.usable.local)
        self._endpoints()
        return PortRules(
            chains={chain: tuple(rules) for chain, rules in self.chains.items()},
            shared={chain: tuple(rules) for chain, rules in self.shared.items()},
        )

    # 1
    def _cluster_ip(self) -> None:
        if self.has_internal:
            match = self._match(self.port.cluster_ip, f"{self.name} cluster IP")
            self._share("nat", Chain.SERVICES, f"{match} -j {self.internal}")
        else:
            comment, target = self._refusal(self.port.internal_policy_local)
            match = self._match(self.port.cluster_ip, comment)
            self._share("filter", Chain.SERVICES, f"{match} -j {target}")

    # 2
    def _external_ips(self) -> None:
        for ip in self.port.external_ips:
            if self.usable.anywhere:
                match = self._match(ip, f"{self.name} external IP")
                self._share("nat", Chain.SERVICES, f"{match} -j {self.ext}")
            self._refuse_external(ip)

    # 3
    def _load_balancer(self) -> None:
        for ip in self.port.load_balancer_vips:
            if self.usable.anywhere:
                target = self.fw if self.port.source_ranges else self.ext
                match = self._match(ip, f"{self.name} loadbalancer IP")
                self._share("nat", Chain.SERVICES, f"{match} -j {target}")
                if self.port.source_ranges:
                    match = self._match(ip, f"{self.name} traffic not accepted by {self.fw}")
                    self._share("filter", Chain.PROXY_FIREWALL, f"{match} -j DROP")
            self._refuse_external(ip)

    # 4
    def _node_port(self) -> None:
        if not self.port.node_port:
            return
        tail = f"-m {self.protocol} --dport {self.port.node_port}"
        if self.usable.anywhere:
            rule = f'-p {self.protocol} -m comment --comment "{self.name}" {tail} -j {self.ext}'
            self._share("nat", Chain.NODEPORTS, rule)
        if not self.has_external:
            comment, target = self._refusal(self.port.external_policy_local)
            rule = (
                f'-p {self.protocol} -m comment --comment "{comment}" '
                f"-m addrtype --dst-type LOCAL {tail} -j {target}"
            )
            self._share("filter", Chain.EXTERNAL_SERVICES, rule)

    # 5
    def _health_check(self) -> None:
        if self.port.health_check_node_port:
            rule = (
                f'-p tcp -m comment --comment "{self.name} health check node port" '
                f"-m tcp --dport {self.port.health_check_node_port} -j ACCEPT"
            )
            self._share("filter", Chain.NODEPORTS, rule)

    # 6
    def _capture_internal(self) -> None:
        cidr = self.config.cluster_cidr
        if not self.has_internal or not (self.config.masquerade_all or cidr):
            return
        source = "" if self.config.masquerade_all else f"! -s {cidr} "
        match = self._match(self.port.cluster_ip, f"{self.name} cluster IP")
        self._add(self.internal, f"{source}{match} -j {Chain.MARK_MASQ}")

    # 7
    def _external_chain(self) -> None:
        if not (self.usable.anywhere and self.port.externally_accessible):
            return
        what = f"{self.name} external destinations"
        self.chains.setdefault(self.ext, [])
        if not self.port.external_policy_local:
            comment = f'-m comment --comment "masquerade traffic for {what}"'
            self._add(self.ext, f"{comment} -j {Chain.MARK_MASQ}")
        else:
            # Pods and processes of this node are not external: they may use every endpoint.
            if self.config.cluster_cidr:
                comment = f'-m comment --comment "pod traffic for {what}"'
                self._add(self.ext, f"-s {self.config.cluster_cidr} {comment} -j {self.svc}")
            local = "-m addrtype --src-type LOCAL"
            comment = f'-m comment --comment "masquerade LOCAL traffic for {what}"'
            self._add(self.ext, f"{comment} {local} -j {Chain.MARK_MASQ}")
            comment = f'-m comment --comment "route LOCAL traffic for {what}"'
            self._add(self.ext, f"{comment} {local} -j {self.svc}")
        if self.has_external:
            self._add(self.ext, f"-j {self.external}")

    # 8
    def _firewall_chain(self) -> None:
        port = self.port
        if not (self.usable.anywhere and port.load_balancer_vips and port.source_ranges):
            return
        comment = f'-m comment --comment "{self.name} loadbalancer IP"'
        for network in port.source_ranges:
            self._add(self.fw, f"-s {network} {comment} -j {self.ext}")
        # Where a VIP is also a local address, this node's own packets to it carry it as their source.
        if any(self.config.node_ip in network for network in port.source_ranges):
            for ip in port.load_balancer_vips:
                self._add(self.fw, f"-s {self._host(ip)} {comment} -j {self.ext}")
        other = f"other traffic to {self.name} will be dropped by {Chain.PROXY_FIREWALL}"
        self._add(self.fw, f'-m comment --comment "{other}"')

    # 9
    def _balance(self, chain: str, endpoints: tuple[Endpoint, ...]) -> None:
        targets = [(self._sep(endpoint), self._arrow(endpoint)) for endpoint in endpoints]
        if self.port.affinity_seconds:
            for sep, comment in targets:
                self._add(
                    chain,
                    f"{comment}-m recent --rcheck --seconds {self.port.affinity_seconds} --reap "
                    f"--name {sep} --mask {_ONE[self.family]} --rsource -j {sep}",
                )
        for index, (sep, comment) in enumerate(targets):
            left = len(targets) - index
            chance = f"-m statistic --mode random --probability {probability(left)} "
            self._add(chain, f"{comment}{chance if left > 1 else ''}-j {sep}")

    # 10
    def _endpoints(self) -> None:
        comment = "" if self.large else f'-m comment --comment "{self.name}" '
        for endpoint in self.usable.reachable:
            sep = self._sep(endpoint)
            affinity = (
                f"-m recent --set --name {sep} --mask {_ONE[self.family]} --rsource "
                if self.port.affinity_seconds
                else ""
            )
            # A pod that reaches itself must see another source, or it answers itself without un-DNAT.
            self._add(sep, f"-s {self._host(endpoint.ip)} {comment}-j {Chain.MARK_MASQ}")
            self._add(
                sep,
                f"-p {self.protocol} {comment}{affinity}-m {self.protocol} "
                f"-j DNAT --to-destination {endpoint.address}",
            )

    def _refuse_external(self, ip: object) -> None:
        if not self.has_external:
            comment, target = self._refusal(self.port.external_policy_local)
            match = self._match(ip, comment)
            self._share("filter", Chain.EXTERNAL_SERVICES, f"{match} -j {target}")

    def _refusal(self, local: bool) -> tuple[str, str]:
        """Comment and target: refused at once when nobody serves, silently dropped when only other nodes do."""
        if local and self.usable.anywhere:
            return f"{self.name} has no local endpoints", "DROP"
        return f"{self.name} has no endpoints", _REJECT[self.family]

    def _match(self, ip: object, comment: str) -> str:
        return (
            f'-d {self._host(ip)} -p {self.protocol} -m comment --comment "{comment}" '
            f"-m {self.protocol} --dport {self.port.port}"
        )

    def _host(self, ip: object) -> str:
        return f"{ip}/{self.family.bits}"

    def _sep(self, endpoint: Endpoint) -> str:
        return names.endpoint_chain(self.port.name, endpoint.address)

    def _arrow(self, endpoint: Endpoint) -> str:
        return "" if self.large else f'-m comment --comment "{self.name} -> {endpoint.address}" '

    def _add(self, chain: str, rule: str) -> None:
        self.chains.setdefault(chain, []).append(f"-A {chain} {rule}")

    def _share(self, table: str, chain: Chain, rule: str) -> None:
        self.shared.setdefault((table, chain), []).append(f"-A {chain} {rule}")


@lru_cache(maxsize=4096)
def probability(left: int) -> str:
    """Chance of the first of `left` endpoints as the kernel keeps it and iptables-save prints it.

    Upstream hands over ten decimals; the kernel stores 31 bits of them, which come back as eleven decimals.
    """
    stored = round(float(f"{1 / left:.10f}") * (1 << 31))
    return f"{stored / (1 << 31):.11f}"

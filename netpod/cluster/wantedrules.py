"""The rules a node should have by what the API says now, and how the kernel's differ."""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from netpod.api import codec
from netpod.api.discovery import EndpointSlice
from netpod.api.node import Node
from netpod.api.service import Service
from netpod.client.blocking import BlockingClient
from netpod.cluster import ipvsrules
from netpod.cluster.rules import Found
from netpod.cluster.rulevalues import Chain
from netpod.linux import sysctl
from netpod.linux.iptables import Counted
from netpod.proxy import iptables, ipvs_compiled, ipvs_kernel, ipvs_rules, model, nftables
from netpod.proxy.config import Mode, ProxyConfig
from netpod.proxy.restore import Rules
from netpod.proxy.sync import LABEL_ZONE, SERVICES, SLICES


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One rule that is in one of two lists of chains.

    Attributes:
        sign: "-" for a rule only the first list has, "+" for one only the second has.
        table: Where it stands.
        chain: Where it stands.
        rule: Its text.
    """

    sign: str
    table: str
    chain: str
    rule: str


def wanted(client: BlockingClient, config: ProxyConfig, modes: set[Mode]) -> Found:
    """Compile what the API says now, for the modes a node is in; counters are 0.

    Args:
        client: Where Services and slices are read.
        config: What the node's proxy was told.
        modes: Which modes have rules there.
    """
    services = observe_services(client)
    slices = _all(client, "/apis/discovery.k8s.io/v1/endpointslices", EndpointSlice, SLICES)
    node = codec.decode(Node, client.request("GET", f"/api/v1/nodes/{config.node_name}"))
    zone = node.metadata.labels.get(LABEL_ZONE, "")
    built = model.build(services, slices, config.node_name, config.family)
    counted: list[Counted] = []
    if Mode.IPTABLES in modes:
        counted += _counted(iptables.compile(built, config, zone=zone), iptables.JUMPS)
    state = None
    if Mode.IPVS in modes:
        nodes, own = ipvs_kernel.node_addresses(config)
        desired = ipvs_compiled.compile(built, config, zone=zone, nodes=nodes, own=own)
        counted += _counted(desired.rules, ipvs_rules.JUMPS)
        state = ipvsrules.expected(desired, config.family)
    table = nftables.compile(built, config, zone=zone) if Mode.NFTABLES in modes else None
    return Found(counted=counted, table=table, ipvs=state)


def observe_services(client: BlockingClient) -> list[Service]:
    """The Services that a proxy follows."""
    return _all(client, "/api/v1/services", Service, SERVICES)


def _counted(
    compiled: Mapping[str, Mapping[str, Rules]], jumps: Iterable[tuple[str, str]]
) -> list[Counted]:
    """Rules and the jumps to them, which stand before others; nothing was counted."""
    tables = {table: dict(chains) for table, chains in compiled.items()}
    for table, rule in jumps:
        chain = rule.split(" ", 2)[1]
        tables[table][chain] = (rule, *tables[table].get(chain, ()))
    return [
        Counted(
            table=table,
            chain=chain,
            position=position,
            rule=rule.split(" ", 2)[2],
            packets=0,
            bytes=0,
        )
        for table, chains in tables.items()
        for chain, rules in chains.items()
        for position, rule in enumerate(rules, 1)
    ]


def liberal(netns: str) -> bool:
    """Whether conntrack there calls few packets invalid; the proxy looked at it when it started."""
    return sysctl.read(netns, "net.netfilter.nf_conntrack_tcp_be_liberal") != "0"


def difference(before: Sequence[Chain], after: Sequence[Chain]) -> list[Line]:
    """Rules that only one of two lists of chains has, chain by chain, in order (pure)."""
    old = {(chain.table, chain.name): [r.rule for r in chain.rules] for chain in before}
    new = {(chain.table, chain.name): [r.rule for r in chain.rules] for chain in after}
    found: list[Line] = []
    for table, chain in {**old, **new}:
        a, b = old.get((table, chain), []), new.get((table, chain), [])
        for operation, i, k, m, n in difflib.SequenceMatcher(None, a, b, False).get_opcodes():
            if operation != "equal":
                found += [Line(sign="-", table=table, chain=chain, rule=r) for r in a[i:k]]
                found += [Line(sign="+", table=table, chain=chain, rule=r) for r in b[m:n]]
    return found


def _all(client: BlockingClient, path: str, cls: type[Any], selector: str) -> list[Any]:
    listed = client.request("GET", path, query={"labelSelector": selector})
    return [codec.decode(cls, item) for item in listed["items"]]

"""kube-proxy's rules of the lab's nodes in each mode, and somebody else's walls in that mode's own words."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address, ip_network

import pytest

from netpod.ip import Family
from netpod.linux import nft, process
from netpod.proxy import model, nftables_compiled, nftables_names, nftables_table, variants
from netpod.proxy.compiled import Compiled
from netpod.proxy.config import ProxyConfig, Variant
from netpod.trace.objects import ClusterObjects
from tests.kernel.trace.plan import FOUR, SIX, Plan

MODES = ("iptables", "legacy", "nftables")
EVERY = [
    *(pytest.param((mode, FOUR), id=mode) for mode in MODES),
    *(pytest.param((mode, SIX), id=f"{mode}-ipv6") for mode in MODES),
]
"""Each mode in each family: for what rules say and do."""
ONCE, OLD, BOTH = EVERY[:4], EVERY[:3], [EVERY[0], EVERY[3]]
"""IPv6 in one mode only, for what is no matter of rules; IPv4 alone; and each family in one mode."""


def config(node: str, plan: Plan, variant: Variant = Variant.NFT) -> ProxyConfig:
    """Configuration of one node's proxy."""
    return ProxyConfig(
        cluster="lab",
        node_name=node,
        node_ip=ip_address(plan.nodes[node]),
        cluster_cidr=ip_network(plan.cluster),
        iptables_variant=variant,
    )


def program(mode: str, inside: str, node: str, plan: Plan, objects: ClusterObjects) -> None:
    """Make one node's rules of a family say what the objects say."""
    family = plan.family
    wanted = model.build(objects.services, objects.endpoint_slices, node, family)
    if mode == "nftables":
        native = nftables_compiled.Compiled(config(node, plan))
        native.rebuild(wanted)
        clear(mode, inside, family)
        table = nftables_names.table_of(family)
        for text in nftables_table.transactions(native.against(None), table):
            nft.apply(inside, text)
        return
    variant = Variant.LEGACY if mode == "legacy" else Variant.NFT
    compiled = Compiled(config(node, plan, variant))
    compiled.rebuild(wanted)
    there = variants.observe(variant, inside, family=family)
    variants.hand_over(variant, inside, compiled.against(there), family=family)


def clear(mode: str, inside: str, family: Family) -> None:
    """Take a mode's rules out of a node."""
    if mode == "nftables":
        table = f"table {family.nft} kube-proxy"
        nft.apply(inside, f"{table}\ndelete {table}\n")
        return
    tool = tool_of(mode, family)
    for table in ("nat", "filter", "mangle"):
        process.run([tool, "-t", table, "-F"], netns=inside)
        process.run([tool, "-t", table, "-X"], netns=inside)


def tool_of(mode: str, family: Family) -> str:
    """The iptables program of a mode and family."""
    name = "ip6tables" if family is Family.IPV6 else "iptables"
    return f"{name}-legacy" if mode == "legacy" else name


@contextmanager
def wall(
    mode: str, inside: str, *, port: int, verdict: str, family: Family = Family.IPV4
) -> Iterator[None]:
    """A rule of somebody else in chain FORWARD that stops TCP to a port.

    Args:
        mode: In its words.
        inside: Namespace.
        port: Destination port.
        verdict: DROP or REJECT.
        family: Of the packets.
    """
    name = f"{family.nft} wall"
    if mode == "nftables":
        hook = "type filter hook forward priority 0;"
        rule = f"tcp dport {port} {verdict.lower()}"
        nft.apply(inside, f"table {name} {{ chain FORWARD {{ {hook} {rule}\n }}\n}}\n")
        undo = lambda: nft.apply(inside, f"delete table {name}")  # noqa: E731
    else:
        words = ["FORWARD", "-p", "tcp", "--dport", str(port), "-j", verdict]
        tool = tool_of(mode, family)
        process.run([tool, "-I", *words], netns=inside)
        undo = lambda: process.run([tool, "-D", *words], netns=inside)  # noqa: E731
    try:
        yield
    finally:
        undo()


@contextmanager
def closed(mode: str, inside: str, family: Family = Family.IPV4) -> Iterator[None]:
    """Chain FORWARD with the policy DROP."""
    name = f"{family.nft} wall"
    if mode == "nftables":
        hook = "type filter hook forward priority 0; policy drop;"
        nft.apply(inside, f"table {name} {{ chain FORWARD {{ {hook}\n }}\n}}\n")
        undo = lambda: nft.apply(inside, f"delete table {name}")  # noqa: E731
    else:
        tool = tool_of(mode, family)
        process.run([tool, "-P", "FORWARD", "DROP"], netns=inside)
        undo = lambda: process.run([tool, "-P", "FORWARD", "ACCEPT"], netns=inside)  # noqa: E731
    try:
        yield
    finally:
        undo()

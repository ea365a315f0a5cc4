"""kube-proxy's rules of the lab's nodes in each mode, and somebody else's walls in that mode's own words."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

from netpod.linux import nft, process
from netpod.proxy import model, nftables_compiled, nftables_table, variants
from netpod.proxy.compiled import Compiled
from netpod.proxy.config import ProxyConfig, Variant
from netpod.trace.objects import ClusterObjects

MODES = ("iptables", "legacy", "nftables")
CLUSTER_CIDR = IPv4Network("10.244.0.0/16")


def config(node: str, address: str, variant: Variant = Variant.NFT) -> ProxyConfig:
    """Configuration of one node's proxy."""
    return ProxyConfig(
        cluster="lab",
        node_name=node,
        node_ip=IPv4Address(address),
        cluster_cidr=CLUSTER_CIDR,
        iptables_variant=variant,
    )


def program(mode: str, inside: str, node: str, address: str, objects: ClusterObjects) -> None:
    """Make one node's rules say what the objects say."""
    wanted = model.build(objects.services, objects.endpoint_slices, node)
    if mode == "nftables":
        native = nftables_compiled.Compiled(config(node, address))
        native.rebuild(wanted)
        clear(mode, inside)
        for text in nftables_table.transactions(native.against(None)):
            nft.apply(inside, text)
        return
    variant = Variant.LEGACY if mode == "legacy" else Variant.NFT
    compiled = Compiled(config(node, address, variant))
    compiled.rebuild(wanted)
    variants.hand_over(variant, inside, compiled.against(variants.observe(variant, inside)))


def clear(mode: str, inside: str) -> None:
    """Take a mode's rules out of a node."""
    if mode == "nftables":
        nft.apply(inside, "table ip kube-proxy\ndelete table ip kube-proxy\n")
        return
    tool = tool_of(mode)
    for table in ("nat", "filter", "mangle"):
        process.run([tool, "-t", table, "-F"], netns=inside)
        process.run([tool, "-t", table, "-X"], netns=inside)


def tool_of(mode: str) -> str:
    """The iptables program of a mode."""
    return "iptables-legacy" if mode == "legacy" else "iptables"


@contextmanager
def wall(mode: str, inside: str, *, port: int, verdict: str) -> Iterator[None]:
    """A rule of somebody else in chain FORWARD that stops TCP to a port.

    Args:
        mode: In its words.
        inside: Namespace.
        port: Destination port.
        verdict: DROP or REJECT.
    """
    if mode == "nftables":
        hook = "type filter hook forward priority 0;"
        rule = f"tcp dport {port} {verdict.lower()}"
        nft.apply(inside, f"table ip wall {{ chain FORWARD {{ {hook} {rule}\n }}\n}}\n")
        undo = lambda: nft.apply(inside, "delete table ip wall")  # noqa: E731
    else:
        words = ["FORWARD", "-p", "tcp", "--dport", str(port), "-j", verdict]
        tool = tool_of(mode)
        process.run([tool, "-I", *words], netns=inside)
        undo = lambda: process.run([tool, "-D", *words], netns=inside)  # noqa: E731
    try:
        yield
    finally:
        undo()


@contextmanager
def closed(mode: str, inside: str) -> Iterator[None]:
    """Chain FORWARD with the policy DROP."""
    if mode == "nftables":
        hook = "type filter hook forward priority 0; policy drop;"
        nft.apply(inside, f"table ip wall {{ chain FORWARD {{ {hook}\n }}\n}}\n")
        undo = lambda: nft.apply(inside, "delete table ip wall")  # noqa: E731
    else:
        tool = tool_of(mode)
        process.run([tool, "-P", "FORWARD", "DROP"], netns=inside)
        undo = lambda: process.run([tool, "-P", "FORWARD", "ACCEPT"], netns=inside)  # noqa: E731
    try:
        yield
    finally:
        undo()

"""Pods to the world: what leaves the cluster's pod addresses takes the node's address.

The chain, its rules and their order are flannel's, so it reads as on any flannel cluster. It stands beside kube-proxy's
KUBE-POSTROUTING: packets that carry kube-proxy's mark are left to that.

Source: flannel pkg/trafficmngr/iptables, masqRules.
"""

from netpod.ip import Family, Network, family_of
from netpod.linux import iptables

CHAIN = "FLANNEL-POSTRTG"
KUBE_PROXY_MARK = "0x4000/0x4000"

_COMMENT = '-m comment --comment "flanneld masq"'
_MULTICAST = {Family.IPV4: "224.0.0.0/4", Family.IPV6: "ff00::/8"}
JUMPS = {"POSTROUTING": f"{_COMMENT} -j {CHAIN}"}


def compile(pod_cidr: Network, cluster_cidr: Network) -> str:
    """Rules of the chain as iptables-restore text, without the jump to it.

    Args:
        pod_cidr: This node's share, e.g. 10.244.1.0/24.
        cluster_cidr: All pods' addresses, e.g. 10.244.0.0/16.
    """
    multicast = _MULTICAST[family_of(pod_cidr)]
    matches = [
        f"-m mark --mark {KUBE_PROXY_MARK} {_COMMENT} -j RETURN",
        f"-s {pod_cidr} -d {cluster_cidr} {_COMMENT} -j RETURN",
        f"-s {cluster_cidr} -d {pod_cidr} {_COMMENT} -j RETURN",
        # To this node's pods from outside: the client's address is theirs to see.
        f"! -s {cluster_cidr} -d {pod_cidr} {_COMMENT} -j RETURN",
        f"-s {cluster_cidr} ! -d {multicast} {_COMMENT} -j MASQUERADE --random-fully",
        f"! -s {cluster_cidr} -d {cluster_cidr} {_COMMENT} -j MASQUERADE --random-fully",
    ]
    rules = [f"-A {CHAIN} {match}" for match in matches]
    return "\n".join(["*nat", f":{CHAIN} - [0:0]", *rules, "COMMIT", ""])


def apply(netns: str, pod_cidr: Network, cluster_cidr: Network, *, legacy: bool = False) -> None:
    """Hand the chain to the kernel and jump to it from POSTROUTING; repeating it changes nothing.

    Args:
        netns: The node's; "" is the one this process is in.
        pod_cidr: See `compile`.
        cluster_cidr: See `compile`.
        legacy: Whether the cluster's iptables is the other variant.

    Raises:
        CommandFailed: iptables-restore refused; nothing was changed.
        Unsupported: iptables is not installed.
    """
    family = family_of(pod_cidr)
    saved = iptables.parse_save(iptables.save(netns, "nat", legacy=legacy, family=family))
    jumps = iptables.missing_jumps(saved, "nat", JUMPS)
    body = compile(pod_cidr, cluster_cidr).removesuffix("COMMIT\n")
    text = body + "".join(f"{jump}\n" for jump in jumps) + "COMMIT\n"
    iptables.restore(netns, text, family=family, legacy=legacy)

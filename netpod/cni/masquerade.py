"""Pods to the world: what leaves the cluster's pod addresses takes the node's address.

The chain, its rules and their order are flannel's, so it reads as on any flannel cluster. It stands beside kube-proxy's
KUBE-POSTROUTING: packets that carry kube-proxy's mark are left to that.

Source: flannel pkg/trafficmngr/iptables, masqRules.
"""

import ipaddress

from netpod.linux import iptables

CHAIN = "FLANNEL-POSTRTG"
KUBE_PROXY_MARK = "0x4000/0x4000"

_COMMENT = '-m comment --comment "flanneld masq"'
JUMPS = {"POSTROUTING": f"{_COMMENT} -j {CHAIN}"}


def compile(pod_cidr: ipaddress.IPv4Network, cluster_cidr: ipaddress.IPv4Network) -> str:
    """Rules of the chain as iptables-restore text, without the jump to it.

    Args:
        pod_cidr: This node's share, e.g. 10.244.1.0/24.
        cluster_cidr: All pods' addresses, e.g. 10.244.0.0/16.
    """
    matches = [
        f"-m mark --mark {KUBE_PROXY_MARK} {_COMMENT} -j RETURN",
        f"-s {pod_cidr} -d {cluster_cidr} {_COMMENT} -j RETURN",
        f"-s {cluster_cidr} -d {pod_cidr} {_COMMENT} -j RETURN",
        # To this node's pods from outside: the client's address is theirs to see.
        f"! -s {cluster_cidr} -d {pod_cidr} {_COMMENT} -j RETURN",
        f"-s {cluster_cidr} ! -d 224.0.0.0/4 {_COMMENT} -j MASQUERADE --random-fully",
        f"! -s {cluster_cidr} -d {cluster_cidr} {_COMMENT} -j MASQUERADE --random-fully",
    ]
    rules = [f"-A {CHAIN} {match}" for match in matches]
    return "\n".join(["*nat", f":{CHAIN} - [0:0]", *rules, "COMMIT", ""])


def apply(netns: str, pod_cidr: ipaddress.IPv4Network, cluster_cidr: ipaddress.IPv4Network) -> None:
    """Hand the chain to the kernel and jump to it from POSTROUTING; repeating it changes nothing.

    Raises:
        CommandFailed: iptables-restore refused; nothing was changed.
        Unsupported: iptables is not installed.
    """
    saved = iptables.parse_save(iptables.save(netns, "nat"))
    jumps = iptables.missing_jumps(saved, "nat", JUMPS)
    body = compile(pod_cidr, cluster_cidr).removesuffix("COMMIT\n")
    iptables.restore(netns, body + "".join(f"{jump}\n" for jump in jumps) + "COMMIT\n")

"""hostPort: a port of the node that leads to one of its pods.

All of a node's hostPorts are compiled and handed over at once; chains of pods that are gone go with the same hand-over.
Names, marks and order are the CNI portmap plugin's. Source: CNI plugins/meta/portmap/portmap_iptables.go.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from netpod.ip import Address, Family, Interface, family_of, host_port
from netpod.linux import iptables

NETWORK = "cbr0"
"""Name of the network in chain names and comments, as on a flannel cluster."""

DNAT = "CNI-HOSTPORT-DNAT"
SETMARK = "CNI-HOSTPORT-SETMARK"
MASQ = "CNI-HOSTPORT-MASQ"
MARK = "0x2000/0x2000"
POD_CHAIN = "CNI-DN-"

JUMPS = {
    "PREROUTING": f"-m addrtype --dst-type LOCAL -j {DNAT}",
    "OUTPUT": f"-m addrtype --dst-type LOCAL -j {DNAT}",
    "POSTROUTING": f'-m comment --comment "CNI portfwd requiring masquerade" -j {MASQ}',
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PortMapping:
    """One hostPort of one pod.

    Attributes:
        owner: The pod, `PodNetwork.owner`.
        pod_ip: Its address with the pod CIDR's prefix length.
        host_port: Port of the node.
        container_port: Port of the pod.
        protocol: "tcp", "udp" or "sctp".
        host_ip: The only address of the node it is served on; None is all.
    """

    owner: str
    pod_ip: Interface
    host_port: int
    container_port: int
    protocol: str = "tcp"
    host_ip: Address | None = None


def chain_of(owner: str) -> str:
    """A pod's chain. Source: CNI plugins/pkg/utils, MustFormatChainNameWithPrefix."""
    digest = hashlib.sha512(f"{NETWORK}{owner}".encode()).hexdigest()
    return (POD_CHAIN + digest)[:28]


def compile(mappings: Iterable[PortMapping], saved: Mapping[str, Mapping[str, list[str]]]) -> str:
    """Everything about hostPorts as iptables-restore text.

    Args:
        mappings: All of the node's, of one family.
        saved: The nat table as it is (`iptables.parse_save`), for stale chains and jumps that are there.

    Returns:
        Text for `iptables.restore`; "" when there is no hostPort and never was.
    """
    pods: dict[str, list[PortMapping]] = {}
    for mapping in sorted(mappings, key=lambda it: (it.owner, it.protocol, it.host_port)):
        pods.setdefault(mapping.owner, []).append(mapping)
    chains = saved.get("nat", {})
    if not pods and DNAT not in chains:
        return ""
    wanted = {chain_of(owner) for owner in pods}
    stale = sorted(it for it in chains if it.startswith(POD_CHAIN) and it not in wanted)
    lines = ["*nat"]
    lines += [f":{chain} - [0:0]" for chain in (DNAT, SETMARK, MASQ, *sorted(wanted), *stale)]
    lines += iptables.missing_jumps(saved, "nat", JUMPS)
    lines.append(
        f'-A {SETMARK} -m comment --comment "CNI portfwd masquerade mark" -j MARK --set-xmark {MARK}'
    )
    lines.append(f"-A {MASQ} -m mark --mark {MARK} -j MASQUERADE")
    for owner, ports in pods.items():
        lines += _pod_rules(owner, ports)
    lines += [f"-X {chain}" for chain in stale]
    return "\n".join([*lines, "COMMIT", ""])


def apply(
    netns: str,
    mappings: Iterable[PortMapping],
    *,
    families: Collection[Family] = (Family.IPV4,),
    legacy: bool = False,
) -> None:
    """Make the node's hostPorts of these families exactly these; repeating it changes nothing.

    Args:
        netns: The node's; "" is the one this process is in.
        mappings: All of the node's.
        families: Whose rules.
        legacy: Whether the cluster's iptables is the other variant.

    Raises:
        CommandFailed: iptables-restore refused; nothing was changed.
        Unsupported: iptables is not installed.
    """
    everything = tuple(mappings)
    for family in families:
        own = [it for it in everything if family_of(it.pod_ip) is family]
        saved = iptables.parse_save(iptables.save(netns, "nat", legacy=legacy, family=family))
        if text := compile(own, saved):
            iptables.restore(netns, text, family=family, legacy=legacy)


def _pod_rules(owner: str, ports: list[PortMapping]) -> list[str]:
    chain = chain_of(owner)
    comment = f'-m comment --comment "dnat name: \\"{NETWORK}\\" id: \\"{owner}\\""'
    lines = []
    for protocol in sorted({it.protocol for it in ports}):
        numbers = sorted({it.host_port for it in ports if it.protocol == protocol})
        # multiport takes at most 15 ports.
        for start in range(0, len(numbers), 15):
            group = ",".join(map(str, numbers[start : start + 15]))
            lines.append(
                f"-A {DNAT} -p {protocol} {comment} -m multiport --dports {group} -j {chain}"
            )
    for port in ports:
        here = f"-d {port.host_ip} " if port.host_ip else ""
        match = f"{here}-p {port.protocol} -m {port.protocol} --dport {port.host_port}"
        # From a pod of this node and from the node's loopback the answer must come back through the node.
        lines.append(f"-A {chain} -s {port.pod_ip.network} {match} -j {SETMARK}")
        if port.pod_ip.version == 4:
            # The kernel routes nothing from ::1, so there is no such rule for IPv6.
            lines.append(f"-A {chain} -s 127.0.0.1/32 {match} -j {SETMARK}")
        target = host_port(port.pod_ip.ip, port.container_port)
        lines.append(f"-A {chain} {match} -j DNAT --to-destination {target}")
    return lines

"""Virtual servers, bound addresses, ipsets and helper rules of IPVS mode, and their text (pure).

    PREROUTING, OUTPUT -> KUBE-SERVICES: which packets are masqueraded later, by ipset
    INPUT -> IPVS: the address is on kube-ipvs0, so the packet is local; the virtual server sends it to a real one
    POSTROUTING -> KUBE-POSTROUTING: hairpin (KUBE-LOOP-BACK) and marked packets

Where traffic policy Local finds no endpoint on this node, the cluster's serve: unlike in the other modes nothing is
dropped. ipvs_port.py compiles one service port, ipvs_compiled.py puts them together.
Source: kubernetes pkg/proxy/ipvs/proxier.go, ipset.go, netlink_linux.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from netpod.ip import Address
from netpod.proxy import ipvs_rules
from netpod.proxy.ipvs_port import RealServer, VirtualServer
from netpod.proxy.ipvs_rules import Set
from netpod.proxy.restore import Rules, save_text

DUMMY = "kube-ipvs0"
"""The link that makes every service address local; it is down and answers no ARP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipvs:
    """Everything of one node.

    Attributes:
        servers: Real servers by virtual server.
        addresses: What is bound to kube-ipvs0, /32 each.
        sets: Members by ipset, as `ipset list` prints them.
        rules: Helper rules by chain by table, without the jumps out of the built-in chains.
    """

    servers: dict[VirtualServer, tuple[RealServer, ...]] = field(default_factory=dict)
    addresses: set[Address] = field(default_factory=set)
    sets: dict[str, set[str]] = field(default_factory=dict)
    rules: Mapping[str, Mapping[str, Rules]] = field(default_factory=dict)


def text(found: Ipvs) -> str:
    """Everything as `ipvsadm-save -n`, `ip address`, `ipset save` and `iptables-save` would print it, sorted."""
    out: list[str] = []
    options = {"tcp": "-t", "udp": "-u", "sctp": "--sctp-service"}
    for server in sorted(found.servers):
        where = f"{options[server.protocol]} {server.address}:{server.port}"
        sticky = f" -p {server.persistent}" if server.persistent else ""
        flag = f" -b {server.scheduler}-port" if server.hash_port else ""
        out.append(f"-A {where} -s {server.scheduler}{sticky}{flag}")
        for real in found.servers[server]:
            out.append(f"-a {where} -r {real.address}:{real.port} -m -w {real.weight}")
    out += [f"address add {ip}/32 dev {DUMMY}" for ip in sorted(found.addresses, key=int)]
    out.append(ipset_text(found.sets).rstrip())
    return "\n".join(out) + "\n" + save_text(found.rules)


def ipset_text(sets: Mapping[str, Iterable[str]]) -> str:
    """Input of `ipset restore` of IPv4: every set, then its members."""
    out = [f"create {name} {ipvs_rules.definition(Set(name))}" for name in sorted(sets)]
    out += [f"add {name} {member}" for name in sorted(sets) for member in sorted(sets[name])]
    return "\n".join(out) + "\n"

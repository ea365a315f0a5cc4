"""The edge in legacy iptables, for kernels without nf_tables: what edge.py says in an nftables table (pure).

    nat     PREROUTING, OUTPUT > NETPOD-LB > NETPOD-LB-HASH   VIP:port -> node:nodePort, nodes in turn
    filter  FORWARD, OUTPUT    > NETPOD-LB                    what is left for the VIP network is dropped or refused

iptables refuses only behind routing, so here the VIP network needs a route, which the edge has.
Source: iptables-extensions(8): statistic, DNAT, REJECT.
"""

import hashlib
from collections.abc import Iterator, Mapping

from netpod.cloud.edge import EdgeModel, Frontend, label, unique
from netpod.ip import Family, family_of, host_port
from netpod.linux import iptables

CHAIN = "NETPOD-LB"
JUMPS = {
    "nat": {"PREROUTING": f"-j {CHAIN}", "OUTPUT": f"-j {CHAIN}"},
    "filter": {"FORWARD": f"-j {CHAIN}", "OUTPUT": f"-j {CHAIN}"},
}
_UNREACHABLE = {
    Family.IPV4: ("icmp-port-unreachable", "icmp-host-unreachable"),
    Family.IPV6: ("icmp6-port-unreachable", "icmp6-addr-unreachable"),
}
Saved = Mapping[str, Mapping[str, list[str]]]


def chain_of(frontend: Frontend) -> str:
    """Name of a frontend's chain; its comment says whose it is."""
    place = f"{frontend.vip} {frontend.protocol} {frontend.port}"
    return f"{CHAIN}-{hashlib.sha256(place.encode()).hexdigest()[:16].upper()}"


def compile(model: EdgeModel, saved: Saved | None = None) -> str:
    """Everything as iptables-restore text; connections that are there keep their node.

    Args:
        model: What the edge balances.
        saved: The tables as they are (`iptables.parse_save`), for stale chains and jumps that are there.
    """
    found = saved or {}
    frontends = unique(model)
    served = [it for it in frontends if it.backends]
    chains = {chain_of(it) for it in served}
    stale = sorted(
        name for name in found.get("nat", {}) if name.startswith(f"{CHAIN}-") and name not in chains
    )
    out = ["*nat", *(f":{name} - [0:0]" for name in (CHAIN, *sorted(chains), *stale))]
    out += iptables.missing_jumps(found, "nat", JUMPS["nat"])
    for frontend in served:
        sources = [f"-s {it} " for it in frontend.source_ranges] or [""]
        out += [f"-A {CHAIN} {it}{_match(frontend)} -j {chain_of(frontend)}" for it in sources]
        out += _balance(frontend)
    out += [*(f"-X {name}" for name in stale), "COMMIT"]
    out += ["*filter", f":{CHAIN} - [0:0]"]
    out += iptables.missing_jumps(found, "filter", JUMPS["filter"])
    port, host = _UNREACHABLE[family_of(model.vip_cidr)]
    for frontend in frontends:
        match = f"-A {CHAIN} {_match(frontend)} -m conntrack --ctstate NEW"
        if not frontend.backends:
            out.append(f"{match} -j REJECT --reject-with {port}")
        elif frontend.source_ranges:
            # Who was allowed has another destination by now.
            out.append(f"{match} -j DROP")
    out.append(f"-A {CHAIN} -d {model.vip_cidr} -j REJECT --reject-with {host}")
    return "\n".join([*out, "COMMIT"]) + "\n"


def apply(netns: str, model: EdgeModel) -> None:
    """Hand it to the kernel of the edge; each table in one step.

    Raises:
        CommandFailed: iptables refused; that table is as it was.
        Unsupported: iptables is not installed.
    """
    family = family_of(model.vip_cidr)
    saved = iptables.parse_save(iptables.save(netns, legacy=True, family=family))
    iptables.restore(netns, compile(model, saved), family=family, legacy=True)


def _match(frontend: Frontend) -> str:
    protocol = frontend.protocol
    return (
        f"-d {frontend.vip}/{frontend.vip.max_prefixlen} -p {protocol} "
        f'-m comment --comment "{label(frontend)}" -m {protocol} --dport {frontend.port}'
    )


def _balance(frontend: Frontend) -> Iterator[str]:
    """One rule for each node: of those that come to it, it takes the first of as many as there are nodes left."""
    count = len(frontend.backends)
    for index, node in enumerate(frontend.backends):
        left = count - index
        turn = f"-m statistic --mode nth --every {left} --packet 0 " if left > 1 else ""
        yield (
            f'-A {chain_of(frontend)} -p {frontend.protocol} -m comment --comment "{label(frontend)}" '
            f"{turn}-j DNAT --to-destination {host_port(node, frontend.node_port)}"
        )

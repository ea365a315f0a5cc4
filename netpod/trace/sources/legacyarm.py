"""Arming where there is no nf_tables: the target TRACE in legacy iptables' table raw, for one flow.

It sets the same mark as nftrace.py's table does, and nflog.py hears the same messages. Only table raw may hold TRACE,
which comes before conntrack: a packet whose source port was masqueraded away is not known there, so of such a
connection only the first packet to its `doors` is traced.

Source: iptables-extensions(8) TRACE; Linux net/netfilter/xt_TRACE.c.
"""

from collections.abc import Iterable, Mapping, Sequence

from netpod.ip import Family, family_of
from netpod.linux import iptables, netns
from netpod.trace.model import Address
from netpod.trace.sources import nflog
from netpod.trace.sources.nftrace import DOOR_BURST, DOOR_RATE

TABLE = "raw"
CHAIN = "NETPOD-TRACE"
JUMPS = {"PREROUTING": f"-j {CHAIN}", "OUTPUT": f"-j {CHAIN}"}
Matches = Mapping[Family, tuple[str, ...]]
"""What is traced, by family."""
_LIMIT = f"-m limit --limit {DOOR_RATE}/sec --limit-burst {DOOR_BURST}"
_ECHO = {Family.IPV4: f"-p icmp {_LIMIT}", Family.IPV6: f"-p ipv6-icmp {_LIMIT}"}
_TABLES = {Family.IPV4: "ip_tables_names", Family.IPV6: "ip6_tables_names"}


def compile_flow(
    client_port: int,
    reserved: tuple[int, int],
    doors: Sequence[Address] = (),
    *,
    protocol: str = "tcp",
) -> Matches:
    """Matches of one flow, as nftrace.compile_table has them.

    iptables knows no id of an echo request: of "icmp" and "icmpv6" all are traced, at most DOOR_RATE a second.
    """
    if protocol in ("icmp", "icmpv6"):
        return {family: (echo,) for family, echo in _ECHO.items()}
    found = []
    for low, high in ((client_port, client_port), reserved):
        ports = str(low) if low == high else f"{low}:{high}"
        found += [f"-p {protocol} -m {protocol} --{side} {ports}" for side in ("sport", "dport")]
    return {family: (*found, *_doors(doors, family, (protocol,))) for family in Family}


def compile_range(low: int, high: int) -> Matches:
    """Matches of many flows at once, as nftrace.compile_range has them."""
    found = [
        f"-p {protocol} -m {protocol} --{side} {low}:{high}"
        for protocol in ("tcp", "udp")
        for side in ("sport", "dport")
    ]
    return {family: (*found, _ECHO[family]) for family in Family}


def compile_doors(doors: Sequence[Address]) -> Matches:
    """Matches of other people's first packets, as nftrace.compile_doors has them."""
    return {family: tuple(_doors(doors, family, ("tcp", "udp"))) for family in Family}


def arm(netns_name: str, matches: Matches) -> None:
    """Start tracing in a namespace, in the families that have legacy tables there.

    When it returns, the next packet is traced.

    Raises:
        CommandFailed: iptables refused.
        Unsupported: iptables is not installed.
    """
    for family in nflog.in_use(netns_name):
        saved = iptables.parse_save(iptables.save(netns_name, "raw", legacy=True, family=family))
        lines = ["*raw", f":{CHAIN} - [0:0]", *iptables.missing_jumps(saved, "raw", JUMPS)]
        lines += [f"-A {CHAIN} {match} -j TRACE" for match in matches[family]]
        text = "\n".join([*lines, "COMMIT", ""])
        iptables.restore(netns_name, text, legacy=True, family=family)


def disarm(netns_name: str) -> None:
    """Stop tracing in a namespace; not armed: nothing to do.

    Raises:
        CommandFailed: iptables refused.
    """
    for family in _with_raw(netns_name):
        chains = _chains(netns_name, family)
        if CHAIN not in chains:
            continue
        lines = ["*raw", f":{CHAIN} - [0:0]"]
        for chain, rule in JUMPS.items():
            lines += [f"-D {chain} {rule}"] * chains.get(chain, []).count(rule)
        text = "\n".join([*lines, f"-X {CHAIN}", "COMMIT", ""])
        iptables.restore(netns_name, text, legacy=True, family=family)


def armed(netns_name: str) -> bool:
    """Whether the arming chain is in a namespace; cheap where legacy iptables has no table raw."""
    return any(CHAIN in _chains(netns_name, family) for family in _with_raw(netns_name))


def _chains(netns_name: str, family: Family) -> dict[str, list[str]]:
    saved = iptables.save(netns_name, "raw", legacy=True, family=family)
    return iptables.parse_save(saved).get("raw", {})


def _doors(doors: Sequence[Address], family: Family, protocols: Iterable[str]) -> list[str]:
    found = []
    for door in doors:
        if family_of(door.ip) is not family:
            continue
        for protocol in protocols:
            first = " --syn" if protocol == "tcp" else ""
            place = f"-d {door.ip}/{door.ip.max_prefixlen} -p {protocol} -m {protocol}"
            found.append(f"{place} --dport {door.port}{first} {_LIMIT}")
    return found


def _with_raw(netns_name: str) -> list[Family]:
    def read() -> list[Family]:
        return [family for family, name in _TABLES.items() if _has_raw(name)]

    return netns.call_in(netns_name, read)


def _has_raw(name: str) -> bool:
    try:
        with open(f"/proc/thread-self/net/{name}") as file:
            return "raw" in file.read().split()
    except OSError:
        return False

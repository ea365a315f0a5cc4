"""Counters of /proc/net that rise when packets die, by namespace: they say how often, not which packet.

Source: proc_net(5); Linux net/ipv4/proc.c, net/ipv6/proc.c, net/netfilter/nf_conntrack_standalone.c.
"""

from collections.abc import Iterable

from netpod.errors import KernelError
from netpod.linux import netns
from netpod.trace.clues import Counter

WATCHED = frozenset((
    "Ip.InHdrErrors", "Ip.InAddrErrors", "Ip.InDiscards", "Ip.OutDiscards", "Ip.OutNoRoutes", "Ip.FragFails",
    "Icmp.OutDestUnreachs", "Icmp.OutTimeExcds", "Tcp.OutRsts", "Tcp.InCsumErrors", "Tcp.InErrs",
    "Udp.NoPorts", "Udp.InErrors", "Udp.RcvbufErrors", "Udp.InCsumErrors",
    "TcpExt.ListenOverflows", "TcpExt.ListenDrops", "TcpExt.TCPReqQFullDrop", "TcpExt.IPReversePathFilter",
    "TcpExt.TCPBacklogDrop", "IpExt.InNoRoutes", "IpExt.InTruncatedPkts",
    "Ip6InHdrErrors", "Ip6InTooBigErrors", "Ip6InNoRoutes", "Ip6InAddrErrors", "Ip6InDiscards", "Ip6OutDiscards",
    "Ip6OutNoRoutes", "Ip6FragFails", "Icmp6OutDestUnreachs", "Icmp6OutPktTooBigs", "Icmp6OutTimeExcds",
    "Udp6NoPorts", "Udp6InErrors", "Udp6RcvbufErrors", "Udp6InCsumErrors",
    "conntrack.invalid", "conntrack.drop", "conntrack.early_drop", "conntrack.insert_failed", "conntrack.error",
))  # fmt: skip
_PATHS = ("snmp", "netstat", "stat/nf_conntrack", "snmp6")


class Counters:
    """The watched counters of some namespaces, as they were when this was made."""

    def __init__(self, namespaces: Iterable[str]) -> None:
        self._before = {name: _read(name) for name in namespaces}

    def risen(self) -> tuple[Counter, ...]:
        """Return those that have risen since, by namespace and name."""
        found = []
        for name, before in self._before.items():
            after = _read(name)
            for key in sorted(after):
                delta = after[key] - before.get(key, 0)
                if delta > 0:
                    found.append(Counter(netns=name, name=key, delta=delta))
        return tuple(found)


def _read(netns_name: str) -> dict[str, int]:
    try:
        texts = netns.call_in(netns_name, _texts)
    except KernelError:
        return {}
    return parse(texts)


def _texts() -> list[str]:
    # The thread's own view: /proc/net is the main thread's, which never moves.
    texts = []
    for path in _PATHS:
        try:
            with open(f"/proc/thread-self/net/{path}") as file:
                texts.append(file.read())
        except OSError:
            texts.append("")
    return texts


def parse(texts: list[str]) -> dict[str, int]:
    """Read the watched counters from the texts of snmp, netstat, stat/nf_conntrack and snmp6 (pure)."""
    found: dict[str, int] = {}
    for text in texts[:2]:
        lines = text.splitlines()
        for names, values in zip(lines[::2], lines[1::2], strict=False):
            group, _, rest = names.partition(":")
            for name, value in zip(rest.split(), values.split()[1:], strict=False):
                if f"{group}.{name}" in WATCHED:
                    found[f"{group}.{name}"] = int(value)
    # One line per CPU, in hexadecimal.
    head, *rows = texts[2].splitlines() or [""]
    for index, name in enumerate(head.split()):
        if f"conntrack.{name}" in WATCHED:
            found[f"conntrack.{name}"] = sum(int(row.split()[index], 16) for row in rows)
    # One name and number a line; a kernel without IPv6 has no such file.
    for line in texts[3].splitlines():
        name, value = line.split()
        if name in WATCHED:
            found[name] = int(value)
    return found

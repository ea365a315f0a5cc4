"""Counters of /proc/net that rise when packets die, by namespace: they say how often, not which packet.

Source: proc_net(5); Linux net/ipv4/proc.c, net/netfilter/nf_conntrack_standalone.c.
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
    "conntrack.invalid", "conntrack.drop", "conntrack.early_drop", "conntrack.insert_failed", "conntrack.error",
))  # fmt: skip
_PATHS = ("snmp", "netstat", "stat/nf_conntrack")


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
    """Read the watched counters from the texts of snmp, netstat and stat/nf_conntrack (pure)."""
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
    return found

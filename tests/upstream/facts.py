"""What rules of kube-proxy mean, whichever release wrote them: 1.20 and today's spread them over other chains.

    1.20      KUBE-SERVICES has the masquerading, KUBE-FW and KUBE-XLB what comes from outside
    today     KUBE-SVC has the masquerading, KUBE-EXT what comes from outside, KUBE-SVL a node's own endpoints

`netpod rules --diff` names lines that only the kernel has (+, here upstream's) and that only netpod would write (-).
"""

import re
from dataclasses import dataclass

Fact = tuple[str, ...]
_COMMENT = re.compile(r' ?-m comment --comment "[^"]*"')
_PORT = r"-p (?P<protocol>\w+) (?:-m (?:addrtype|physdev)[^-]*(?:--\S+ [A-Z]+ )?)?(?:-m \w+ )?--dport (?P<port>\d+)"
_LEADS = r"-j KUBE-(?:SVC|EXT|FW|XLB)-(?P<service>\w{16})$"
_SHAPES = {
    "endpoint": r"nat KUBE-SVC-(?P<service>\w{16}) ?(?P<how>.*)-j KUBE-SEP-(?P<endpoint>\w{16})$",
    "own endpoint": r"nat KUBE-(?:SVL|XLB)-(?P<service>\w{16}) ?(?P<how>.*)-j KUBE-SEP-(?P<endpoint>\w{16})$",
    "address": rf"nat KUBE-SERVICES -d (?P<address>\S+) {_PORT} .*?{_LEADS}",
    "node port": rf"nat KUBE-NODEPORTS {_PORT} {_LEADS}",
    "masquerade": rf"nat KUBE-\S+ ! -s (?P<pods>\S+) -d (?P<address>\S+) {_PORT} -j KUBE-MARK-MASQ$",
    "from": r"nat KUBE-FW-(?P<service>\w{16}) -s (?P<network>\S+) -j KUBE-(?:SVC|EXT)-\w{16}$",
    "local": r"nat KUBE-(?:EXT|XLB)-(?P<service>\w{16}) "
    r"(?P<who>-s \S+|-m addrtype --src-type LOCAL) -j KUBE-SVC-\w{16}$",
}
KINDS = tuple(_SHAPES)
# Told above by another line, or in a way that has no like in the other release.
_APART = re.compile(
    "|".join(
        (
            r"nat KUBE-(NODEPORTS|EXT-\w+|FW-\w+|XLB-\w+) .*-j KUBE-MARK-(MASQ|DROP)$",
            r"nat KUBE-SERVICES -d \S+ .* -j KUBE-MARK-MASQ$",
            r"nat KUBE-(EXT|FW)-\w+ -j KUBE-(SVC|XLB|SVL|EXT)-\w+$",
            r"nat KUBE-FW-\w+$",
            r"filter (KUBE-FIREWALL|KUBE-FORWARD|KUBE-PROXY-FIREWALL|KUBE-NODEPORTS|KUBE-EXTERNAL-SERVICES) ",
            r"filter (INPUT|FORWARD|OUTPUT) .*-j KUBE-(FIREWALL|PROXY-FIREWALL|NODEPORTS)$",
        )
    )
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Each fact is (node, kind, ...); `unread` are lines nobody understood."""

    theirs: frozenset[Fact]
    ours: frozenset[Fact]
    unread: tuple[str, ...]


def read(diff: str) -> Facts:
    """Read what `netpod rules --diff` says of all nodes."""
    found: dict[str, set[Fact]] = {"+": set(), "-": set()}
    unread = []
    node = ""
    for line in diff.splitlines():
        sign, _, rule = line.strip().partition(" ")
        if sign not in found:
            node = rule
            continue
        rule = _COMMENT.sub("", rule)
        fact = _read(rule)
        if fact:
            found[sign].add((node, *fact))
        elif not _APART.match(rule):
            unread.append(line)
    return Facts(frozenset(found["+"]), frozenset(found["-"]), tuple(unread))


def _read(rule: str) -> Fact | None:
    for kind, shape in _SHAPES.items():
        if match := re.match(shape, rule):
            return (kind, *(f"{name}={value}" for name, value in sorted(match.groupdict().items())))
    return None

"""The live rules of one Service on one node, in the order a packet meets them, with counters."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from netpod.linux import iptables
from netpod.linux.iptables import Counted
from netpod.proxy import names

_JUMP = re.compile(r"(?:^| )-[jg] (\S+)")
_COMMENT = re.compile(r'--comment (?:"((?:[^"\\]|\\.)*)"|(\S+))')


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One chain, what it is for, and those of its rules that concern the Service."""

    table: str
    name: str
    purpose: str
    rules: tuple[Counted, ...]


def of_service(netns: str, namespace: str, name: str) -> list[Chain]:
    """Return a Service's chains as they are in the kernel now.

    Args:
        netns: The node's namespace.
        namespace: Of the Service.
        name: Of the Service.

    Returns:
        Dispatching chains first, each with this Service's rules only; then the Service's own chains whole, in
        the order in which they are jumped to. Empty when the node has no rule for it.
    """
    counted = [rule for table in ("nat", "filter") for rule in iptables.list_counters(netns, table)]
    by_chain: dict[tuple[str, str], list[Counted]] = {}
    for rule in counted:
        by_chain.setdefault((rule.table, rule.chain), []).append(rule)
    found: list[Chain] = []
    waiting: list[str] = []
    for (table, chain), rules in by_chain.items():
        if names.is_port_chain(chain):
            continue
        mine = tuple(rule for rule in rules if _concerns(rule.rule, f"{namespace}/{name}"))
        if mine:
            found.append(Chain(table=table, name=chain, purpose=_purpose(chain), rules=mine))
            waiting += _targets(mine)
    seen: set[str] = set()
    while waiting:
        chain = waiting.pop(0)
        if chain in seen or not names.is_port_chain(chain):
            continue
        seen.add(chain)
        rules = by_chain.get(("nat", chain), [])
        found.append(Chain(table="nat", name=chain, purpose=_purpose(chain), rules=tuple(rules)))
        waiting += _targets(rules)
    return found


def _concerns(rule: str, service: str) -> bool:
    """Whether a rule's comment names the service or one of its ports."""
    match = _COMMENT.search(rule)
    said = (match[1] or match[2] or "") if match else ""
    return re.search(rf"(?:^|\s){re.escape(service)}(?::|\s|$)", said) is not None


def _targets(rules: tuple[Counted, ...] | list[Counted]) -> Iterator[str]:
    for rule in rules:
        match = _JUMP.search(rule.rule)
        if match:
            yield match[1]


def _purpose(chain: str) -> str:
    for prefix in names.Prefix:
        if chain.startswith(prefix):
            return {
                names.Prefix.SERVICE: "choose an endpoint",
                names.Prefix.LOCAL: "choose an endpoint on this node",
                names.Prefix.EXTERNAL: "traffic from outside the cluster",
                names.Prefix.FIREWALL: "sources the load balancer accepts",
                names.Prefix.ENDPOINT: "send to one endpoint",
            }[prefix]
    return {str(name): purpose for name, purpose in names.PURPOSE.items()}.get(chain, "")

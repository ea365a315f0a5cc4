"""Rules as values, and the texts of iptables-save and iptables-restore (pure).

A rule is the line that iptables-save prints, `-A CHAIN ...`. That form is also valid input, so what is wanted
and what the kernel has are compared as text, and only chains that differ are handed over.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

Rules = tuple[str, ...]
Ruleset = Mapping[str, Mapping[str, Rules]]
"""Rules by chain by table."""

TABLES = ("mangle", "filter", "nat")
"""The order in which tables are handed over."""
_JUMP = re.compile(r" -[jg] (\S+)")
BUILT_IN = frozenset({"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What to do to get from one ruleset to another.

    Attributes:
        changed: Chains to write, whole.
        stale: Chains to delete, by table.
        jumps: Rules of built-in chains to put on top, one after the other, so that the last one ends up first.
    """

    changed: Ruleset = field(default_factory=dict)
    stale: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    jumps: Mapping[str, Rules] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return any(map(bool, (*self.changed.values(), *self.stale.values(), *self.jumps.values())))


def restore_text(delta: Delta) -> str:
    """Input of `iptables-restore --noflush`: every table's part is applied in one step, or not at all.

    Naming a chain with a colon creates it or, under --noflush, empties that chain alone.
    """
    out: list[str] = []
    for table in TABLES:
        changed = delta.changed.get(table, {})
        stale = delta.stale.get(table, ())
        jumps = delta.jumps.get(table, ())
        if not (changed or stale or jumps):
            continue
        out.append(f"*{table}")
        names = sorted({*changed, *stale})
        out.extend(f":{chain} - [0:0]" for chain in names)
        for chain in sorted(changed):
            out.extend(changed[chain])
        out.extend(_insert(rule) for rule in jumps)
        out.extend(f"-X {chain}" for chain in sorted(stale))
        out.append("COMMIT")
    return "\n".join(out) + "\n" if out else ""


def parse_save(text: str) -> dict[str, dict[str, Rules]]:
    """Chains and rules out of iptables-save's output, without counters."""
    tables: dict[str, dict[str, list[str]]] = {}
    chains: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith("-A "):
            chains.setdefault(line.split(" ", 2)[1], []).append(line.rstrip())
        elif line.startswith(":"):
            chains.setdefault(line[1:].split(" ", 1)[0], [])
        elif line.startswith("*"):
            chains = tables.setdefault(line[1:].strip(), {})
    return {
        table: {chain: tuple(rules) for chain, rules in found.items()}
        for table, found in tables.items()
    }


def difference(
    desired: Ruleset,
    observed: Ruleset,
    *,
    jumps: Iterable[tuple[str, str]],
    ours: Callable[[str, str], bool],
) -> Delta:
    """The least change that makes the kernel's rules the desired ones.

    Args:
        desired: Every chain that must exist.
        observed: What the kernel has.
        jumps: (table, rule) of built-in chains, in the order of insertion.
        ours: Whether chain (table, chain) may be deleted when it is not desired.
    """
    changed = {
        table: {
            chain: rules
            for chain, rules in chains.items()
            if observed.get(table, {}).get(chain) != rules
        }
        for table, chains in desired.items()
    }
    stale = {
        table: tuple(c for c in chains if c not in desired.get(table, {}) and ours(table, c))
        for table, chains in observed.items()
    }
    missing: dict[str, list[str]] = {}
    for table, rule in jumps:
        if rule not in observed.get(table, {}).get(rule.split(" ", 2)[1], ()):
            missing.setdefault(table, []).append(rule)
    return Delta(
        changed={table: chains for table, chains in changed.items() if chains},
        stale={table: chains for table, chains in stale.items() if chains},
        jumps={table: tuple(rules) for table, rules in missing.items()},
    )


def removal(
    observed: Ruleset,
    mine: Callable[[str, str], bool],
    jumps: Collection[tuple[str, str]] = (),
) -> tuple[dict[str, dict[str, Rules]], dict[str, dict[str, Rules]]]:
    """Chains to delete, and the rules of other chains to delete first, both by chain by table.

    Args:
        observed: What the kernel has.
        mine: Whether chain (table, chain) is to go; so do the rules that lead to it.
        jumps: (table, rule) of chains that stay, to be deleted too.
    """
    doomed: dict[str, dict[str, Rules]] = {}
    rules_out: dict[str, dict[str, Rules]] = {}
    for table, chains in observed.items():
        doomed[table] = {chain: rules for chain, rules in chains.items() if mine(table, chain)}
        rules_out[table] = {
            chain: tuple(
                rule for rule in rules if mine(table, _target(rule)) or (table, rule) in jumps
            )
            for chain, rules in chains.items()
            if not mine(table, chain)
        }
    return doomed, rules_out


def save_text(ruleset: Ruleset) -> str:
    """A ruleset as iptables-save prints it: own chains in order of the alphabet, no counters, no policies."""
    out: list[str] = []
    for table in TABLES:
        chains = ruleset.get(table)
        if not chains:
            continue
        out.append(f"*{table}")
        own = sorted(chain for chain in chains if chain not in BUILT_IN)
        out.extend(f":{chain} - [0:0]" for chain in own)
        for chain in ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", *own):
            out.extend(chains.get(chain, ()))
        out.append("COMMIT")
    return "\n".join(out) + "\n"


def _insert(rule: str) -> str:
    _, chain, rest = rule.split(" ", 2)
    return f"-I {chain} 1 {rest}"


def _target(rule: str) -> str:
    match = _JUMP.search(rule)
    return match[1] if match else ""

"""Table kube-proxy as a value, the texts nft(8) reads and prints, and what differs between two (pure).

A rule is the line that `nft list` prints in its chain. That form is also valid input, so what is wanted and what the
kernel has are compared as text, and only what differs is handed over.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from netpod.proxy.nftables_names import TABLE, Prefix, is_port_chain
from netpod.proxy.restore import Rules

COMMENT = "rules for kube-proxy"
CHUNK_RULES = 600
"""Rules per transaction while many chains are new: the kernel's work per transaction grows with its square."""
_KEY = re.compile(r"(?= comment \"| : )")
_PRIORITY = re.compile(r"priority ([a-z]+)(?: ([+-]) (\d+))?")
_PRIORITIES = {
    "raw": -300,
    "mangle": -150,
    "dstnat": -100,
    "filter": 0,
    "security": 50,
    "srcnat": 100,
}
_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Everything in the table; the mappings inside may be changed by whoever built it.

    Attributes:
        hooks: Definition of each base chain.
        sets: Kind ("set", "map"), type and comment of those that exist once.
        chains: Rules by chain, base chains included.
        elements: By set or map: key to what follows it, "" or ` comment "..." : VERDICT`.
        affinity: Timeout in seconds by affinity set.
    """

    hooks: dict[str, str] = field(default_factory=dict)
    sets: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    chains: dict[str, Rules] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    affinity: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """What to do to get from one table to another.

    Attributes:
        hooks: Base chains to make, with their definitions; one that exists is in `gone` too.
        sets: Sets and maps to make; one that exists with another type is in `gone_sets` too.
        chains: Chains to write, whole.
        new: Those of `chains` that the kernel does not have: nothing can lead to them yet.
        stale: Chains to empty now and to delete a second later.
        gone: Chains to delete at once.
        add: Elements to add; a key with another value is in `remove` too.
        remove: Keys to remove, by set or map.
        affinity: Affinity sets to make, with their timeouts; one that exists is in `gone_sets` too.
        gone_sets: Sets and maps to delete.
    """

    hooks: Mapping[str, str] = field(default_factory=dict)
    sets: Mapping[str, tuple[str, str, str]] = field(default_factory=dict)
    chains: Mapping[str, Rules] = field(default_factory=dict)
    new: frozenset[str] = frozenset()
    stale: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    add: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    remove: Mapping[str, Iterable[str]] = field(default_factory=dict)
    affinity: Mapping[str, int] = field(default_factory=dict)
    gone_sets: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        simple = (self.hooks, self.sets, self.chains, self.stale, self.gone)
        return any(map(bool, (*simple, self.affinity, self.gone_sets))) or any(
            map(bool, (*self.add.values(), *self.remove.values()))
        )


def transactions(delta: Delta, table: str = TABLE) -> list[str]:
    """Inputs of `nft -f -` for a table, in order; all but the last fill chains that nothing leads to yet."""
    if not delta:
        return []
    count = sum(len(delta.chains[chain]) for chain in delta.new)
    if count <= CHUNK_RULES:
        return [_text(_last(delta, table, first=True))]
    found = [_text(_first(delta, table))]
    piece: list[str] = []
    for chain in sorted(delta.new - set(delta.hooks)):
        piece.extend(_rules(table, chain, delta.chains[chain]))
        if len(piece) >= CHUNK_RULES:
            found.append(_text(piece))
            piece = []
    if piece:
        found.append(_text(piece))
    found.append(_text(_last(delta, table, first=False)))
    return found


def delete_text(chains: Iterable[str], table: str = TABLE) -> str:
    """Delete chains that were emptied before."""
    return "".join(f"delete chain {table} {chain}\n" for chain in sorted(chains))


def list_text(table: Table, name: str = TABLE) -> str:
    """The whole table as one input, sorted: what golden files pin."""
    new = frozenset(table.chains)
    delta = Delta(
        hooks=table.hooks,
        sets=table.sets,
        chains=table.chains,
        new=new,
        add=table.elements,
        affinity=table.affinity,
    )
    return _text(_last(delta, name, first=True))


def difference(desired: Table, observed: Table | None) -> Delta:
    """The least change that makes the kernel's table the desired one; `observed` None is no table at all."""
    have = observed or Table()
    gone_sets = {name for name, found in have.sets.items() if found != desired.sets.get(name)}
    gone_sets |= {n for n, seconds in have.affinity.items() if seconds != desired.affinity.get(n)}
    add: dict[str, dict[str, str]] = {}
    remove: dict[str, list[str]] = {}
    for name, wanted in desired.elements.items():
        known = {} if name in gone_sets else have.elements.get(name, {})
        fresh = {key: value for key, value in wanted.items() if known.get(key) != value}
        old = [key for key, value in known.items() if wanted.get(key) != value]
        if fresh:
            add[name] = fresh
        if old:
            remove[name] = old
    moved = {name for name, found in have.hooks.items() if found != desired.hooks.get(name)}
    unwanted = set(have.chains) - set(desired.chains)
    stale = {chain for chain in unwanted if is_port_chain(chain)}
    # Whatever is made again takes the rules that name it along.
    changed = {
        chain: rules
        for chain, rules in desired.chains.items()
        if have.chains.get(chain) != rules
        or chain in moved
        or any(f"@{name}" in rule.split(" ") for rule in rules for name in gone_sets)
    }
    return Delta(
        hooks={n: d for n, d in desired.hooks.items() if have.hooks.get(n) != d},
        sets={n: d for n, d in desired.sets.items() if have.sets.get(n) != d},
        chains=changed,
        new=frozenset(changed) - frozenset(have.chains),
        stale=frozenset(stale),
        gone=frozenset(unwanted - stale | moved),
        add=add,
        remove=remove,
        affinity={n: s for n, s in desired.affinity.items() if have.affinity.get(n) != s},
        gone_sets=frozenset(gone_sets),
    )


def parse_list(text: str) -> Table:
    """What `nft -s list table ip kube-proxy`, or `ip6`, printed."""
    table = Table()
    kind = name = ""
    rules: list[str] = []
    lines = iter(text.splitlines())
    for raw in lines:
        line = raw.strip()
        if not raw.startswith("\t\t"):
            words = line.split(" ")
            if raw.startswith("\t") and words[-1] == "{":
                kind, name = words[0], words[1]
                rules = []
            elif line == "}" and kind == "chain":
                table.chains[name] = tuple(rules)
                kind = ""
        elif kind == "chain":
            if line.startswith("type ") and " hook " in line:
                table.hooks[name] = _PRIORITY.sub(_number, line)
            else:
                rules.append(line)
        else:
            _parse_set(table, kind, name, line, lines)
    return table


def _number(match: re.Match[str]) -> str:
    """A priority by name as a number: which of them get a name depends on nft's version."""
    offset = int(f"{match[2]}{match[3]}") if match[2] else 0
    return f"priority {_PRIORITIES[match[1]] + offset}"


def _parse_set(table: Table, kind: str, name: str, line: str, lines: Iterator[str]) -> None:
    if name.startswith(Prefix.AFFINITY):
        if line.startswith("timeout "):
            table.affinity[name] = _seconds(line.removeprefix("timeout "))
        return
    if line.startswith("type "):
        table.sets[name] = (kind, line, "")
        table.elements.setdefault(name, {})
    elif line.startswith("comment "):
        table.sets[name] = (kind, table.sets[name][1], line.removeprefix("comment ").strip('"'))
    elif line.startswith("elements = {"):
        found = line
        while not found.endswith("}"):
            found += next(lines).strip()
        pieces = found.removeprefix("elements = {").removesuffix("}").split(",")
        table.elements[name] = dict(map(_element, pieces))


def _element(piece: str) -> tuple[str, str]:
    key, *rest = _KEY.split(piece.strip(), maxsplit=1)
    return key, rest[0] if rest else ""


def _seconds(text: str) -> int:
    return sum(int(number) * _UNITS[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))


def _first(delta: Delta, table: str) -> list[str]:
    """The table, and everything new in it, empty."""
    again = delta.gone_sets
    return [
        *([f'add table {table} {{ comment "{COMMENT}" ; }}'] if delta.sets else []),
        *(
            line
            for n, d in sorted(delta.sets.items())
            if n not in again
            for line in _set(table, n, d)
        ),
        *(_affinity(table, n, s) for n, s in sorted(delta.affinity.items()) if n not in again),
        *(f"add chain {table} {chain}" for chain in sorted(delta.new - set(delta.hooks))),
    ]


def _last(delta: Delta, table: str, *, first: bool) -> list[str]:
    """Everything at once; without `first`, the chains that are new have their rules already."""
    again = delta.gone_sets
    out = _first(delta, table) if first else []
    existing = sorted(set(delta.chains) - delta.new - delta.gone)
    emptied = sorted({*existing, *delta.stale, *delta.gone})
    out += [f"flush chain {table} {chain}" for chain in emptied]
    for name, keys in sorted(delta.remove.items()):
        out += [f"delete element {table} {name} {{ {key} }}" for key in sorted(keys)]
    for name in sorted(again):
        kind = "map" if delta.sets.get(name, ("set",))[0] == "map" else "set"
        out.append(f"delete {kind} {table} {name}")
    out += [f"delete chain {table} {chain}" for chain in sorted(delta.gone)]
    for name, definition in sorted(delta.sets.items()):
        out += _set(table, name, definition) if name in again else []
    out += [_affinity(table, n, s) for n, s in sorted(delta.affinity.items()) if n in again]
    for chain, hook in sorted(delta.hooks.items()):
        out.append(f"add chain {table} {chain} {{ {hook} }}")
    for chain, rules in sorted(delta.chains.items()):
        if first or chain not in delta.new or chain in delta.hooks:
            out += _rules(table, chain, rules)
    for name, elements in sorted(delta.add.items()):
        out += [f"add element {table} {name} {{ {k}{v} }}" for k, v in sorted(elements.items())]
    return out


def _rules(table: str, chain: str, rules: Rules) -> list[str]:
    return [f"add rule {table} {chain} {rule}" for rule in rules]


def _set(table: str, name: str, definition: tuple[str, str, str]) -> list[str]:
    kind, type_, comment = definition
    said = f' comment "{comment}" ;' if comment else ""
    return [f"add {kind} {table} {name} {{ {type_} ;{said} }}"]


def _affinity(table: str, name: str, seconds: int) -> str:
    address = "ipv6_addr" if table.startswith("ip6 ") else "ipv4_addr"
    options = f"type {address} ; size 65535 ; flags dynamic,timeout ; timeout {seconds}s ;"
    return f"add set {table} {name} {{ {options} }}"


def _text(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"

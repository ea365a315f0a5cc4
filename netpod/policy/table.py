"""What the table should hold, and what has changed since it was last handed over (pure)."""

from collections.abc import Iterator
from dataclasses import dataclass, field

from netpod.ip import Family
from netpod.policy import compile


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Commands of three transactions, in this order; each may be empty.

    Only the first needs nft(8), which reads elements of every set before it changes one.

    Attributes:
        prepare: New sets with what is in them, chains that are new or written again.
        change: Elements of the sets and maps that were there.
        removal: What nothing refers to any more.
    """

    prepare: str
    change: str
    removal: str

    @property
    def texts(self) -> list[str]:
        """Those that are not empty."""
        return [text for text in (self.prepare, self.change, self.removal) if text]


@dataclass(slots=True)
class Table:
    """Chains, sets and elements wanted; each put and drop notes what was there when last applied.

    Attributes:
        family: Of all its addresses.
        chains: Rules by chain, without the base chains.
        sets: Definition by set, without the base sets.
        elements: By set or map, key > verdict; "" in sets.
    """

    family: Family = Family.IPV4
    chains: dict[str, tuple[str, ...]] = field(default_factory=dict)
    sets: dict[str, str] = field(default_factory=dict)
    elements: dict[str, dict[str, str]] = field(default_factory=dict)
    _chains_before: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    _sets_before: dict[str, bool] = field(default_factory=dict)
    _elements_before: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in compile.CONTAINERS:
            self.elements.setdefault(name, {})

    @property
    def _table(self) -> str:
        return compile.table_of(self.family)

    @property
    def empty(self) -> bool:
        """Whether it isolates nobody."""
        return not self.chains

    @property
    def changed(self) -> bool:
        """Whether anything was touched since `applied`."""
        return bool(self._chains_before or self._sets_before or self._elements_before)

    def put_chain(self, name: str, rules: tuple[str, ...]) -> None:
        """Make or rewrite a chain."""
        if self.chains.get(name) != rules:
            self._chains_before.setdefault(name, self.chains.get(name))
            self.chains[name] = rules

    def drop_chain(self, name: str) -> None:
        """Remove a chain, to which no element leads any more."""
        self._chains_before.setdefault(name, self.chains.pop(name))

    def put_set(self, name: str, definition: str) -> None:
        """Make an empty set."""
        self._sets_before.setdefault(name, False)
        self.sets[name] = definition
        self.elements[name] = {}

    def drop_set(self, name: str) -> None:
        """Remove a set, which no chain names any more, with its elements."""
        for key in list(self.elements[name]):
            self.drop(name, key)
        self._sets_before.setdefault(name, True)
        del self.sets[name]
        del self.elements[name]

    def put(self, container: str, key: str, verdict: str = "") -> None:
        """Set an element."""
        elements = self.elements[container]
        if elements.get(key) != verdict:
            self._elements_before.setdefault((container, key), elements.get(key))
            elements[key] = verdict

    def drop(self, container: str, key: str) -> None:
        """Remove an element; absent is fine."""
        old = self.elements[container].pop(key, None)
        if old is not None:
            self._elements_before.setdefault((container, key), old)

    def pending(self) -> Delta:
        """What has changed since `applied`."""
        new_sets = [n for n, there in self._sets_before.items() if not there and n in self.sets]
        gone_sets = [n for n, there in self._sets_before.items() if there and n not in self.sets]
        changed, new, stale = [], [], []
        for name, before in self._chains_before.items():
            rules = self.chains.get(name)
            if rules is None:
                stale += [name] if before is not None else []
            elif rules != before:
                changed.append(name)
                new += [name] if before is None else []
        lines = [f"add set {self._table} {name} {{ {self.sets[name]} }}" for name in new_sets]
        lines += [f"add chain {self._table} {name}" for name in new]
        for name in changed:
            lines += [f"flush chain {self._table} {name}"] if name not in new else []
            lines += [f"add rule {self._table} {name} {rule}" for rule in self.chains[name]]
        elements = list(self._element_lines(set(gone_sets)))
        new_ones = set(new_sets)
        lines += [line for container, line in elements if container in new_ones]
        change = [line for container, line in elements if container not in new_ones]
        removal = [f"flush chain {self._table} {name}" for name in stale]
        removal += [f"delete chain {self._table} {name}" for name in stale]
        removal += [f"delete set {self._table} {name}" for name in gone_sets]
        return Delta(prepare=_text(lines), change=_text(change), removal=_text(removal))

    def everything(self) -> str:
        """Commands of one transaction that replace whatever table there is by this one."""
        lines = compile.base(self.family)
        lines += [f"add set {self._table} {name} {{ {made} }}" for name, made in self.sets.items()]
        lines += [f"add chain {self._table} {name}" for name in self.chains]
        for name, rules in self.chains.items():
            lines += [f"add rule {self._table} {name} {rule}" for rule in rules]
        for container, elements in self.elements.items():
            if elements:
                inside = ", ".join(_element(key, value) for key, value in elements.items())
                lines.append(f"add element {self._table} {container} {{ {inside} }}")
        return _text(lines)

    def applied(self) -> None:
        """The kernel has everything."""
        self._chains_before.clear()
        self._sets_before.clear()
        self._elements_before.clear()

    def _element_lines(self, gone: set[str]) -> Iterator[tuple[str, str]]:
        """Container and command for each element that changed; what goes comes first."""
        added: list[tuple[str, str]] = []
        for (container, key), before in self._elements_before.items():
            now = self.elements.get(container, {}).get(key)
            if now == before or container in gone:
                continue
            if before is not None:
                yield container, f"delete element {self._table} {container} {{ {key} }}"
            if now is not None:
                line = f"add element {self._table} {container} {{ {_element(key, now)} }}"
                added.append((container, line))
        yield from added


def _element(key: str, verdict: str) -> str:
    return f"{key} : {verdict}" if verdict else key


def _text(lines: list[str]) -> str:
    return "".join(f"{line}\n" for line in lines)

"""The rules of a namespace, by the handles that trace events name, and what they mean in Kubernetes' words.

nftables lists iptables' rules with a handle but not always in words; `iptables-save` has the words but no handles. Both
list the rules of one chain in the same order, so the n-th of the one is the n-th of the other.
"""

import re
from collections.abc import Mapping, Sequence, Set
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from netpod.cloud import edge_legacy
from netpod.errors import CommandFailed, Unsupported
from netpod.ip import Family
from netpod.linux import process
from netpod.proxy import names
from netpod.trace import ipvsmeaning, nftmeaning
from netpod.trace.sources import nflog, nfrules

ChainKey = tuple[str, str, str]
"""Family, table, chain."""

_TABLE = re.compile(r"^table (\S+) (\S+) \{")
_CHAIN = re.compile(r"^\tchain (\S+) \{")
_HANDLE = re.compile(r"^(.*?)\s*# handle (\d+)$")
_COUNTER = re.compile(r"counter packets \d+ bytes \d+")
_COMMENT = re.compile(r'--comment (?:"([^"]*)"|(\S+))')
_JUMP = re.compile(r"(-[jg]) (\S+)")
_PROBABILITY = re.compile(r"--probability ([0-9.]+)")
_TO = re.compile(r"--to-destination (\S+)")
_PORT = re.compile(r"--dport (\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleBook:
    """Rules of one namespace as they were just after the request.

    Attributes:
        texts: Handle → rule, in order, for each chain.
        complete: False when a listing failed or the two listings disagree; then some texts are nft's or missing.
    """

    texts: Mapping[ChainKey, Mapping[int, str]]
    complete: bool = True

    def text(self, family: str, table: str, chain: str, handle: int) -> str:
        """Return a rule's text, or "" when it is not there (any more)."""
        return self.texts.get((family, table, chain), {}).get(handle, "")

    def chain(self, family: str, table: str, chain: str) -> tuple[str, ...]:
        """Return a chain's rules in order."""
        return tuple(self.texts.get((family, table, chain), {}).values())


EMPTY = RuleBook(texts={}, complete=False)


def observe_rules(met: Mapping[str, Set[ChainKey]], executor: Executor) -> dict[str, RuleBook]:
    """Read the rules of the chains that packets met, all namespaces at once.

    Only those chains: a node with a thousand Services has fifteen thousand rules, which take nft a second to list.

    Args:
        met: Family, table and chain of what was met, by namespace.
        executor: Where to run the programs.

    Returns:
        A book per namespace; one that cannot be read is empty and not complete.
    """
    reading = [(name, executor.submit(_read, name, chains)) for name, chains in met.items()]
    return {name: job.result() for name, job in reading}


def _read(name: str, chains: Set[ChainKey]) -> RuleBook:
    texts: dict[ChainKey, dict[int, str]] = {}
    complete = True
    old = {key for key in chains if key[0] in nflog.FAMILIES.values()}
    shared = {key for key in chains - old if key[0] in SAVED and key[1] in _XTABLES}
    native = {key[:2] for key in chains - shared - old}
    for family in {key[0] for key in shared}:
        saved = _list(name, [SAVED[family]])
        known = parse_saved(saved or "", family)
        for key in (key for key in shared if key[0] == family):
            handles, words = nfrules.handles(name, *key), known.get(key, [])
            if len(handles) == len(words):
                texts[key] = dict(zip(handles, words, strict=True))
            else:
                # Changed between the two looks; or nobody's but nft's, which has its own words.
                native.add(key[:2])
                complete = complete and saved is not None and not words
    for family, table in native:
        ruleset = _list(name, ["nft", "-a", "list", "table", family, table])
        complete = complete and ruleset is not None
        found = parse_ruleset(ruleset or "")
        texts |= {key: rules for key, rules in found.items() if key not in texts}
    book = RuleBook(texts=texts, complete=complete)
    for family in sorted({key[0] for key in old}):
        saved = _list(name, [SAVED[family]])
        book = (
            with_legacy(book, saved, family) if saved is not None else replace(book, complete=False)
        )
    return book


SAVED = {
    Family.IPV4.nft: "iptables-save",
    Family.IPV6.nft: "ip6tables-save",
    nflog.FAMILIES[Family.IPV4]: "iptables-legacy-save",
    nflog.FAMILIES[Family.IPV6]: "ip6tables-legacy-save",
}
"""The program that has a family's rules in words."""
_XTABLES = frozenset(("raw", "mangle", "nat", "filter", "security"))
"""Tables whose rules iptables-save has in words."""


def _list(netns_name: str, argv: list[str]) -> str | None:
    try:
        return process.run(argv, netns=netns_name).stdout.decode()
    except (CommandFailed, Unsupported):
        return None


def compile_book(ruleset: str, saved: str | None) -> RuleBook:
    """Join `nft -a list ruleset` and `iptables-save` (pure)."""
    texts = parse_ruleset(ruleset)
    complete = saved is not None
    for key, rules in parse_saved(saved or "").items():
        handles = texts.get(key, {})
        if len(handles) == len(rules):
            texts[key] = dict(zip(handles, rules, strict=True))
        else:
            complete = False
    return RuleBook(texts=texts, complete=complete)


def with_legacy(book: RuleBook, saved: str, family: str) -> RuleBook:
    """Add `iptables-legacy-save`: a rule's handle is its number in its chain; 0 is the chain's policy (pure)."""
    texts = dict(book.texts)
    for key, rules in parse_saved(saved, family).items():
        texts[key] = dict(enumerate(rules, 1))
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":") and line.split()[1] == "DROP":
            key = (family, table, line[1:].split()[0])
            texts[key] = {0: "policy DROP", **texts.get(key, {})}
    return RuleBook(texts=texts, complete=book.complete)


def legacy_verdict(text: str) -> tuple[str, str]:
    """Verdict and target of a rule as iptables prints it: TRACE does not say them (pure)."""
    if text == "policy DROP":
        return "drop", ""
    match = _JUMP.search(text)
    if match is None:
        return "continue", ""
    kind, target = match[1], match[2]
    known = {"ACCEPT": "accept", "DROP": "drop", "REJECT": "drop", "RETURN": "return",
             "DNAT": "accept", "SNAT": "accept", "MASQUERADE": "accept", "MARK": "continue",
             "LOG": "continue", "CT": "continue", "TRACE": "continue"}  # fmt: skip
    if target in known:
        return known[target], ""
    return ("goto" if kind == "-g" else "jump"), target


def parse_ruleset(ruleset: str) -> dict[ChainKey, dict[int, str]]:
    """Read `nft -a list ruleset`: handle → text of each chain's rules, in order (pure)."""
    texts: dict[ChainKey, dict[int, str]] = {}
    family = table = chain = ""
    pending = ""
    for line in ruleset.splitlines():
        if match := _TABLE.match(line):
            family, table, chain = match[1], match[2], ""
        elif match := _CHAIN.match(line):
            chain = match[1]
            texts[(family, table, chain)] = {}
        elif line == "\t}":
            chain = ""
        elif chain and line.startswith("\t\t") and not line.startswith("\t\ttype "):
            pending += line.strip() if not pending else " " + line.strip()
            if match := _HANDLE.match(pending):
                texts[(family, table, chain)][int(match[2])] = _COUNTER.sub("counter", match[1])
                pending = ""
    return texts


def parse_saved(saved: str, family: str = Family.IPV4.nft) -> dict[ChainKey, list[str]]:
    """Read `iptables-save` of a family: each chain's rules in order, as `-A CHAIN ...` (pure)."""
    rules: dict[ChainKey, list[str]] = {}
    table = ""
    for line in saved.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A "):
            rules.setdefault((family, table, line.split(" ", 2)[1]), []).append(line)
    return rules


def meaning(siblings: Sequence[str], chain: str, target: str, text: str) -> str:
    """Say what a rule of table nat or filter means in a cluster; "" when it is not kube-proxy's (pure).

    `siblings` are all rules of its chain, in order: of how many endpoints it chooses one.

    kube-proxy writes the Service's name into the rule's comment, e.g. "default/web:http -> 10.244.1.5:8080". The load
    balancer's rules at the edge are the only ones in nft's own words that choose a destination.
    """
    words = nftmeaning.meaning(chain, target, text) or ipvsmeaning.meaning(chain, target, text)
    if words:
        return words
    comment = next((a or b for a, b in _COMMENT.findall(text)), "")
    to, port = _TO.search(text), _PORT.search(text)
    choosing = (names.Prefix.SERVICE, names.Prefix.LOCAL)
    if chain.startswith(choosing) and target.startswith(names.Prefix.ENDPOINT):
        if "--rcheck" in text:
            service, _, endpoint = comment.partition(" -> ")
            return (
                f"endpoint {endpoint} of {service}: this client was there before (sessionAffinity)"
            )
        return _choice(siblings, target, comment)
    if chain.startswith(names.Prefix.ENDPOINT) and to is not None:
        kept = ", and remember the client (sessionAffinity)" if "-m recent" in text else ""
        return f"send to endpoint {to[1]}" + (f" of {comment}" if comment else "") + kept
    if chain.startswith(names.Prefix.ENDPOINT) and target == names.Chain.MARK_MASQ:
        return "the endpoint reaches itself: mark for masquerading (hairpin)"
    if target == names.Chain.MARK_MASQ:
        return comment or "mark the packet for masquerading"
    if chain == names.Chain.NODEPORTS and target:
        return f"node port {port[1] if port else '?'} belongs to {comment}"
    if chain == names.Chain.SERVICES and target == names.Chain.NODEPORTS:
        return "the destination is this node: look among the node ports"
    if "no endpoints" in comment or "no local endpoints" in comment:
        return comment
    if chain == names.Chain.SERVICES and target:
        return f"Service {comment}"
    if chain.startswith(names.Prefix.EXTERNAL) and target.startswith(names.Prefix.SERVICE):
        return "choose any endpoint in the cluster"
    if chain.startswith(edge_legacy.CHAIN):
        return _of_edge(target, comment, text)
    if "dnat to" in text:
        return "send to a ready node, in turn" if "numgen inc" in text else "send to a ready node"
    for where, part, words in _WORDS:
        if chain == where and part in text:
            return words
    return comment if chain.startswith("KUBE-") else ""


def _of_edge(target: str, service: str, text: str) -> str:
    """The load balancer's rules, where they are legacy iptables'."""
    if "--to-destination" in text:
        return "send to a ready node, in turn" if "--every" in text else "send to a ready node"
    if target.startswith(edge_legacy.CHAIN):
        return f"load balancer of {service}"
    if "-j DROP" in text:
        return f"its source may not use the load balancer of {service}"
    return (
        f"load balancer of {service}: no node is ready for it"
        if service
        else "no load balancer has that place"
    )


_WORDS = (
    (names.Chain.POSTROUTING, "-j RETURN", "not marked: the source stays"),
    (names.Chain.POSTROUTING, "-j MARK", "take the mark off, or it would be masqueraded twice"),
    (names.Chain.POSTROUTING, "-j MASQUERADE", "masquerade: the source becomes this node's own"),
    (names.Chain.FORWARD, "--mark 0x", "accept: marked by kube-proxy"),
    (names.Chain.FORWARD, "RELATED,ESTABLISHED", "accept: belongs to a connection already known"),
    (names.Chain.FORWARD, "-j DROP", "drop: conntrack calls it invalid"),
    (names.Chain.MARK_MASQ, "-j MARK", "mark the packet for masquerading"),
    ("FLANNEL-POSTRTG", "-j RETURN", "between pods: the source stays"),
    ("FLANNEL-POSTRTG", "-j MASQUERADE", "masquerade: a pod's address means nothing outside"),
)
"""Chain, part of the rule, and what it means."""


def _choice(rules: Sequence[str], target: str, comment: str) -> str:
    """E.g. "1 of 3 endpoints of default/web:http, probability 0.333: 10.244.1.5:8080".

    The n-th of n rules is met only when all before it were not taken, so every endpoint's chance is 1/n.
    """
    choices = [r for r in rules if f"-j {names.Prefix.ENDPOINT}" in r]
    service, _, endpoint = comment.partition(" -> ")
    count = len(choices)
    if not count:
        return f"choose endpoint {endpoint} of {service}"
    position = next((i for i, r in enumerate(choices, 1) if r.endswith(f"-j {target}")), 0)
    drawn = _PROBABILITY.search(choices[position - 1]) if position else None
    chance = f", drawn with probability {float(drawn[1]):.3f}" if drawn else ""
    if position == count and count > 1:
        chance = ", the others were not drawn"
    return f"endpoint {position} of {count} of {service}{chance}: {endpoint}"

"""How two lists of rules differ, and what belongs to a Service."""

from netpod.cluster import rules, wantedrules
from netpod.cluster.rules import Found
from netpod.cluster.rulevalues import Chain, Rule
from netpod.cluster.wantedrules import Line
from netpod.linux.iptables import Counted
from netpod.proxy import iptables, nftables
from tests.unit.proxy import builders


def chain(name: str, *texts: str) -> Chain:
    """A chain of table nat."""
    return Chain(table="nat", name=name, purpose="", rules=tuple(Rule(rule=t) for t in texts))


def compiled(case: str) -> list[Counted]:
    """A case's rules as the kernel would tell them."""
    made = iptables.compile(builders.cases()[case], builders.CONFIG)
    return [
        Counted(table=t, chain=c, position=i, rule=r.split(" ", 2)[2], packets=i, bytes=0)
        for t, chains in made.items()
        for c, found in chains.items()
        for i, r in enumerate(found, 1)
    ]


def test_lines_are_told_in_order_and_counters_do_not_matter() -> None:
    """A rule that moved is one too few and one too many; chains on one side only are told whole."""
    before = [chain("A", "1", "2", "3"), chain("B", "x")]
    after = [chain("A", "1", "3", "2"), chain("C", "y")]
    assert [(one.sign, one.chain, one.rule) for one in wantedrules.difference(before, after)] == [
        ("+", "A", "3"),
        ("-", "A", "3"),
        ("-", "B", "x"),
        ("+", "C", "y"),
    ]
    same = [Chain(table="nat", name="A", purpose="", rules=(Rule(rule="1", packets=7),))]
    assert wantedrules.difference([chain("A", "1")], same) == []


def test_a_flushed_chain_is_missing() -> None:
    """What --diff would say after iptables -F of one chain."""
    whole = rules.every(Found(counted=compiled("web")))
    services = "KUBE-SERVICES"
    less = rules.every(Found(counted=[r for r in compiled("web") if r.chain != services]))
    found = wantedrules.difference(whole, less)
    assert found
    assert {one.sign for one in found} == {"-"}
    assert {one.chain for one in found} == {services}
    assert isinstance(found[0], Line)


def test_a_service_has_its_own_rules_only() -> None:
    """Shared chains show this Service's lines, its own chains are whole, and every choice has a meaning."""
    counted = compiled("two-services")
    found = rules.explained(rules.select(Found(counted=counted), ("kube-system", "kube-dns")))
    said = "\n".join(rule.rule + rule.meaning for one in found for rule in one.rules)
    assert "kube-system/kube-dns:dns" in said
    assert "shop/web" not in said
    assert "endpoint 1 of 2 of kube-system/kube-dns:dns" in said
    table = nftables.compile(builders.cases()["two-services"], builders.CONFIG)
    found = rules.explained(rules.select(Found(table=table), ("kube-system", "kube-dns")))
    said = "\n".join(rule.rule + rule.meaning for one in found for rule in one.rules)
    assert "Service kube-system/kube-dns:dns" in said
    assert "shop/web" not in said

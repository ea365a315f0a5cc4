"""The parts of IPVS mode this kernel has: ipsets and the rules that read them."""

import pytest

from netpod.linux import iptables, process
from netpod.proxy import ipvs, ipvs_compiled, ipvs_rules, restore
from tests.unit.proxy import builders

COMPILED = {
    name: ipvs_compiled.compile(model, builders.CONFIG) for name, model in builders.cases().items()
}


def asks_ipvs(made: ipvs.Ipvs) -> bool:
    """Whether a rule has match `ipvs`, which needs a kernel with ip_vs: test_ipvs_access.py sends packets at those."""
    return any("-m ipvs" in r for chains in made.rules.values() for c in chains.values() for r in c)


HERE = sorted(name for name, made in COMPILED.items() if not asks_ipvs(made))


@pytest.mark.parametrize("name", HERE)
def test_kernel_has_the_pinned_sets_and_rules(empty_node: str, name: str) -> None:
    """`ipset save` and `iptables-save` print what was compiled; the second restore changes nothing."""
    made = COMPILED[name]
    sets = ipvs.ipset_text(made.sets)
    process.run(["ipset", "restore"], stdin=sets.encode(), netns=empty_node)
    delta = restore.difference(
        made.rules, {}, jumps=ipvs_rules.JUMPS, ours=lambda _, chain: chain.startswith("KUBE-")
    )
    iptables.restore(empty_node, restore.restore_text(delta))
    saved = restore.parse_save(iptables.save(empty_node))
    assert not restore.difference(
        made.rules, saved, jumps=ipvs_rules.JUMPS, ours=lambda _, chain: chain.startswith("KUBE-")
    )
    lines = process.run(["ipset", "save"], netns=empty_node).stdout.decode().splitlines()
    assert sorted(line for line in lines if line.startswith("add")) == sorted(
        line for line in sets.splitlines() if line.startswith("add")
    )

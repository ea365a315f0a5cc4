"""Every golden text is what the kernel has after it was loaded."""

import re

import pytest

from netpod.linux import iptables, process
from netpod.proxy import restore
from netpod.proxy.config import Variant
from netpod.proxy.proxier import IptablesProxier, Proxier
from tests.kernel.proxy import lab
from tests.unit.proxy import builders

CASES = builders.cases()


def normalised(saved: str) -> str:
    """Without comments, counters, built-in chains and foreign tables, in the order of golden files."""
    return restore.save_text(restore.parse_save(re.sub(r"\[\d+:\d+\]", "[0:0]", saved)))


@pytest.mark.parametrize("name", sorted(CASES))
def test_kernel_has_the_pinned_rules(empty_node: str, name: str) -> None:
    """iptables-save after a sync prints the golden file."""
    lab.apply(CASES[name])
    golden = (builders.GOLDEN / f"{name}.iptables").read_text()
    assert normalised(iptables.save(empty_node)) == golden


@pytest.mark.parametrize("name", sorted(CASES))
def test_second_sync_hands_nothing_over(empty_node: str, name: str) -> None:
    """A restarted proxy adopts what is there: no chain is written again."""
    lab.apply(CASES[name])
    assert lab.run(lab.new_proxier().full_sync(CASES[name])) is False


def test_stale_chains_are_removed(empty_node: str) -> None:
    """Chains of Services that are gone disappear; other people's chains stay."""
    lab.apply(CASES["web-local"])
    process.run(["iptables", "-t", "nat", "-N", "CNI-HOSTPORT"], netns=empty_node)
    lab.apply(CASES["empty"])
    saved = iptables.save(empty_node)
    assert ":CNI-HOSTPORT " in saved
    golden = (builders.GOLDEN / "empty.iptables").read_text()
    assert normalised(saved.replace(":CNI-HOSTPORT - [0:0]\n", "")) == golden


def test_restart_corrects_only_the_difference(empty_node: str) -> None:
    """A rule somebody deleted comes back; counters of untouched chains go on."""
    lab.apply(CASES["web"])
    chain = "KUBE-SVC-67NZLRHBNDSAWJRO"
    process.run(["iptables", "-t", "nat", "-D", chain, "1"], netns=empty_node)
    text = iptables.save(empty_node)
    proxier = lab.new_proxier()
    assert isinstance(proxier, IptablesProxier)
    compiled = proxier._compiled
    compiled.rebuild(CASES["web"])
    delta = compiled.against(restore.parse_save(text))
    assert {table: set(chains) for table, chains in delta.changed.items()} == {"nat": {chain}}
    assert not delta.stale
    assert not delta.jumps


def test_flushed_tables_are_noticed_and_repaired(empty_node: str) -> None:
    """iptables -X takes the canary away; the next full sync writes everything again."""
    proxier = lab.apply(CASES["web"])
    assert lab.run(proxier.intact())
    process.run(["iptables", "-t", "nat", "-F"], netns=empty_node)
    process.run(["iptables", "-t", "nat", "-X"], netns=empty_node)
    assert not lab.run(proxier.intact())
    assert lab.run(proxier.full_sync(CASES["web"])) is True
    golden = (builders.GOLDEN / "web.iptables").read_text()
    assert normalised(iptables.save(empty_node)) == golden


def test_incremental_sync_equals_a_full_one(empty_node: str) -> None:
    """Going from model to model by differences ends with the same rules as starting there."""

    async def walk(proxier: Proxier) -> None:
        await proxier.full_sync(CASES["empty"])
        before = CASES["empty"]
        for name in (*sorted(CASES), *reversed(sorted(CASES))):
            after = CASES[name]
            await proxier.sync(after, {*before.services, *after.services})
            before = after
            golden = (builders.GOLDEN / f"{name}.iptables").read_text()
            assert normalised(iptables.save(empty_node)) == golden

    lab.run(walk(lab.new_proxier()))


@pytest.mark.parametrize("name", sorted(CASES))
def test_legacy_has_the_pinned_rules_too(empty_node: str, name: str) -> None:
    """Rules built with libiptc's API print as those that iptables-restore loaded; a restart adopts them."""
    lab.apply(CASES["affinity"], iptables_variant=Variant.LEGACY)
    lab.apply(CASES[name], iptables_variant=Variant.LEGACY)
    golden = (builders.GOLDEN / f"{name}.iptables").read_text()
    assert normalised(iptables.save(empty_node, legacy=True)) == golden
    proxier = lab.new_proxier(iptables_variant=Variant.LEGACY)
    assert lab.run(proxier.full_sync(CASES[name])) is False
    assert lab.run(proxier.intact())
    lab.run(proxier.remove())
    assert "KUBE" not in iptables.save(empty_node, legacy=True)
    assert not lab.run(proxier.intact())


def test_remove_leaves_other_peoples_rules_alone(empty_node: str) -> None:
    """Chains, jumps and canaries of this mode go from every table; the rest stays; twice is fine."""
    for command in ("-N CNI-HOSTPORT", "-A OUTPUT -j CNI-HOSTPORT"):
        process.run(["iptables", "-t", "nat", *command.split()], netns=empty_node)
    proxier = lab.apply(CASES["web-local"])
    lab.run(proxier.remove())
    lab.run(proxier.remove())
    saved = iptables.save(empty_node)
    assert "KUBE" not in saved
    assert "-A OUTPUT -j CNI-HOSTPORT" in saved

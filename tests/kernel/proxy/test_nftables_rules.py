"""Every golden table is what the kernel has after it was loaded, and only differences are handed over."""

import dataclasses

import pytest

from netpod.linux import nft, process
from netpod.proxy import model, nftables_proxier, nftables_table
from netpod.proxy.config import Mode
from netpod.proxy.model import Model
from netpod.proxy.nftables_proxier import NftablesProxier
from tests.kernel.proxy import lab
from tests.unit.proxy import builders

CASES = builders.cases()


def golden(name: str) -> str:
    """The pinned table."""
    return (builders.GOLDEN / f"{name}.nft").read_text()


def kernel(netns: str) -> str:
    """The kernel's table in the form of golden files; chains that wait for their deletion are left out."""
    table = nftables_proxier.observe(netns)
    assert table is not None
    for chain in [c for c, rules in table.chains.items() if "/" in c and not rules]:
        del table.chains[chain]
    return nftables_table.list_text(table)


def proxier() -> NftablesProxier:
    """A proxier that knows nothing yet."""
    made = lab.new_proxier(mode=Mode.NFTABLES)
    assert isinstance(made, NftablesProxier)
    return made


@pytest.mark.parametrize("name", sorted(CASES))
def test_kernel_has_the_pinned_table(empty_node: str, name: str) -> None:
    """The golden text is accepted, and the list after a sync says the same."""
    nft.check(empty_node, golden(name))
    lab.apply(CASES[name], mode=Mode.NFTABLES)
    assert kernel(empty_node) == golden(name)


@pytest.mark.parametrize("name", sorted(CASES))
def test_second_sync_hands_nothing_over(empty_node: str, name: str) -> None:
    """A restarted proxy adopts what is there."""
    lab.apply(CASES[name], mode=Mode.NFTABLES)
    assert lab.run(proxier().full_sync(CASES[name])) is False


def test_incremental_sync_equals_a_full_one(empty_node: str) -> None:
    """Going from model to model by differences ends with the same table as starting there."""

    async def walk(made: NftablesProxier) -> None:
        await made.full_sync(CASES["empty"])
        before = CASES["empty"]
        for name in (*sorted(CASES), *reversed(sorted(CASES))):
            after = CASES[name]
            await made.sync(after, {*before.services, *after.services})
            before = after
            assert kernel(empty_node) == golden(name)

    lab.run(walk(proxier()))


@pytest.mark.parametrize("name", sorted(CASES))
def test_restart_with_another_table_corrects_it(empty_node: str, name: str) -> None:
    """A full sync over somebody's leftovers ends with the pinned table."""
    lab.apply(CASES["affinity"], mode=Mode.NFTABLES)
    for command in ("add chain ip kube-proxy strange", "delete chain ip kube-proxy nat-output"):
        nft.apply(empty_node, command + "\n")
    lab.apply(CASES[name], mode=Mode.NFTABLES)
    assert kernel(empty_node) == golden(name)


def test_stale_chains_go_a_second_later(empty_node: str) -> None:
    """They are empty at once and deleted after a second; affinity sets go at once."""

    async def story() -> None:
        made = proxier()
        await made.full_sync(CASES["web-local"])
        await made.sync(CASES["empty"], CASES["web-local"].services)
        table = nftables_proxier.observe(empty_node)
        assert table is not None
        assert not table.affinity
        stale = {chain: rules for chain, rules in table.chains.items() if "/" in chain}
        assert stale
        assert not any(stale.values())
        assert 0.5 < await made.tidy() <= 1

    lab.run(story())


def test_stale_chains_of_an_earlier_process_go_too(
    empty_node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A restart finds empty chains nobody wants, and deletes them in its time."""
    monkeypatch.setattr(nftables_proxier, "STALE_SECONDS", 0.0)
    lab.apply(CASES["web"], mode=Mode.NFTABLES)

    async def story() -> None:
        made = proxier()
        await made.full_sync(CASES["empty"])
        assert await made.tidy() == 0
        table = nftables_proxier.observe(empty_node)
        assert table is not None
        assert not [chain for chain in table.chains if "/" in chain]

    lab.run(story())


def test_a_chain_that_is_wanted_again_is_not_deleted(
    empty_node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint that flips within a second keeps its chain."""

    async def story() -> None:
        made = proxier()
        await made.full_sync(CASES["web"])
        await made.sync(CASES["empty"], CASES["web"].services)
        await made.sync(CASES["web"], CASES["web"].services)
        monkeypatch.setattr(nftables_proxier, "STALE_SECONDS", 0.0)
        assert await made.tidy() == 0
        assert kernel(empty_node) == golden("web")

    lab.run(story())


def test_flushed_ruleset_is_noticed_and_repaired(empty_node: str) -> None:
    """`nft flush ruleset` takes everything away; the next full sync writes it again."""
    made = lab.apply(CASES["web"], mode=Mode.NFTABLES)
    assert lab.run(made.intact())
    process.run(["nft", "flush", "ruleset"], netns=empty_node)
    assert not lab.run(made.intact())
    assert lab.run(made.full_sync(CASES["web"])) is True
    assert kernel(empty_node) == golden("web")


def test_one_flushed_chain_is_noticed_and_repaired(empty_node: str) -> None:
    """The chains are there but one leads nowhere any more."""
    made = lab.apply(CASES["web"], mode=Mode.NFTABLES)
    process.run(["nft", "flush", "chain", "ip", "kube-proxy", "nat-output"], netns=empty_node)
    assert not lab.run(made.intact())
    assert lab.run(made.full_sync(CASES["web"]))
    assert lab.run(made.intact())


def test_changed_timeout_makes_the_affinity_set_again(empty_node: str) -> None:
    """A set's timeout cannot be changed in place."""
    build = model.build
    slices = (builders.endpoint_slice(builders.WEB),)

    def sticky(seconds: int) -> Model:
        made = builders.service(session_affinity="ClientIP")
        built = build((made,), slices, "worker")
        (name,) = built.services
        port = dataclasses.replace(built.services[name], affinity_seconds=seconds)
        return dataclasses.replace(built, services={name: port})

    async def story() -> None:
        made = proxier()
        first, second = sticky(60), sticky(90)
        await made.full_sync(first)
        await made.sync(second, second.services)
        table = nftables_proxier.observe(empty_node)
        assert table is not None
        assert set(table.affinity.values()) == {90}
        assert not await proxier().full_sync(second)

    lab.run(story())


def test_remove_leaves_nothing(empty_node: str) -> None:
    """The table is gone, and removing it twice is fine."""
    made = lab.apply(CASES["web"], mode=Mode.NFTABLES)
    lab.run(made.remove())
    lab.run(made.remove())
    assert nft.list_text(empty_node, "ruleset") == ""

"""The same request under other rules: iptables-legacy, whose events come as log messages, and nftables mode."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

import pytest

from netpod.linux import nft, process, sysctl
from netpod.proxy import model, nftables_compiled, nftables_table, variants
from netpod.proxy.compiled import Compiled
from netpod.proxy.config import ProxyConfig, Variant
from netpod.trace import explain, render, run
from netpod.trace.model import Source, Verdict
from netpod.trace.objects import ClusterObjects
from netpod.trace.request import Kind
from netpod.trace.run import Question
from netpod.trace.sources import nflog
from tests.kernel.trace import lab as world
from tests.kernel.trace.lab import Lab

NODES = {name: world.PATHS.netns_node(name) for name in world.NODES}


def config(node: str, variant: Variant = Variant.NFT) -> ProxyConfig:
    """As the lab's, for another variant."""
    return ProxyConfig(
        cluster="lab",
        node_name=node,
        node_ip=IPv4Address(world.NODES[node]),
        cluster_cidr=IPv4Network("10.244.0.0/16"),
        iptables_variant=variant,
    )


def clear(legacy: bool = False) -> None:
    """Take all iptables rules out of the nodes."""
    program = "iptables-legacy" if legacy else "iptables"
    for inside in NODES.values():
        for table in ("nat", "filter", "mangle"):
            process.run([program, "-t", table, "-F"], netns=inside)
            process.run([program, "-t", table, "-X"], netns=inside)


def program_legacy(objects: ClusterObjects) -> None:
    """kube-proxy's rules by libiptc."""
    for node, inside in NODES.items():
        compiled = Compiled(config(node, Variant.LEGACY))
        compiled.rebuild(model.build(objects.services, objects.endpoint_slices, node))
        delta = compiled.against(variants.observe(Variant.LEGACY, inside))
        variants.hand_over(Variant.LEGACY, inside, delta)


def program_nft(objects: ClusterObjects) -> None:
    """kube-proxy's rules of nftables mode."""
    for node, inside in NODES.items():
        compiled = nftables_compiled.Compiled(config(node))
        compiled.rebuild(model.build(objects.services, objects.endpoint_slices, node))
        for text in nftables_table.transactions(compiled.against(None)):
            nft.apply(inside, text)


@pytest.fixture(params=["legacy", "nftables"])
def mode(lab: Lab, request: pytest.FixtureRequest) -> Iterator[str]:
    """The lab's nodes under another mode, and back again."""
    clear()
    try:
        yield request.param
    finally:
        if request.param == "legacy":
            clear(legacy=True)
        else:
            for inside in NODES.values():
                nft.apply(inside, "table ip kube-proxy\ndelete table ip kube-proxy\n")


def program(mode: str, objects: ClusterObjects) -> None:
    """Make the nodes' rules say what the objects say."""
    (program_legacy if mode == "legacy" else program_nft)(objects)


def test_rules_are_named_in_every_mode(lab: Lab, mode: str) -> None:
    """Each mode has its own words for the choice of an endpoint; the trace knows them all."""
    program(mode, lab.objects)
    before = {n: sysctl.read(n, nflog.LOGGER) for n in NODES.values()}
    found = run.trace(world.PATHS, Question(target="http://example.com/", timeout=1.5), lab.objects)
    text = render.to_text(found, verbose=True)
    assert found.verdict is Verdict.DELIVERED, text
    chain = "KUBE-SVC-*" if mode == "legacy" else "service-*"
    hops = [h for h in found.hops if any(r.chain.startswith(chain[:-1]) for r in h.rules)]
    assert len(hops) >= 2, text
    choice = next(r for r in hops[-1].rules if r.chain.startswith(chain[:-1]))
    assert "of 2" in choice.meaning, text
    source = Source.NFLOG if mode == "legacy" else Source.NFTRACE
    assert {e.source for e in choice.evidence} == {source, Source.RULES}
    assert {n: sysctl.read(n, nflog.LOGGER) for n in NODES.values()} == before


def test_refusal_is_named_in_every_mode(lab: Lab, mode: str) -> None:
    """No endpoints: refused on the client's node, and said so."""
    objects = world.objects(endpoints=())
    program(mode, objects)
    question = Question(target="svc/example-service", source="pod/web-0", timeout=0.5)
    prediction = explain.explain(world.PATHS, question, objects)
    found = run.trace(world.PATHS, question, objects)
    text = render.to_text(found, verbose=True)
    assert found.verdict is Verdict.REFUSED, text
    assert "node worker refused it" in found.sentence, text
    assert not explain.disagreements(prediction, found), explain.to_text(prediction)
    assert prediction.verdicts == {Verdict.REFUSED}


def test_drop_is_named_in_every_mode(lab: Lab, mode: str) -> None:
    """A DROP rule of somebody else, quoted."""
    program(mode, lab.objects)
    tool = "iptables-legacy" if mode == "legacy" else "iptables"
    rule = ["FORWARD", "-p", "tcp", "--dport", "8080", "-j", "DROP"]
    process.run([tool, "-I", *rule], netns=NODES["worker2"])
    question = Question(target="pod/web-1:8080", source="pod/web-0", timeout=0.5)
    try:
        found = run.trace(world.PATHS, question, lab.objects)
    finally:
        process.run([tool, "-D", *rule], netns=NODES["worker2"])
    assert found.verdict is Verdict.DROPPED, render.to_text(found, verbose=True)
    assert "node worker2 dropped it in chain FORWARD" in found.sentence
    assert "-j DROP" in found.sentence


@pytest.mark.parametrize("source", ["outside", "node/worker2", "pod/web-0"])
def test_prediction_and_trace_agree_in_every_mode(lab: Lab, mode: str, source: str) -> None:
    """Other rules, other words, the same journey: what is predicted happens."""
    program(mode, lab.objects)
    targets = ["node/worker:30080", "node/worker2:30080", "pod/web-1:8080"]
    targets += [] if source == "outside" else ["svc/example-service", "10.96.0.20:81"]
    for target in targets:
        question = Question(target=target, source=source, timeout=0.3, kind=Kind.TCP)
        prediction = explain.explain(world.PATHS, question, lab.objects)
        found = run.trace(world.PATHS, question, lab.objects)
        wrong = explain.disagreements(prediction, found)
        text = explain.to_text(prediction) + "\n\n" + render.to_text(found, verbose=True)
        assert not wrong, f"{mode} {source} {target}: {wrong}\n{text}"

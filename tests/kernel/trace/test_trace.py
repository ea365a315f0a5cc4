"""A real request through real namespaces, and what the trace says of it against what is known to be true."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from netpod.linux import netns, nft
from netpod.trace import render, run
from netpod.trace.model import Confidence, Hop, Role, Source, Trace, Verdict
from netpod.trace.objects import ClusterObjects
from netpod.trace.world import observe_world
from tests.kernel.trace import lab as world
from tests.kernel.trace.lab import Lab

URL = "http://example.com/"
WORKER = world.PATHS.netns_node("worker")
EDGE = world.PATHS.netns_edge


def trace(lab: Lab, objects: ClusterObjects | None = None, url: str = URL) -> Trace:
    """Trace one request with a short patience."""
    return run.trace_url(world.PATHS, url, objects or lab.objects, timeout=1.5)


def hop_in(found: Trace, step: int, netns_name: str) -> Hop:
    """The hop of a step in a namespace."""
    return next(h for h in found.steps[step - 1].hops if h.netns == netns_name)


def chains(hop: Hop, table: str) -> list[str]:
    """Chains whose rules a packet met, in order, without repetition; hashes cut off."""
    names = [r.chain.rsplit("-", 1)[0] if "-" in r.chain[5:] else r.chain for r in hop.rules
             if r.table == table]  # fmt: skip
    return list(dict.fromkeys(names))


def test_all_eight_steps_are_delivered_and_name_the_pod_that_answered(lab: Lab) -> None:
    """The endpoint that kube-proxy's rules chose is the pod whose name the answer carries."""
    found = trace(lab)
    assert found.verdict is Verdict.DELIVERED, render.to_text(found)
    assert [s.number for s in found.steps] == list(range(1, 9))
    assert {s.verdict for s in found.steps} == {Verdict.DELIVERED}
    answered = found.answer.body.decode().split()[0].removeprefix("pod=")
    assert found.steps[6].facts["pod"] == f"pod default/{answered}"
    assert answered in found.sentence
    times = [s.time_ns for s in found.steps]
    assert times == sorted(t for t in times if t is not None)


def test_client_leg_crosses_node_port_chains_in_order(lab: Lab) -> None:
    """A node port is looked up after the Services, marked for masquerading, and sent to an endpoint."""
    hop = hop_in(trace(lab), 3, WORKER)
    assert chains(hop, "nat") == [
        "PREROUTING", "KUBE-SERVICES", "KUBE-NODEPORTS", "KUBE-EXT", "KUBE-MARK", "KUBE-SVC",
        "KUBE-SEP", "POSTROUTING", "KUBE-POSTROUTING",
    ]  # fmt: skip
    assert all(rule.text.startswith(f"-A {rule.chain} ") for rule in hop.rules)
    chosen = [r for r in hop.rules if "--to-destination 10.244.1.5:80" in r.text]
    assert [r.verdict for r in chosen] == ["accept"]


def test_upstream_leg_crosses_the_cluster_ip_chains_in_order(lab: Lab) -> None:
    """A cluster IP leads straight to the Service's chain; pods are not masqueraded."""
    found = trace(lab)
    hop = hop_in(found, 6, WORKER)
    assert chains(hop, "nat") == [
        "PREROUTING", "KUBE-SERVICES", "KUBE-SVC", "KUBE-SEP", "POSTROUTING", "KUBE-POSTROUTING",
    ]  # fmt: skip
    choice = next(r for r in hop.rules if r.chain.startswith("KUBE-SVC-"))
    assert "of 2 of default/example-service" in choice.meaning
    assert f"--to-destination {hop.after.destination}" in "".join(r.text for r in hop.rules)


def test_edge_rule_is_named_with_its_text(lab: Lab) -> None:
    """The load balancer's rules are native: their text is nft's."""
    lab.balance(lab.objects, ["worker", "worker2"])
    hop = hop_in(trace(lab), 2, EDGE)
    assert {r.table for r in hop.rules} == {"netpod-lb"}
    assert [r.chain.split("/")[0] for r in hop.rules] == ["prerouting", "service-kube-system"]
    assert "dnat to numgen inc mod 2" in hop.rules[1].text
    assert hop.inward == ("outside",)
    assert hop.outward == ("eth0",)
    assert hop.before.source == hop.after.source


def test_node_without_ingress_pod_sends_the_request_on_to_one_that_has(lab: Lab) -> None:
    """A node port answers on every node; the node that took the request masquerades, so the answer comes back to it."""
    lab.balance(lab.objects, ["worker2"])
    found = trace(lab)
    assert found.verdict is Verdict.DELIVERED, render.to_text(found)
    hops = found.steps[2].hops
    assert [h.netns.removeprefix("netpod-lab-") for h in hops] == [
        "underlay", "worker2", "underlay", "worker", "worker-kube-system.ingress-0",
    ]  # fmt: skip
    assert str(hops[-1].before.source.ip) == "172.18.0.4"
    assert hops[1].nat is not None
    assert hops[1].nat.conntrack is not None
    assert hops[3].nat is None
    # Behind the masquerade nobody knows the port beforehand; the rules met there are known all the same.
    assert chains(hops[3], "nat")[:1] == ["PREROUTING"]
    assert "KUBE-FORWARD" in {r.target for r in hops[3].rules}


def test_every_rewrite_is_proven_by_a_conntrack_entry(lab: Lab) -> None:
    """Each address change, forth and back, is the difference of one entry's two tuples."""
    found = trace(lab)
    rewrites = [h.nat for s in found.steps for h in s.hops if h.nat is not None]
    assert len(rewrites) == 6
    assert all(r.conntrack is not None and r.conntrack.netns == r.netns for r in rewrites)
    assert {r.netns for r in rewrites} <= {EDGE, WORKER, world.PATHS.netns_node("worker2")}


def test_both_legs_are_joined_by_proof(lab: Lab) -> None:
    """The trace id in the payload proves it; access line and source port declare the same."""
    found = trace(lab)
    upstream = found.legs[1]
    assert [e.confidence for e in upstream.evidence] == [
        Confidence.PROVEN, Confidence.DECLARED, Confidence.DECLARED,
    ]  # fmt: skip
    assert 61000 <= upstream.flows[0].source.port <= 61999


def test_other_requests_do_not_fill_the_rule_trace(lab: Lab) -> None:
    """Of other requests at most the first packets at the ingress pod are traced, so none can fill the buffer."""
    with _noise() as sent:
        found = trace(lab)
    assert found.verdict is Verdict.DELIVERED, render.to_text(found)
    assert len(sent) > 5
    # One request makes some 70 events on one node, 120 across two; all packets of the others would make thousands.
    assert {r.source: r.events for r in found.sources}[Source.NFTRACE] < 600
    assert not any(r.lost for r in found.sources)


def test_service_without_endpoints_is_refused_at_kube_proxy(lab: Lab) -> None:
    """The REJECT rule on the ingress pod's node is named, though its SYN never had a payload to mark it."""
    objects = world.objects(endpoints=())
    lab.program(objects)
    found = trace(lab, objects)
    assert found.verdict is Verdict.REFUSED, render.to_text(found)
    step = found.steps[5]
    assert step.verdict is Verdict.REFUSED
    assert "has no endpoints" in step.sentence
    stopped = [r for r in step.hops[0].rules if r.verdict == "drop"]
    assert len(stopped) == 1
    assert "-j REJECT" in stopped[0].text
    assert found.steps[6].verdict is Verdict.NOT_REACHED
    assert found.answer.status == 503


def test_closed_port_is_refused_at_the_container(lab: Lab) -> None:
    """A pod that does not listen answers a SYN with a reset."""
    objects = world.objects()
    closed = replace(
        objects.endpoint_slices[1].ports[0],
        port=9999,
    )
    slices = (objects.endpoint_slices[0], replace(objects.endpoint_slices[1], ports=(closed,)))
    objects = replace(objects, endpoint_slices=slices)
    lab.program(objects)
    found = trace(lab, objects)
    assert found.verdict is Verdict.REFUSED, render.to_text(found)
    assert found.steps[6].verdict is Verdict.REFUSED
    assert "nothing listens" in found.steps[6].sentence


def test_dropping_rule_is_named(lab: Lab) -> None:
    """A rule of somebody else that drops the request at the edge is found and quoted."""
    nft.apply(
        EDGE,
        "table ip wall { chain forward { type filter hook forward priority 0; "
        'ip daddr 172.18.0.3 drop comment "no way"\n }\n}\n',
    )
    try:
        found = trace(lab)
    finally:
        nft.apply(EDGE, "delete table ip wall")
    assert found.verdict is Verdict.DROPPED, render.to_text(found)
    assert found.steps[1].verdict is Verdict.DROPPED
    assert "no way" in found.steps[1].sentence
    assert {s.verdict for s in found.steps[2:]} == {Verdict.NOT_REACHED}


def test_missing_route_is_found_where_the_default_route_leads(lab: Lab) -> None:
    """Without its own route to a pod network a node asks the edge, and the edge has none either."""
    objects = world.objects(endpoints=world.WEB[1:])
    lab.program(objects)
    lab.ip(WORKER, "route del 10.244.2.0/24")
    try:
        found = trace(lab, objects)
    finally:
        lab.ip(WORKER, "route add 10.244.2.0/24 via 172.18.0.4")
    assert found.verdict is Verdict.DROPPED, render.to_text(found)
    assert found.steps[5].verdict is Verdict.DELIVERED
    assert "edge dropped it: it has no route to 10.244.2.6" in found.steps[6].sentence
    assert hop_in(found, 6, WORKER).rules


def test_host_without_rule_is_refused_by_the_ingress(lab: Lab) -> None:
    """No Ingress serves that host: HAProxy answers 404 itself, and says that no rule matched."""
    found = trace(lab, url="http://unknown.example/")
    assert found.verdict is Verdict.REFUSED, render.to_text(found)
    assert found.answer.status == 404
    assert found.steps[3].verdict is Verdict.REFUSED
    assert found.steps[4].verdict is Verdict.NOT_REACHED


def test_without_access_line_the_rule_is_inconclusive(lab: Lab) -> None:
    """Which rule matched is the proxy's secret: without its log the step is not guessed from the objects."""
    objects = world.objects()
    renamed = [replace(p, metadata=replace(p.metadata, uid="elsewhere")) for p in objects.pods[:1]]
    objects = replace(objects, pods=(*renamed, *objects.pods[1:]))
    found = trace(lab, objects)
    assert found.steps[3].verdict is Verdict.INCONCLUSIVE
    assert found.verdict is Verdict.DELIVERED, render.to_text(found)
    assert "evidence is missing for step 4" in found.sentence
    report = next(r for r in found.sources if r.source is Source.PROXY_LOG)
    assert not report.complete


def test_json_gives_evidence_for_every_fact(lab: Lab) -> None:
    """Every rule, rewrite, entry, packet and leg says who saw it and how sure it is."""
    found = json.loads(render.to_json(trace(lab)))
    assert (found["kind"], found["version"]) == ("Trace", 1)
    facts = [*found["legs"], *found["conntrack"], *(p for g in found["legs"] for p in g["packets"])]
    for step in found["steps"]:
        facts += [step, *step["hops"], *(r for h in step["hops"] for r in h["rules"])]
        facts += [h[k] for h in step["hops"] for k in ("nat", "conntrack") if h[k] is not None]
    assert len(facts) > 60
    for fact in facts:
        assert fact["evidence"]
        assert {e["confidence"] for e in fact["evidence"]} <= {"proven", "declared", "inferred"}
    assert all(isinstance(s["time_ns"], int) for s in found["steps"])


def test_role_of_every_hop_is_known(lab: Lab) -> None:
    """Each namespace crossed is one the cluster's names explain."""
    places = observe_world(world.PATHS, lab.objects).places
    roles = {p.role for p in places.values()}
    assert roles == {Role.OUTSIDE, Role.EDGE, Role.UNDERLAY, Role.NODE, Role.POD}


@contextmanager
def _noise() -> Iterator[list[int]]:
    """Untraced requests from the same client, as fast as one thread sends them."""
    stop = threading.Event()
    sent: list[int] = []

    def send() -> None:
        while not stop.is_set():
            with netns.socket_in(
                world.PATHS.netns_outside, socket.AF_INET, socket.SOCK_STREAM, 0
            ) as sock:
                sock.settimeout(2)
                sock.connect((world.VIP, 80))
                sock.sendall(b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n")
                while sock.recv(65536):
                    pass
                sent.append(1)

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        stop.set()
        thread.join()

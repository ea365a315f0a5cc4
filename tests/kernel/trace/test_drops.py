"""Each way a packet can die, made on purpose in the lab, and whether the trace says where and why."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import dns.message
import dns.rcode
import pytest

from netpod.ip import host_port
from netpod.linux import netns, nft, sysctl
from netpod.trace import render, run
from netpod.trace.model import Source, Trace, Verdict
from netpod.trace.objects import ClusterObjects
from netpod.trace.request import Kind
from netpod.trace.run import Question
from tests.kernel.trace import lab as world
from tests.kernel.trace import modes
from tests.kernel.trace.lab import Lab
from tests.kernel.trace.plan import FOUR

WORKER, WORKER2 = (world.PATHS.netns_node(n) for n in ("worker", "worker2"))
EDGE, OUTSIDE = world.PATHS.netns_edge, world.PATHS.netns_outside
POD0 = world.PATHS.netns_pod("worker", "default", "web-0")
POD1 = world.PATHS.netns_pod("worker2", "default", "web-1")
SVC = "svc/example-service"


def ask(
    lab: Lab, target: str = SVC, objects: ClusterObjects | None = None, **more: object
) -> Trace:
    """Trace from web-0 with a short patience, unless told otherwise."""
    question = replace(
        Question(target=target, source="pod/web-0", timeout=0.4),
        **more,  # type: ignore[arg-type]
    )
    return run.trace(world.PATHS, question, objects or lab.objects)


def dropped(found: Trace, *words: str, verdict: Verdict = Verdict.DROPPED) -> None:
    """The verdict and each of the words are in the sentence."""
    text = render.to_text(found, verbose=True)
    assert found.verdict is verdict, text
    for word in words:
        assert word in found.sentence, text


def sources(found: Trace) -> set[Source]:
    """Who says so, of the step that ended the request."""
    ended = next(s for s in found.steps if s.verdict in (Verdict.DROPPED, Verdict.REFUSED))
    return {e.source for e in ended.evidence}


@contextmanager
def table(name: str, text: str, family: str = "inet") -> Iterator[None]:
    """An nft table of somebody else's."""
    nft.apply(name, f"table {family} wall {{\n{text}\n}}\n")
    try:
        yield
    finally:
        nft.apply(name, f"delete table {family} wall")


every = pytest.mark.parametrize("mode", modes.EVERY, indirect=True)
four = pytest.mark.parametrize("mode", modes.OLD, indirect=True)


def asking(lab: Lab) -> str:
    """How a neighbour is asked for, in the words of a trace."""
    return "ARP" if lab.plan is FOUR else "neighbour solicitation"


@contextmanager
def setting(name: str, key: str, value: int) -> Iterator[None]:
    """Another value of a sysctl."""
    before = sysctl.read(name, key)
    sysctl.write(name, key, value)
    try:
        yield
    finally:
        sysctl.write(name, key, before)


@contextmanager
def changed(lab: Lab, name: str, do: str, undo: str) -> Iterator[None]:
    """An `ip` command and the one that takes it back."""
    lab.ip(name, do)
    try:
        yield
    finally:
        lab.ip(name, undo)


@every
@pytest.mark.parametrize(
    ("target", "verdict", "word"),
    [("REJECT", Verdict.REFUSED, "refused it in chain FORWARD"),
     ("DROP", Verdict.DROPPED, "dropped it in chain FORWARD")],
)  # fmt: skip
def test_rule_of_somebody_is_quoted(
    lab: Lab, mode: str, target: str, verdict: Verdict, word: str
) -> None:
    """A REJECT or DROP rule on the way is named with its text."""
    with modes.wall(mode, WORKER, port=8080, verdict=target, family=lab.plan.family):
        found = ask(lab, lab.plan.far())
    text = target.lower() if mode == "nftables" else f"-j {target}"
    dropped(found, "node worker", word, text, verdict=verdict)
    assert (Source.NFLOG if mode == "legacy" else Source.NFTRACE) in sources(found)


@every
def test_chain_policy_is_named(lab: Lab, mode: str) -> None:
    """A chain whose policy is DROP has no rule to quote."""
    with modes.closed(mode, WORKER2, lab.plan.family):
        found = ask(lab, lab.plan.far())
    dropped(found, "node worker2 dropped it in chain FORWARD (policy of chain FORWARD)")


def test_packet_that_conntrack_calls_invalid(lab: Lab, mode: str) -> None:
    """A middlebox that makes nonsense of the flags makes packets of no connection: KUBE-FORWARD drops them."""
    wall = (
        f"chain c {{ type filter hook prerouting priority -290; {lab.plan.family.nft} daddr {lab.plan.web[1][3]} "
        "tcp flags & (syn | ack) == ack tcp flags set (fin | syn); }\n"
    )
    if mode == "nftables":
        # kube-proxy has no rule about it in this mode: somebody else's drops them.
        wall += "chain FORWARD { type filter hook forward priority 0; ct state invalid drop\n }"
    with table(WORKER2, wall):
        found = ask(lab, lab.plan.far())
    words = (
        ("FORWARD", "ct state invalid drop")
        if mode == "nftables"
        else ("KUBE-FORWARD", "conntrack calls it invalid")
    )
    dropped(found, "node worker2", *words)


def test_no_route(lab: Lab, mode: str) -> None:
    """The last router has no route to the destination."""
    found = ask(lab, host_port(lab.plan.nowhere, 80), source="outside")
    dropped(found, "edge dropped it", f"no route to {lab.plan.nowhere}")


def test_blackhole(lab: Lab, mode: str) -> None:
    """A blackhole route says nothing to the sender."""
    net, to = ("10.77.0.0/16", "10.77.0.1") if lab.plan is FOUR else ("fd77::/16", "fd77::1")
    with changed(lab, WORKER, f"route add blackhole {net}", f"route del blackhole {net}"):
        found = ask(lab, host_port(to, 80))
    dropped(found, "node worker dropped it", f"blackhole route covers {to}")


@four
def test_reverse_path_filter(lab: Lab, mode: str) -> None:
    """A strict filter drops a source that is reached by another interface."""
    with (
        setting(WORKER2, "net.ipv4.conf.all.rp_filter", 1),
        changed(lab, WORKER2, "route add 10.244.1.0/28 dev cni0", "route del 10.244.1.0/28"),
    ):
        found = ask(lab, lab.plan.far())
    dropped(found, "node worker2 dropped it", "rp_filter")


def test_forwarding_switched_off(lab: Lab, mode: str) -> None:
    """A node with ip_forward 0 is no router."""
    key = "net.ipv4.ip_forward" if lab.plan is FOUR else "net.ipv6.conf.all.forwarding"
    with setting(WORKER, key, 0):
        found = ask(lab, lab.plan.far())
    dropped(found, "node worker dropped it", f"{key.rpartition('.')[2]} is 0")


def test_time_to_live_runs_out(lab: Lab, mode: str) -> None:
    """The second router is one too many."""
    found = ask(lab, lab.plan.far(), ttl=2)
    dropped(
        found, "node worker2", "time to live ran out" if lab.plan is FOUR else "hop limit ran out"
    )


def test_packet_too_big_for_the_next_link(lab: Lab, mode: str) -> None:
    """Forbidden to fragment, a big datagram ends at the link with the small MTU."""
    # Below 1280 a link loses its IPv6 addresses.
    with changed(lab, WORKER2, "link set cni0 mtu 1300", "link set cni0 mtu 1500"):
        found = ask(lab, lab.plan.far(9999), kind=Kind.UDP, size=1400)
    dropped(found, "node worker2", "too big")


def test_dead_neighbour(lab: Lab, mode: str) -> None:
    """Nobody has the address: ARP, or a neighbour solicitation, is asked in vain."""
    with setting(WORKER2, f"net.ipv{lab.plan.family.version}.neigh.cni0.retrans_time_ms", 50):
        found = ask(lab, lab.plan.far(80, 99))
    dropped(found, "node worker2", asking(lab))
    ended = next(s for s in found.steps if s.verdict is Verdict.DROPPED)
    words = f"{asking(lab)} for {lab.plan.pod('worker2', 99)} asked"
    assert any(words in e.reference for e in ended.evidence)


def test_no_tcp_listener(lab: Lab, mode: str) -> None:
    """A pod refuses a port that nothing listens on, and the trace says what it does listen on."""
    found = ask(lab, lab.plan.far(9999))
    dropped(found, "pod default/web-1", "nothing listens", "8080", verdict=Verdict.REFUSED)


def test_no_udp_listener(lab: Lab, mode: str) -> None:
    """For a datagram it is an ICMP error that says so."""
    found = ask(lab, lab.plan.far(9999), kind=Kind.UDP)
    dropped(found, "pod default/web-1", "nothing listens", verdict=Verdict.REFUSED)


def test_full_backlog(lab: Lab, mode: str) -> None:
    """A server that does not accept: further SYNs get no answer, a counter tells."""
    family, at = lab.plan.family, (lab.plan.web[1][3], 7777)
    server = netns.socket_in(POD1, family.af, socket.SOCK_STREAM, 0)
    waiting = [netns.socket_in(POD1, family.af, socket.SOCK_STREAM, 0) for _ in range(2)]
    try:
        server.bind(at)
        server.listen(0)
        for client in waiting:
            client.setblocking(False)
            client.connect_ex(at)
        found = ask(lab, lab.plan.far(7777), kind=Kind.TCP)
    finally:
        for item in (server, *waiting):
            item.close()
    dropped(found, "pod default/web-1", "backlog is full")


def test_pod_link_down(lab: Lab, mode: str) -> None:
    """The node's end of the pod's veth pair is down."""
    with (
        setting(WORKER2, f"net.ipv{lab.plan.family.version}.neigh.cni0.retrans_time_ms", 50),
        changed(lab, WORKER2, "link set veth2 down", "link set veth2 up"),
    ):
        found = ask(lab, lab.plan.far())
    dropped(found, "node worker2", "link veth2 of node worker2 is down")


def test_hairpin_off(lab: Lab, mode: str) -> None:
    """A pod that reaches itself through its Service must come back in where it went out."""
    objects = lab.make(lab.plan.web[:1])
    lab.program(objects)
    found = ask(lab, SVC, objects)
    dropped(found, "node worker", "hairpin mode is off")


def test_wrong_target_port(lab: Lab, mode: str) -> None:
    """The Service sends to a port on which the pod does not listen."""
    objects = lab.make()
    wrong = replace(objects.endpoint_slices[1].ports[0], port=9999)
    slices = (objects.endpoint_slices[0], replace(objects.endpoint_slices[1], ports=(wrong,)))
    objects = replace(objects, endpoint_slices=slices)
    lab.program(objects)
    found = ask(lab, SVC, objects, source="node/worker")
    dropped(found, "nothing listens on tcp port 9999", "8080", verdict=Verdict.REFUSED)


@every
@pytest.mark.parametrize("source", ["pod/web-0", "node/worker"])
def test_no_endpoints(lab: Lab, mode: str, source: str) -> None:
    """A Service without endpoints is refused at once, from a pod and from the node itself."""
    objects = lab.make(())
    lab.program(objects)
    found = ask(lab, SVC, objects, source=source)
    dropped(found, "node worker refused it", "has no endpoints", verdict=Verdict.REFUSED)


@every
def test_no_local_endpoints(lab: Lab, mode: str) -> None:
    """With externalTrafficPolicy Local a node without endpoints drops what comes from outside."""
    objects = lab.make()
    spec = replace(objects.services[0].spec, external_traffic_policy="Local")
    services = (replace(objects.services[0], spec=spec), *objects.services[1:])
    objects = replace(objects, services=services)
    lab.program(objects)
    lab.balance(objects, ("worker2",))
    found = ask(lab, "http://example.com/", objects, source="outside")
    dropped(found, "node worker2 dropped it", "has no local endpoints")


@every
def test_ingress_backend_unreachable(lab: Lab, mode: str) -> None:
    """The SYN of the second connection is dropped: it never carried anything that could mark it as ours."""
    objects = lab.make(lab.plan.web[1:])
    lab.program(objects)
    with modes.wall(mode, WORKER2, port=8080, verdict="DROP", family=lab.plan.family):
        found = ask(lab, "http://example.com/", objects, source="outside", timeout=1.0)
    dropped(found, "step 7", "node worker2 dropped it in chain FORWARD", "dport 8080")


def test_readiness_fails(lab: Lab, mode: str) -> None:
    """Endpoints that are not ready get no traffic: refused, and the Service step says how many wait."""
    objects = lab.make()
    piece = objects.endpoint_slices[1]
    waiting = tuple(
        replace(e, conditions=replace(e.conditions, ready=False)) for e in piece.endpoints
    )
    objects = replace(
        objects, endpoint_slices=(objects.endpoint_slices[0], replace(piece, endpoints=waiting))
    )
    lab.program(objects)
    found = ask(lab, SVC, objects)
    dropped(found, "has no endpoints", verdict=Verdict.REFUSED)
    service = next(s for s in found.steps if s.name == "Service")
    assert "0 ready endpoints and 2 not ready" in service.sentence


def test_name_that_does_not_exist(lab: Lab, mode: str) -> None:
    """The network did its work: the query and its answer arrived, and the answer is that there is no such name."""
    server = world.listener(POD1, lab.plan.family, socket.SOCK_DGRAM)
    server.settimeout(3)
    server.bind(("", 53))

    def serve() -> None:
        data, peer = server.recvfrom(4096)
        reply = dns.message.make_response(dns.message.from_wire(data))
        reply.set_rcode(dns.rcode.NXDOMAIN)
        server.sendto(reply.to_wire(), peer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        found = ask(lab, lab.plan.far(53), kind=Kind.DNS, query="nobody.default.svc.cluster.local")
    finally:
        thread.join()
        server.close()
    dropped(
        found,
        "nobody.default.svc.cluster.local. does not exist (NXDOMAIN)",
        verdict=Verdict.REFUSED,
    )
    assert [s.name for s in found.steps if s.verdict is Verdict.REFUSED] == ["answer"]


def test_drop_nobody_explains_is_inconclusive(lab: Lab, mode: str) -> None:
    """A hook that no rule trace sees drops it: the kernel's reason says that much, and who is not guessed."""
    hook = f"type filter hook ingress device veth2 priority 0; meta protocol {lab.plan.family.nft} drop;"
    wall = f"table netdev wall {{ chain c {{ {hook} }}\n}}\n"
    nft.apply(WORKER2, wall)
    try:
        found = ask(lab, lab.plan.far())
    finally:
        nft.apply(WORKER2, "delete table netdev wall")
    dropped(found, "a netfilter hook said so, which rule is not known")

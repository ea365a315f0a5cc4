"""From anywhere to anything: what is sent, what arrives, and that the trace says which."""

import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from ipaddress import IPv4Address, ip_network
from pathlib import Path

import pytest

from netpod.api import codec
from netpod.api.pod import Pod
from netpod.errors import NotFound, UsageError
from netpod.ip import Family, host_port
from netpod.linux import netns, process
from netpod.trace import explain, listen, live, render, run
from netpod.trace.formats import html, mermaid, record, table
from netpod.trace.model import Trace, Verdict
from netpod.trace.request import Kind
from netpod.trace.run import Question
from netpod.trace.world import observe_world
from tests.kernel.trace import lab as world
from tests.kernel.trace import modes
from tests.kernel.trace.lab import Lab

POD1 = world.PATHS.netns_pod("worker2", "default", "web-1")


def ask(lab: Lab, target: str, source: str = "pod/web-0", **more: object) -> Trace:
    """Trace with a short patience."""
    question = replace(Question(target=target, source=source, timeout=0.8), **more)  # type: ignore[arg-type]
    return run.trace(world.PATHS, question, lab.objects)


@contextmanager
def udp_echo(port: int, family: Family = Family.IPV4) -> Iterator[None]:
    """A datagram server in web-1 that answers once."""
    server = world.listener(POD1, family, socket.SOCK_DGRAM)
    server.settimeout(2)
    server.bind(("", port))

    def serve() -> None:
        data, peer = server.recvfrom(65535)
        server.sendto(b"you said " + data, peer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        thread.join()
        server.close()


both = pytest.mark.parametrize("mode", modes.BOTH, indirect=True)


@both
@pytest.mark.parametrize(
    ("source", "target", "names"),
    [
        ("pod/web-0", "pod/web-1:8080", ["client", "container", "the way back"]),
        ("node/worker", "pod/web-0:8080", ["client", "container", "the way back"]),
        ("node/worker2", "svc/example-service", ["client", "Service", "kube-proxy", "container", "the way back"]),
        ("outside", "node/worker:30080", ["client", "Service", "kube-proxy", "container", "the way back"]),
    ],
)  # fmt: skip
def test_only_the_steps_that_apply_are_shown(
    lab: Lab, mode: str, source: str, target: str, names: list[str]
) -> None:
    """Without a Service there is no kube-proxy step; without an ingress no rule of it."""
    found = ask(lab, target, source, kind=Kind.TCP)
    assert found.verdict is Verdict.DELIVERED, render.to_text(found)
    assert [s.name for s in found.steps] == names
    assert [s.number for s in found.steps] == list(range(1, len(names) + 1))


@both
def test_nodes_own_packets_begin_at_their_socket(lab: Lab, mode: str) -> None:
    """A node rewrites its own packets before any tap sees them: conntrack and OUTPUT's rules tell the beginning."""
    found = ask(lab, "svc/example-service", "node/worker")
    assert found.verdict is Verdict.DELIVERED, render.to_text(found)
    hop = found.hop(chain="KUBE-SVC-*")
    assert hop is not None
    assert str(hop.before.destination) == host_port(lab.plan.web_ip, 80)
    assert hop.nat is not None
    assert hop.nat.conntrack is not None
    assert "OUTPUT" in {r.chain for r in hop.rules}
    answered = found.answer.body.decode().split()[0].removeprefix("pod=")
    assert answered in found.sentence


@both
def test_datagram_and_its_answer(lab: Lab, mode: str) -> None:
    """UDP has no handshake: the datagram opens, the answer closes."""
    with udp_echo(5000, lab.plan.family):
        found = ask(lab, lab.plan.far(5000), kind=Kind.UDP)
    assert found.verdict is Verdict.DELIVERED, render.to_text(found)
    assert found.answer.body.startswith(b"you said netpod trace")


@both
def test_echo_request_across_nodes(lab: Lab, mode: str) -> None:
    """ICMP has an id in place of ports; each node's rules see it."""
    found = ask(lab, "pod/web-1", kind=Kind.ICMP)
    assert found.verdict is Verdict.DELIVERED, render.to_text(found)
    nodes = {h.netns for h in found.hops if h.rules}
    assert nodes == {world.PATHS.netns_node(n) for n in ("worker", "worker2")}


@pytest.mark.parametrize(
    ("target", "source", "error"),
    [
        ("svc/none", "pod/web-0", NotFound),
        ("pod/none", "pod/web-0", NotFound),
        ("svc/example-service", "pod/none", NotFound),
        ("svc/example-service", "outside", UsageError),
        ("svc/example-service", "moon", UsageError),
        ("svc/example-service:x", "pod/web-0", UsageError),
        ("ship/one", "pod/web-0", UsageError),
    ],
)
def test_what_cannot_be_traced_is_said(
    lab: Lab, target: str, source: str, error: type[Exception]
) -> None:
    """Nothing is sent for a target or source that means nothing."""
    with pytest.raises(error):
        ask(lab, target, source)


SOURCES = ("outside", "node/worker", "node/worker2", "pod/web-0", "pod/web-1")
TARGETS = ("http://example.com/", "svc/example-service", "svc/ingress", "10.244.1.6:8080", "pod/web-1:8080",
           "10.244.2.6:9", "node/worker:30080", "node/worker2:30080", "172.18.0.3:9")  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_prediction_and_trace_agree(lab: Lab, source: str) -> None:
    """What rules and routes predict is what happens: for every target, and with and without endpoints."""
    checked = 0
    for target in TARGETS:
        kube_system = target == "svc/ingress"
        question = Question(
            target=target,
            source=source,
            timeout=0.3,
            namespace="kube-system" if kube_system else "default",
            kind=Kind.TCP,
        )
        if kube_system and source.startswith("pod/"):
            question = replace(question, source=f"pod/default/{source[4:]}")
        try:
            prediction = explain.explain(world.PATHS, question, lab.objects)
        except UsageError:
            continue  # a cluster IP from outside
        found = run.trace(world.PATHS, question, lab.objects)
        wrong = explain.disagreements(prediction, found)
        text = explain.to_text(prediction) + "\n\n" + render.to_text(found, verbose=True)
        assert not wrong, f"{source} {target}: {wrong}\n{text}"
        assert Verdict.INCONCLUSIVE not in prediction.verdicts, text
        checked += 1
    assert checked >= 8


@both
def test_capture_file_opens_in_tshark(lab: Lab, mode: str, tmp_path: Path) -> None:
    """Interfaces are named, packets numbered and commented, names resolved; tshark has nothing to complain of."""
    question = Question(target="http://example.com/", timeout=1.5)
    followed = run.follow(world.PATHS, question, lab.objects)
    whole = record.to_pcapng(followed.trace, followed.frames, followed.world)
    wire = record.to_pcapng(followed.trace, followed.frames, followed.world, wire=True)
    file = tmp_path / "t.pcapng"
    file.write_bytes(whole)
    fields = ["frame.interface_name", "frame.packet_id", "frame.comment", "frame.time_epoch"]
    argv = ["tshark", "-r", str(file), "-T", "fields"]
    done = process.run([*argv, *(w for f in fields for w in ("-e", f))])
    rows = [line.split("\t") for line in done.stdout.decode().splitlines()]
    assert len(rows) > 60
    assert f"{world.PATHS.netns_node('worker')}/eth0" in {row[0] for row in rows}
    assert any("rule: nat -A KUBE-SVC" in row[2] for row in rows)
    assert any("DNAT: " in row[2] for row in rows)
    assert all(len(row[3].partition(".")[2]) == 9 for row in rows)
    named = process.run(["tshark", "-r", str(file), "-N", "n"]).stdout.decode()
    assert "pod-default/web-" in named
    file.write_bytes(wire)
    quiet = process.run(["tshark", "-r", str(file), "-Y", "tcp.analysis.retransmission"]).stdout
    assert quiet == b""
    ids = {
        p["id"] for g in json.loads(render.to_json(followed.trace))["legs"] for p in g["packets"]
    }
    assert {int(row[1]) for row in rows if row[1]} <= ids


def test_other_forms_say_the_same(lab: Lab) -> None:
    """Table, diagram and page carry the verdict; the page asks nobody for anything."""
    found = ask(lab, "svc/example-service", "node/worker")
    assert "kube-proxy" in table.to_table(found)
    assert mermaid.to_mermaid(found).startswith("sequenceDiagram\n")
    page = html.to_html(found)
    assert "DELIVERED" in page
    assert not any(word in page for word in ("src=", "href=", "@import", "url(", "fetch("))
    everything = render.to_text(found, all_packets=True)
    assert "NAT by conntrack entry" in everything


def test_text_fits_a_terminal(lab: Lab) -> None:
    """Broken at words to 80 and 120 columns, with nothing lost; a changed address is highlighted by colour alone."""
    found = ask(lab, "svc/example-service", "node/worker")
    whole = render.to_text(found)
    for width in (80, 120):
        lines = render.to_text(found, width=width).split("\n\n{")[0].splitlines()
        assert max(map(len, lines[:-1])) <= width
        assert "".join(whole.split()).replace("│", "") == "".join(
            render.to_text(found, width=width).split()
        ).replace("│", "")
    coloured = render.to_text(found, colour=True)
    hop = found.hop(chain="KUBE-SVC-*")
    assert hop is not None
    assert f"\x1b[1;33m{hop.after.destination}\x1b[0m" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == whole


@contextmanager
def tunnel(lab: Lab) -> Iterator[None]:
    """Pod networks of the two nodes joined by VXLAN in place of routes."""
    plan = lab.plan
    nodes = [(world.PATHS.netns_node(n), ip, plan.pods[n]) for n, ip in plan.nodes.items()]
    pairs = list(zip(nodes, reversed(nodes), strict=True))
    for (here, own, prefix), (_, other, far) in pairs:
        first, end = (ip_network(net)[0] for net in (prefix, far))
        lab.ip(
            here, f"link add flannel.1 type vxlan id 1 local {own} remote {other} dstport 8472 dev eth0",
            f"addr add {first}/{plan.family.bits} dev flannel.1", "link set flannel.1 up",
            f"route del {far}", f"route add {far} via {end} dev flannel.1 onlink",
        )  # fmt: skip
    try:
        yield
    finally:
        for (here, _, _), (_, other, far) in pairs:
            lab.ip(here, "link del flannel.1", f"route add {far} via {other}")


@both
def test_packet_in_a_tunnel_is_the_same_packet(lab: Lab, mode: str) -> None:
    """VXLAN carries it over the underlay; prediction and trace both go through, and the tunnel's ends are named."""
    question = Question(target="pod/web-1:8080", source="pod/web-0", timeout=1.0)
    with tunnel(lab):
        prediction = explain.explain(world.PATHS, question, lab.objects)
        found = run.trace(world.PATHS, question, lab.objects)
    text = render.to_text(found)
    assert found.verdict is Verdict.DELIVERED, text
    assert not explain.disagreements(prediction, found)
    carried = {h.netns: h.tunnel for h in found.steps[1].hops}
    ends = f"VXLAN 1: {' → '.join(lab.plan.nodes.values())}"
    assert carried[world.PATHS.netns_underlay] == ends, text
    hop = found.hop(netns=world.PATHS.netns_node("worker2"))
    assert hop is not None
    assert hop.inward == ("eth0", "flannel.1")


@both
def test_live_traffic_is_followed_and_nothing_sent(lab: Lab, mode: str) -> None:
    """Somebody else's connection to the Service is told when it has ended."""
    objects = lab.make(lab.plan.web[1:])
    lab.program(objects)
    stop = threading.Event()
    pod0 = world.PATHS.netns_pod("worker", "default", "web-0")

    def send() -> None:
        while not stop.wait(0.1):
            with netns.socket_in(pod0, lab.plan.family.af, socket.SOCK_STREAM, 0) as sock:
                sock.settimeout(2)
                sock.connect((lab.plan.web_ip, 80))
                sock.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                while sock.recv(65536):
                    pass

    thread = threading.Thread(target=send)
    thread.start()
    try:
        found = list(live.follow(world.PATHS, objects, "svc/example-service", "default", count=2))
    finally:
        stop.set()
        thread.join()
    assert [t.verdict for t in found] == [Verdict.DELIVERED] * 2, render.to_text(found[0])
    assert all(t.hop(chain="KUBE-SVC-*") is not None for t in found), "\n".join(
        render.to_text(t, verbose=True) for t in found
    )


def test_capture_of_a_service_holds_its_pods_frames(lab: Lab) -> None:
    """Every frame comes from one of the pods behind the Service; lost ones are counted."""
    places = listen.places(world.PATHS, lab.objects, "svc/example-service", "default")
    assert {p.netns for p in places} == {
        world.PATHS.netns_pod(n, "default", w)
        for w, n in (("web-0", "worker"), ("web-1", "worker2"))
    }
    out = BytesIO()
    turns: list[int] = []

    def stop() -> bool:
        turns.append(1)
        if len(turns) == 1:
            ask(lab, "pod/web-1:8080")
        return len(turns) > 3

    written, lost = listen.capture(places, observe_world(world.PATHS, lab.objects), out, stop=stop)
    assert written > 10
    assert lost == 0
    assert out.getvalue()[:4] == b"\n\r\r\n"
    assert IPv4Address("10.244.2.6").packed in out.getvalue()


def test_live_tells_only_what_is_dropped(lab: Lab) -> None:
    """Of connections that arrive and others that nobody listens for, `dropped` shows the others."""
    stop, pod0 = threading.Event(), world.PATHS.netns_pod("worker", "default", "web-0")

    def send() -> None:
        while not stop.wait(0.05):
            for address in (("10.244.2.6", 8080), ("10.244.2.6", 9999)):
                with netns.socket_in(pod0, socket.AF_INET, socket.SOCK_STREAM, 0) as sock:
                    sock.settimeout(2)
                    sock.connect_ex(address)

    port = {"ports": [{"containerPort": 9999}, {"containerPort": 8080}], "name": "web"}
    pods = tuple(
        replace(
            p,
            spec=replace(
                p.spec,
                containers=codec.decode(Pod, {"spec": {"containers": [port]}}).spec.containers,
            ),
        )
        for p in lab.objects.pods
    )
    thread = threading.Thread(target=send)
    thread.start()
    try:
        found = list(
            live.follow(
                world.PATHS,
                replace(lab.objects, pods=pods),
                "pod/web-1",
                "default",
                count=3,
                dropped=True,
            )
        )
    finally:
        stop.set()
        thread.join()
    assert [t.verdict for t in found] == [Verdict.REFUSED] * 3, render.to_text(found[0])
    assert all("9999" in t.url for t in found)

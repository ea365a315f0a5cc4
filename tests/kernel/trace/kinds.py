"""Services of every kind in front of the lab's two web pods, policies about them, and questions about all of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from netpod.api import codec
from netpod.api.meta import Key
from netpod.api.networkpolicy import NetworkPolicy
from netpod.api.service import Service
from netpod.ip import host_port
from netpod.linux import nft
from netpod.policy import compile, sync
from netpod.policy import model as policies
from netpod.policy.index import Index
from netpod.trace.objects import ClusterObjects
from netpod.trace.request import Kind
from netpod.trace.run import Question
from tests.kernel.trace import lab as world
from tests.kernel.trace.plan import FOUR, SIX, Plan, slice_of

SOURCES = ("outside", "node/worker", "node/worker2", "pod/web-0", "pod/web-1",
           "pod/kube-system/ingress-0")  # fmt: skip
UDP_PORT = 8081
NODE_PORTS = {"np": 30101, "np-local": 30102, "lb": 30103, "lb-local": 30104, "lb-firewall": 30105}
VIPS = {"lb": 5, "lb-local": 6, "lb-firewall": 7}
"""Which addresses of the load balancers' network."""
EXTERNAL_IP = {FOUR.family: "192.0.2.50", SIX.family: "2001:db8:50::50"}
# Name > spec, which web pods are endpoints, port.
KINDS: dict[str, tuple[dict[str, Any], tuple[int, ...], int]] = {
    "two": ({}, (0, 1), 8080),
    "one": ({}, (1,), 8080),
    "none": ({}, (), 8080),
    "wrong": ({}, (1,), 9999),
    "itp-local": ({"internalTrafficPolicy": "Local"}, (1,), 8080),
    "affinity": ({"sessionAffinity": "ClientIP"}, (0, 1), 8080),
    "external": ({}, (0,), 8080),
    "udp": ({}, (0, 1), UDP_PORT),
    "np": ({"type": "NodePort"}, (0, 1), 8080),
    "np-local": ({"type": "NodePort", "externalTrafficPolicy": "Local"}, (1,), 8080),
    "lb": ({"type": "LoadBalancer"}, (0, 1), 8080),
    "lb-local": ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, (1,), 8080),
    "lb-firewall": ({"type": "LoadBalancer"}, (1,), 8080),
}
POLICIES: dict[str, tuple[dict[str, Any], ...]] = {
    "no policy": (),
    "web-1 isolated": (
        {"podSelector": {"matchLabels": {"pod": "web-1"}}, "policyTypes": ["Ingress"]},
    ),
    "web-1 for web-0 only, web-0 to TCP only": (
        {
            "podSelector": {"matchLabels": {"pod": "web-1"}},
            "ingress": [
                {
                    "from": [{"podSelector": {"matchLabels": {"pod": "web-0"}}}],
                    "ports": [{"port": 8080}],
                }
            ],
        },
        {
            "podSelector": {"matchLabels": {"pod": "web-0"}},
            "policyTypes": ["Egress"],
            "egress": [{"ports": [{"protocol": "TCP", "port": 8080}]}],
        },
    ),
}


def cluster_ip(plan: Plan, name: str) -> str:
    """Cluster IP of the Service of a kind."""
    return str(ip_address(plan.web_ip) + 0x100 + list(KINDS).index(name))


def vip(plan: Plan, name: str) -> str:
    """Its load balancer's address."""
    return str(ip_network(plan.lb)[VIPS[name]])


def objects(plan: Plan = FOUR) -> ClusterObjects:
    """The lab's objects with a Service of every kind."""
    base = world.objects(plan=plan)
    slices = (
        slice_of(
            plan, "default", name, "", port, [plan.web[i] for i in chosen], protocol=_protocol(port)
        )
        for name, (_, chosen, port) in KINDS.items()
    )
    return replace(
        base,
        services=(*base.services, *(_service(plan, name) for name in KINDS)),
        endpoint_slices=(*base.endpoint_slices, *slices),
    )


def _protocol(port: int) -> str:
    return "UDP" if port == UDP_PORT else "TCP"


def _service(plan: Plan, name: str) -> Service:
    spec, _, port = KINDS[name]
    entry = {"protocol": _protocol(port), "port": 80, "targetPort": port}
    entry |= {"nodePort": NODE_PORTS[name]} if name in NODE_PORTS else {}
    status = {"loadBalancer": {"ingress": [{"ip": vip(plan, name)}]}} if name in VIPS else {}
    made: dict[str, Any] = {
        "metadata": {"namespace": "default", "name": name},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": cluster_ip(plan, name),
            "ipFamilies": [str(plan.family)],
            "ports": [entry],
            **spec,
        },
        "status": status,
    }
    if name == "external":
        made["spec"]["externalIPs"] = [EXTERNAL_IP[plan.family]]
    if name == "lb-firewall":
        made["spec"]["loadBalancerSourceRanges"] = [plan.pods["worker"]]
    if "sessionAffinity" in spec:
        made["spec"]["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
    return codec.decode(Service, made)


def questions(plan: Plan = FOUR) -> list[Question]:
    """Every source asking for every address that a Service, pod or node has, and for some that nobody has."""
    targets = [
        (host_port(cluster_ip(plan, name), 80), Kind.UDP if name == "udp" else Kind.TCP)
        for name in KINDS
    ]
    targets += [(f"node/{n}:{p}", Kind.TCP) for p in NODE_PORTS.values() for n in plan.nodes]
    outer = (*(vip(plan, name) for name in VIPS), EXTERNAL_IP[plan.family])
    targets += [(host_port(ip, 80), Kind.TCP) for ip in outer]
    for ip in (pod[3] for pod in plan.web):
        targets += [(host_port(ip, port), Kind.TCP) for port in (8080, 9)]
        targets += [(host_port(ip, UDP_PORT), Kind.UDP)]
    targets += [
        ("pod/default/web-1", Kind.ICMP),
        (host_port(cluster_ip(plan, "one"), 81), Kind.TCP),
        ("node/worker:9", Kind.TCP),
    ]
    return [
        Question(target=target, source=source, kind=kind, timeout=0.4)
        for source in SOURCES
        for target, kind in targets
    ]


@contextmanager
def enforced(specs: tuple[dict[str, Any], ...], plan: Plan = FOUR) -> Iterator[None]:
    """Policies of namespace default on both nodes."""
    for node in plan.nodes:
        index = Index(node, plan.family)
        index.put_namespace("default", {})
        for _, name, at, ip in plan.web:
            key = Key("default", name)
            facts = policies.PodFacts(
                key=key, labels={"pod": name}, pod_ip=ip_address(ip), node=at, ports={}
            )
            index.put_pod(key, facts)
        for number, spec in enumerate(specs):
            obj = codec.decode(
                NetworkPolicy,
                {"metadata": {"namespace": "default", "name": f"policy-{number}"}, "spec": spec},
            )
            index.put_policy(Key("default", f"policy-{number}"), policies.policy_of(obj))
        if specs:
            sync.hand_over(world.PATHS.netns_node(node), [index.table.everything()])
    try:
        yield
    finally:
        for node in plan.nodes:
            table = f"table {compile.table_of(plan.family)}"
            nft.apply(world.PATHS.netns_node(node), f"{table}\ndelete {table}\n")


@contextmanager
def udp_servers(plan: Plan = FOUR) -> Iterator[None]:
    """Datagram servers in both web pods that answer everything."""
    socks = []
    for namespace, name, node, _ in plan.web:
        inside = world.PATHS.netns_pod(node, namespace, name)
        sock = world.listener(inside, plan.family, socket.SOCK_DGRAM)
        sock.bind(("", UDP_PORT))
        socks.append(sock)

    def serve(sock: socket.socket) -> None:
        while True:
            data, peer = sock.recvfrom(4096)
            if not data:
                return
            sock.sendto(data, peer)

    threads = [threading.Thread(target=serve, args=(sock,)) for sock in socks]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for sock, thread in zip(socks, threads, strict=True):
            sock.connect(("127.0.0.1" if plan is FOUR else "::1", 9))
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()
            sock.close()

"""Services of every kind in front of the lab's two web pods, policies about them, and questions about all of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from netpod.api import codec
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key
from netpod.api.networkpolicy import NetworkPolicy
from netpod.api.service import Service
from netpod.linux import netns, nft
from netpod.policy import compile, sync
from netpod.policy import model as policies
from netpod.policy.index import Index
from netpod.trace.objects import ClusterObjects
from netpod.trace.request import Kind
from netpod.trace.run import Question
from tests.kernel.trace import lab as world

SOURCES = ("outside", "node/worker", "node/worker2", "pod/web-0", "pod/web-1",
           "pod/kube-system/ingress-0")  # fmt: skip
WEB0, WEB1 = (w[3] for w in world.WEB)
UDP_PORT = 8081
NODE_PORTS = {"np": 30101, "np-local": 30102, "lb": 30103, "lb-local": 30104, "lb-firewall": 30105}
VIPS = {"lb": "198.51.100.5", "lb-local": "198.51.100.6", "lb-firewall": "198.51.100.7"}
EXTERNAL_IP = "192.0.2.50"
# Name > spec and endpoints.
KINDS: dict[str, tuple[dict[str, Any], tuple[str, ...], int]] = {
    "two": ({}, (WEB0, WEB1), 8080),
    "one": ({}, (WEB1,), 8080),
    "none": ({}, (), 8080),
    "wrong": ({}, (WEB1,), 9999),
    "itp-local": ({"internalTrafficPolicy": "Local"}, (WEB1,), 8080),
    "affinity": ({"sessionAffinity": "ClientIP"}, (WEB0, WEB1), 8080),
    "external": ({"externalIPs": [EXTERNAL_IP]}, (WEB0,), 8080),
    "udp": ({}, (WEB0, WEB1), UDP_PORT),
    "np": ({"type": "NodePort"}, (WEB0, WEB1), 8080),
    "np-local": ({"type": "NodePort", "externalTrafficPolicy": "Local"}, (WEB1,), 8080),
    "lb": ({"type": "LoadBalancer"}, (WEB0, WEB1), 8080),
    "lb-local": ({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}, (WEB1,), 8080),
    "lb-firewall": (
        {"type": "LoadBalancer", "loadBalancerSourceRanges": ["10.244.1.0/24"]}, (WEB1,), 8080,
    ),
}  # fmt: skip
CLUSTER_IPS = {name: f"10.96.1.{n}" for n, name in enumerate(KINDS, 1)}
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


def objects() -> ClusterObjects:
    """The lab's objects with a Service of every kind."""
    base = world.objects()
    return replace(
        base,
        services=(*base.services, *(_service(name) for name in KINDS)),
        endpoint_slices=(*base.endpoint_slices, *(_slice(name) for name in KINDS)),
    )


def _service(name: str) -> Service:
    spec, _, port = KINDS[name]
    entry = {"protocol": "UDP" if port == UDP_PORT else "TCP", "port": 80, "targetPort": port}
    entry |= {"nodePort": NODE_PORTS[name]} if name in NODE_PORTS else {}
    status = {"loadBalancer": {"ingress": [{"ip": VIPS[name]}]}} if name in VIPS else {}
    made: dict[str, Any] = {
        "metadata": {"namespace": "default", "name": name},
        "spec": {"type": "ClusterIP", "clusterIP": CLUSTER_IPS[name], "ports": [entry], **spec},
        "status": status,
    }
    if "sessionAffinity" in spec:
        made["spec"]["sessionAffinityConfig"] = {"clientIP": {"timeoutSeconds": 10800}}
    return codec.decode(Service, made)


def _slice(name: str) -> EndpointSlice:
    _, addresses, port = KINDS[name]
    nodes = {w[3]: w[2] for w in world.WEB}
    return codec.decode(
        EndpointSlice,
        {
            "metadata": {
                "namespace": "default",
                "name": f"{name}-1",
                "labels": {"kubernetes.io/service-name": name},
            },
            "addressType": "IPv4",
            "ports": [{"name": "", "protocol": "UDP" if port == UDP_PORT else "TCP", "port": port}],
            "endpoints": [
                {"addresses": [ip], "nodeName": nodes[ip], "conditions": {"ready": True}}
                for ip in addresses
            ],
        },
    )


def questions() -> list[Question]:
    """Every source asking for every address that a Service, pod or node has, and for some that nobody has."""
    targets = [
        (f"{ip}:80", Kind.UDP if name == "udp" else Kind.TCP) for name, ip in CLUSTER_IPS.items()
    ]
    targets += [(f"node/{n}:{p}", Kind.TCP) for p in NODE_PORTS.values() for n in world.NODES]
    targets += [(f"{ip}:80", Kind.TCP) for ip in (*VIPS.values(), EXTERNAL_IP)]
    targets += [(f"{ip}:{port}", Kind.TCP) for ip in (WEB0, WEB1) for port in (8080, 9)]
    targets += [(f"{ip}:{UDP_PORT}", Kind.UDP) for ip in (WEB0, WEB1)]
    targets += [
        ("pod/default/web-1", Kind.ICMP),
        ("10.96.1.2:81", Kind.TCP),
        ("node/worker:9", Kind.TCP),
    ]
    return [
        Question(target=target, source=source, kind=kind, timeout=0.4)
        for source in SOURCES
        for target, kind in targets
    ]


@contextmanager
def enforced(specs: tuple[dict[str, Any], ...]) -> Iterator[None]:
    """Policies of namespace default on both nodes."""
    for node in world.NODES:
        index = Index(node)
        index.put_namespace("default", {})
        for _, name, at, ip in world.WEB:
            key = Key("default", name)
            facts = policies.PodFacts(
                key=key, labels={"pod": name}, pod_ip=world.IPv4Address(ip), node=at, ports={}
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
        for node in world.NODES:
            text = f"table ip {compile.TABLE}\ndelete table ip {compile.TABLE}\n"
            nft.apply(world.PATHS.netns_node(node), text)


@contextmanager
def udp_servers() -> Iterator[None]:
    """Datagram servers in both web pods that answer everything."""
    socks = []
    for namespace, name, node, _ in world.WEB:
        inside = world.PATHS.netns_pod(node, namespace, name)
        sock = netns.socket_in(inside, socket.AF_INET, socket.SOCK_DGRAM, 0)
        sock.bind(("0.0.0.0", UDP_PORT))
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
            sock.connect(("127.0.0.1", 9))
            sock.shutdown(socket.SHUT_RDWR)
            thread.join()
            sock.close()

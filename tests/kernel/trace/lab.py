"""A small cluster by hand: client, edge, underlay, two nodes, two web pods; kube-proxy's and HAProxy's real rules.

All links have addresses of both families; rules and objects are of one at a time, that of `plan`.
"""

import http.server
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import ip_address, ip_network
from pathlib import Path

from netpod.api.meta import Key
from netpod.api.service import Service
from netpod.cloud import edge
from netpod.ingress import haproxy, merge
from netpod.ip import Family
from netpod.linux import netns, nft, process, sysctl
from netpod.paths import Paths
from netpod.trace.objects import ClusterObjects
from tests.kernel.trace import modes
from tests.kernel.trace.plan import FOUR, PLANS, Plan, Where, objects

PATHS = Paths("lab")
VIP, WEB_IP, NODES, WEB = FOUR.vip, FOUR.web_ip, FOUR.nodes, FOUR.web
POD_CIDRS = {"worker": "10.244.1", "worker2": "10.244.2"}


class Lab:
    """The whole; `close` takes it away again."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self.plan, self.mode = FOUR, "iptables"
        self.objects = objects()
        try:
            self._network()
            self.program(self.objects)
            self._pods(folder)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop what runs and delete every namespace."""
        self._stack.close()

    def namespaces(self) -> list[str]:
        """Names of all namespaces of the lab."""
        return netns.list_netns(PATHS.netns_prefix)

    def ip(self, name: str, *lines: str) -> None:
        """Run `ip` commands in a namespace."""
        process.run(["ip", "-batch", "-"], stdin="\n".join(lines).encode() + b"\n", netns=name)

    def program(self, objects: ClusterObjects) -> None:
        """Make the load balancer's rules and kube-proxy's of both nodes say what the objects say."""
        self.balance(objects, ("worker",))
        for name in NODES:
            modes.program(self.mode, PATHS.netns_node(name), name, self.plan, objects)

    def use(self, mode: str, plan: Plan = FOUR) -> None:
        """Go over to another proxy mode and family."""
        for name in NODES:
            modes.clear(self.mode, PATHS.netns_node(name), self.plan.family)
        self.mode, self.plan, self.objects = mode, plan, objects(plan=plan)
        self.program(self.objects)

    def make(self, endpoints: Sequence[Where] | None = None) -> ClusterObjects:
        """The objects of the family in use, the web Service with the endpoints given, else all."""
        return objects(endpoints, self.plan)

    def balance(self, objects: ClusterObjects, nodes: Sequence[str]) -> None:
        """Make the load balancer send to these nodes, in turn."""
        frontends = []
        for service in objects.services:
            local = (
                service.spec.external_traffic_policy == "Local"
                and service.metadata.name != "ingress"
            )
            chosen = [n for n in NODES if _serves(objects, service, n)] if local else nodes
            backends = tuple(ip_address(self.plan.nodes[name]) for name in chosen)
            frontends += edge.frontends(service, backends)
        model = edge.EdgeModel(vip_cidr=ip_network(self.plan.lb), frontends=tuple(frontends))
        nft.apply(PATHS.netns_edge, edge.compile(model))

    def _netns(self, name: str) -> str:
        netns.create(name)
        self._stack.callback(netns.delete_netns, name)
        # Addresses are there at once: nobody else can have them.
        sysctl.write_all(name, {f"net.ipv6.conf.{at}.accept_dad": 0 for at in ("all", "default")})
        self.ip(name, "link set lo up")
        return name

    def _network(self) -> None:
        outside, site = self._netns(PATHS.netns_outside), self._netns(PATHS.netns_edge)
        underlay = self._netns(PATHS.netns_underlay)
        self.ip(underlay, "link add underlay type bridge", "link set underlay up")
        self._veth(outside, "eth0", site, "outside")
        self._veth(site, "eth0", underlay, "edge")
        self.ip(underlay, "link set edge master underlay")
        for plan in PLANS:
            self.ip(
                outside,
                f"addr add {plan.outside} dev eth0",
                f"route add default via {_bare(plan.beyond)}",
            )
            self.ip(site, f"addr add {plan.beyond} dev outside", f"addr add {plan.edge} dev eth0")
        _forward(site)
        for node in NODES:
            inside = self._netns(PATHS.netns_node(node))
            self._veth(inside, "eth0", underlay, node)
            self.ip(underlay, f"link set {node} master underlay")
            self.ip(inside, "link add cni0 type bridge", "link set cni0 up")
            _forward(inside)
            for plan in PLANS:
                among = ip_network(plan.edge, strict=False).prefixlen
                length = ip_network(plan.pods[node]).prefixlen
                self.ip(
                    inside, f"addr add {plan.nodes[node]}/{among} dev eth0",
                    f"addr add {plan.pod(node, 1)}/{length} dev cni0",
                    f"route add default via {_bare(plan.edge)}",
                    *(
                        f"route add {plan.pods[other]} via {plan.nodes[other]}"
                        for other in NODES if other != node
                    ),
                )  # fmt: skip

    def _veth(self, a: str, a_name: str, b: str, b_name: str) -> None:
        self.ip(a, f"link add {a_name} type veth peer name {b_name} netns {b}")
        self.ip(a, f"link set {a_name} up")
        self.ip(b, f"link set {b_name} up")

    def _pods(self, folder: Path) -> None:
        for index, (namespace, name, node, _) in enumerate((FOUR.ingress, *FOUR.web)):
            inside = self._netns(PATHS.netns_pod(node, namespace, name))
            host = PATHS.netns_node(node)
            self._veth(inside, "eth0", host, f"veth{index}")
            self.ip(host, f"link set veth{index} master cni0")
            for plan in PLANS:
                address = (plan.ingress, *plan.web)[index][3]
                length = ip_network(plan.pods[node]).prefixlen
                gateway = plan.pod(node, 1)
                self.ip(
                    inside,
                    f"addr add {address}/{length} dev eth0",
                    f"route add default via {gateway}",
                )
                if namespace == "default":
                    self._web(inside, name, plan.family)
        for plan in PLANS:
            self._haproxy(folder, plan)

    def _web(self, inside: str, name: str, family: Family) -> None:
        sock = listener(inside, family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server = _Server(("", 0), _handler(name), bind_and_activate=False)
        server.socket.close()
        server.socket = sock
        sock.bind(("", 8080))
        server.server_activate()
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()
            server.server_close()

        self._stack.callback(stop)

    def _haproxy(self, folder: Path, plan: Plan) -> None:
        folder = folder / plan.family
        folder.mkdir()
        found = objects(plan=plan)
        routing = merge.merge(
            found.ingresses, found.ingress_classes, found.services, found.endpoint_slices
        )
        compiled = haproxy.compile(routing)
        settings = haproxy.Settings(
            bind=("0.0.0.0:80",) if plan is FOUR else ("[::]:80 v6only",),
            sources=(plan.ingress[3],),
            socket=str(folder / "haproxy.sock"),
        )
        config = folder / "haproxy.cfg"
        config.write_text(haproxy.text(compiled, settings))
        for name, entries in compiled.maps.items():
            (folder / name).write_text(haproxy.map_text(entries))
        namespace, pod, node, address = plan.ingress
        logs = PATHS.pod_logs(namespace, pod, "uid-ingress") / "haproxy"
        logs.mkdir(parents=True, exist_ok=True)
        inside = PATHS.netns_pod(node, namespace, pod)
        with (logs / f"{plan.family.version}.log").open("wb") as log:
            argv = ["haproxy", "-db", "-f", str(config)]
            pid = process.spawn(argv, netns=inside, stdout=log.fileno(), stderr=log.fileno())

        def stop() -> None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

        self._stack.callback(stop)
        self._listening(inside, address, plan.family)

    def _listening(self, inside: str, address: str, family: Family) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with netns.socket_in(inside, family.af, socket.SOCK_STREAM, 0) as sock:
                if sock.connect_ex((address, 80)) == 0:
                    return
            threading.Event().wait(0.01)
        raise AssertionError("HAProxy does not listen")


def listener(inside: str, family: Family, kind: int) -> socket.socket:
    """A socket in a namespace to serve one family with, not bound yet."""
    sock = netns.socket_in(inside, family.af, kind, 0)
    if family is Family.IPV6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    return sock


def _bare(address: str) -> str:
    return address.partition("/")[0]


def _forward(name: str) -> None:
    sysctl.write_all(name, {"net.ipv4.ip_forward": 1, "net.ipv6.conf.all.forwarding": 1})


def _serves(objects: ClusterObjects, service: Service, node: str) -> bool:
    key = Key(service.metadata.namespace, service.metadata.name)
    return any(e.node_name == node for s in objects.slices(key) for e in s.endpoints)


class _Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A proxy that closes its idle connections with a reset is nothing to report."""


def _handler(name: str) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path.startswith("/slow"):
                threading.Event().wait(1)
            body = f"pod={name} client={self.client_address[0]}\n".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Handler

"""A small cluster by hand: client, edge, underlay, two nodes, two web pods; kube-proxy's and HAProxy's real rules."""

import http.server
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from netpod.api import codec
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key
from netpod.api.networking import Ingress, IngressClass
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.service import Service
from netpod.cloud import edge
from netpod.ingress import haproxy, merge
from netpod.linux import netns, nft, process, sysctl
from netpod.paths import Paths
from netpod.trace.objects import ClusterObjects
from tests.kernel.trace import modes

PATHS = Paths("lab")
VIP, WEB_IP, NODE_PORT = "198.51.100.1", "10.96.0.20", 30080
NODES = {"worker": "172.18.0.3", "worker2": "172.18.0.4"}
POD_CIDRS = {"worker": "10.244.1", "worker2": "10.244.2"}
INGRESS = ("kube-system", "ingress-0", "worker", "10.244.1.5")
WEB = (("default", "web-0", "worker", "10.244.1.6"), ("default", "web-1", "worker2", "10.244.2.6"))


class Lab:
    """The whole; `close` takes it away again."""

    def __init__(self, folder: Path) -> None:
        self._stack = ExitStack()
        self.objects = objects()
        self.mode = "iptables"
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
        for name, ip in NODES.items():
            modes.program(self.mode, PATHS.netns_node(name), name, ip, objects)

    def use(self, mode: str) -> None:
        """Go over to another proxy mode."""
        for name in NODES:
            modes.clear(self.mode, PATHS.netns_node(name))
        self.mode = mode
        self.program(self.objects)

    def balance(self, objects: ClusterObjects, nodes: Sequence[str]) -> None:
        """Make the load balancer send to these nodes, in turn."""
        frontends = []
        for service in objects.services:
            local = (
                service.spec.external_traffic_policy == "Local"
                and service.metadata.name != "ingress"
            )
            chosen = [n for n in NODES if _serves(objects, service, n)] if local else nodes
            backends = tuple(IPv4Address(NODES[name]) for name in chosen)
            frontends += edge.frontends(service, backends)
        model = edge.EdgeModel(vip_cidr=IPv4Network("198.51.100.0/24"), frontends=tuple(frontends))
        nft.apply(PATHS.netns_edge, edge.compile(model))

    def _netns(self, name: str) -> str:
        netns.create(name)
        self._stack.callback(netns.delete_netns, name)
        self.ip(name, "link set lo up")
        return name

    def _network(self) -> None:
        outside, site = self._netns(PATHS.netns_outside), self._netns(PATHS.netns_edge)
        underlay = self._netns(PATHS.netns_underlay)
        self.ip(underlay, "link add underlay type bridge", "link set underlay up")
        self._veth(outside, "eth0", site, "outside")
        self.ip(outside, "addr add 203.0.113.10/24 dev eth0", "route add default via 203.0.113.1")
        self._veth(site, "eth0", underlay, "edge")
        self.ip(underlay, "link set edge master underlay")
        self.ip(
            site, "addr add 203.0.113.1/24 dev outside", "addr add 172.18.0.1/16 dev eth0",
        )  # fmt: skip
        sysctl.write(site, "net.ipv4.ip_forward", 1)
        for node, address in NODES.items():
            inside, prefix = self._netns(PATHS.netns_node(node)), POD_CIDRS[node]
            self._veth(inside, "eth0", underlay, node)
            self.ip(underlay, f"link set {node} master underlay")
            self.ip(
                inside, f"addr add {address}/16 dev eth0", "link add cni0 type bridge",
                f"addr add {prefix}.1/24 dev cni0", "link set cni0 up",
                "route add default via 172.18.0.1",
            )  # fmt: skip
            sysctl.write(inside, "net.ipv4.ip_forward", 1)
        for node in NODES:
            for other in NODES:
                if other != node:
                    route = f"route add {POD_CIDRS[other]}.0/24 via {NODES[other]}"
                    self.ip(PATHS.netns_node(node), route)

    def _veth(self, a: str, a_name: str, b: str, b_name: str) -> None:
        self.ip(a, f"link add {a_name} type veth peer name {b_name} netns {b}")
        self.ip(a, f"link set {a_name} up")
        self.ip(b, f"link set {b_name} up")

    def _pods(self, folder: Path) -> None:
        for index, (namespace, name, node, address) in enumerate((INGRESS, *WEB)):
            inside = self._netns(PATHS.netns_pod(node, namespace, name))
            host = PATHS.netns_node(node)
            self._veth(inside, "eth0", host, f"veth{index}")
            self.ip(host, f"link set veth{index} master cni0")
            gateway = f"{POD_CIDRS[node]}.1"
            self.ip(inside, f"addr add {address}/24 dev eth0", f"route add default via {gateway}")
            if namespace == "default":
                self._web(inside, name)
        self._haproxy(folder)

    def _web(self, inside: str, name: str) -> None:
        sock = netns.socket_in(inside, socket.AF_INET, socket.SOCK_STREAM, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server = _Server(("", 0), _handler(name), bind_and_activate=False)
        server.socket.close()
        server.socket = sock
        sock.bind(("0.0.0.0", 8080))
        server.server_activate()
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()

        def stop() -> None:
            server.shutdown()
            thread.join()
            server.server_close()

        self._stack.callback(stop)

    def _haproxy(self, folder: Path) -> None:
        found = self.objects
        routing = merge.merge(
            found.ingresses, found.ingress_classes, found.services, found.endpoint_slices
        )
        compiled = haproxy.compile(routing)
        settings = haproxy.Settings(
            bind=("0.0.0.0:80",), sources=(INGRESS[3],), socket=str(folder / "haproxy.sock")
        )
        config = folder / "haproxy.cfg"
        config.write_text(haproxy.text(compiled, settings))
        for name, entries in compiled.maps.items():
            (folder / name).write_text(haproxy.map_text(entries))
        logs = PATHS.pod_logs(INGRESS[0], INGRESS[1], "uid-ingress") / "haproxy"
        logs.mkdir(parents=True, exist_ok=True)
        inside = PATHS.netns_pod(INGRESS[2], INGRESS[0], INGRESS[1])
        with (logs / "0.log").open("wb") as log:
            argv = ["haproxy", "-db", "-f", str(config)]
            pid = process.spawn(argv, netns=inside, stdout=log.fileno(), stderr=log.fileno())

        def stop() -> None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

        self._stack.callback(stop)
        self._listening(inside)

    def _listening(self, inside: str) -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            with netns.socket_in(inside, socket.AF_INET, socket.SOCK_STREAM, 0) as sock:
                if sock.connect_ex(("10.244.1.5", 80)) == 0:
                    return
            threading.Event().wait(0.01)
        raise AssertionError("HAProxy does not listen")


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


def objects(endpoints: Sequence[tuple[str, str, str, str]] = WEB) -> ClusterObjects:
    """The API objects of the lab, the web Service with the endpoints given."""
    return ClusterObjects(
        nodes=tuple(
            codec.decode(
                Node,
                {
                    "metadata": {"name": name},
                    "status": {"addresses": [{"type": "InternalIP", "address": ip}]},
                },
            )
            for name, ip in NODES.items()
        ),
        pods=tuple(_pod(*pod) for pod in (INGRESS, *WEB)),
        services=(
            codec.decode(
                Service,
                {
                    "metadata": {"namespace": "kube-system", "name": "ingress"},
                    "spec": {
                        "type": "LoadBalancer",
                        "clusterIP": "10.96.0.30",
                        "ports": [
                            {"name": "http", "protocol": "TCP", "port": 80, "nodePort": NODE_PORT}
                        ],
                    },
                    "status": {"loadBalancer": {"ingress": [{"ip": VIP}]}},
                },
            ),
            codec.decode(
                Service,
                {
                    "metadata": {"namespace": "default", "name": "example-service"},
                    "spec": {
                        "type": "ClusterIP",
                        "clusterIP": WEB_IP,
                        "ports": [{"protocol": "TCP", "port": 80, "targetPort": 8080}],
                    },
                },
            ),
        ),
        endpoint_slices=(
            _slice("kube-system", "ingress", "http", 80, [INGRESS]),
            _slice("default", "example-service", "", 8080, endpoints),
        ),
        ingresses=(
            codec.decode(
                Ingress,
                {
                    "metadata": {"namespace": "default", "name": "example-ingress"},
                    "spec": {
                        "ingressClassName": "netpod",
                        "rules": [{"host": "example.com", "http": {"paths": [_PATH]}}],
                    },
                },
            ),
        ),
        ingress_classes=(
            codec.decode(
                IngressClass,
                {"metadata": {"name": "netpod"}, "spec": {"controller": "netpod.dev/ingress"}},
            ),
        ),
    )


_PATH = {
    "path": "/",
    "pathType": "Prefix",
    "backend": {"service": {"name": "example-service", "port": {"number": 80}}},
}


def _pod(namespace: str, name: str, node: str, ip: str) -> Pod:
    uid = "uid-ingress" if namespace == "kube-system" else f"uid-{name}"
    container = "haproxy" if namespace == "kube-system" else "web"
    return codec.decode(
        Pod,
        {
            "metadata": {"namespace": namespace, "name": name, "uid": uid},
            "spec": {"nodeName": node, "containers": [{"name": container}]},
            "status": {"phase": "Running", "podIP": ip},
        },
    )


def _slice(
    namespace: str,
    service: str,
    port_name: str,
    port: int,
    pods: Sequence[tuple[str, str, str, str]],
) -> EndpointSlice:
    return codec.decode(
        EndpointSlice,
        {
            "metadata": {
                "namespace": namespace,
                "name": f"{service}-1",
                "labels": {"kubernetes.io/service-name": service},
            },
            "addressType": "IPv4",
            "ports": [{"name": port_name, "protocol": "TCP", "port": port}],
            "endpoints": [
                {"addresses": [ip], "nodeName": node, "conditions": {"ready": True}}
                for _, _, node, ip in pods
            ],
        },
    )

"""Wait until a new cluster is of use: DNS, ingress and load balancer answer real packets.

Of one without some component only the API server is waited for.
"""

import select
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address

from netpod.client.blocking import BlockingClient
from netpod.cluster import role, without
from netpod.cluster.config import ClusterConfig
from netpod.errors import ApiError, KernelError, NetpodError
from netpod.ip import Address, Family, family_of
from netpod.linux import netns

_PAUSE_SECONDS = 0.004
_INGRESS_PATH = "/api/v1/namespaces/kube-system/services/ingress"


def wait(
    config: ClusterConfig,
    supervisor_pid: int,
    progress: Callable[[str], None],
    *,
    timeout: float,
) -> None:
    """Wait for each part in the order in which they can be there.

    Raises:
        NetpodError: a part did not answer within `timeout` seconds, or a process gave up; says which.
    """
    deadline = time.monotonic() + timeout
    client = BlockingClient(config.paths.api_socket, timeout=5)
    parts: tuple[tuple[str, Callable[[], bool]], ...] = (
        ("API server", lambda: _api_answers(client)),
        ("load balancer address", lambda: _vip(client) is not None),
        ("cluster DNS", lambda: _dns_answers(config)),
        ("ingress through the load balancer", lambda: _ingress_answers(config, client)),
    )
    if without.parse(config.without):
        # Nothing else can be there before somebody runs what is left out, which needs the API server first.
        parts = parts[:1]
    for what, answers in parts:
        progress(f"waiting for {what}")
        while not answers():
            if time.monotonic() > deadline:
                raise NetpodError(
                    f"cannot start cluster {config.name}: {what} did not answer within {timeout:g} s; "
                    f"try again with netpod up --retain and look at {config.paths.logs}"
                )
            if not _alive(config, supervisor_pid):
                raise NetpodError(
                    f"cannot start cluster {config.name}: the supervisor ended: {_last_words(config)}; "
                    f"try again with netpod up --retain and look at {config.paths.logs}"
                )
            wait_a_little()
    client.close()


def wait_a_little() -> None:
    """Yield the processor to those we wait for."""
    select.select([], [], [], _PAUSE_SECONDS)


def _alive(config: ClusterConfig, supervisor_pid: int) -> bool:
    if role.holder(config.paths, role.SUPERVISOR):
        return True
    try:
        with open(f"/proc/{supervisor_pid}/stat", "rb") as stat:
            return b") Z " not in stat.read()
    except FileNotFoundError:
        return False


def _last_words(config: ClusterConfig) -> str:
    """What the supervisor said last; its log goes with the cluster that did not start."""
    try:
        lines = (config.paths.logs / "supervisor.log").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "it said nothing"


def _api_answers(client: BlockingClient) -> bool:
    try:
        client.raw("GET", "/readyz")
        return True
    except ApiError:
        return False


def _vip(client: BlockingClient) -> Address | None:
    try:
        service = client.request("GET", _INGRESS_PATH)
    except ApiError:
        return None
    for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
        return ip_address(ingress["ip"])
    return None


def _dns_answers(config: ClusterConfig) -> bool:
    """Ask the cluster's DNS Service for kubernetes.default from a node."""
    node = config.paths.netns_node(config.running[-1].name)
    family = config.families[0]
    kind = b"\x00\x1c" if family is Family.IPV6 else b"\x00\x01"  # AAAA, A
    name = b"".join(
        bytes([len(label)]) + label
        for label in (b"kubernetes", b"default", b"svc", b"cluster", b"local", b"")
    )
    query = b"\x6e\x70\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + name + kind + b"\x00\x01"
    try:
        with netns.socket_in(node, family.af, socket.SOCK_DGRAM) as udp:
            udp.settimeout(0.1)
            udp.connect((str(config.dns_ips[0]), 53))
            udp.send(query)
            answer = udp.recv(512)
            return answer[:2] == query[:2] and answer.endswith(config.kubernetes_ip.packed)
    except (OSError, KernelError):
        return False


def _ingress_answers(config: ClusterConfig, client: BlockingClient) -> bool:
    """Ask the load balancer's address over HTTP from the world; no rule is there yet, so 404 it is."""
    address = _vip(client)
    if address is None:
        return False
    outside = config.paths.netns_outside
    try:
        with netns.socket_in(outside, family_of(address).af, socket.SOCK_STREAM) as tcp:
            tcp.settimeout(0.5)
            tcp.connect((str(address), 80))
            tcp.send(b"GET / HTTP/1.0\r\nHost: netpod\r\n\r\n")
            return tcp.recv(64).startswith(b"HTTP/1.")
    except (OSError, KernelError):
        return False

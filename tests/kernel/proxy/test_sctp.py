"""SCTP without a kernel that speaks it: INIT chunks through raw sockets show what the rules do to them."""

import contextlib
import socket
import struct
from collections.abc import Iterator

import pytest

from netpod.ip import Family
from netpod.linux import conntrack, netns
from tests.kernel.proxy import pair
from tests.kernel.proxy.pair import FAR, NEAR, NODES, OUTSIDE, PODS, WORKER, A, C
from tests.unit.proxy import families
from tests.unit.proxy.builders import endpoint_slice, entry, port, service

CLUSTER_IP, NODE_PORT = "10.96.45.12", 31132
SERVED = (("", 7000, "SCTP"),)


def crc32c(data: bytes) -> int:
    """The checksum of RFC 9260, appendix A."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return value ^ 0xFFFFFFFF


def init(source: int, destination: int) -> bytes:
    """A packet with one INIT chunk: RFC 9260, 3.3.2."""
    chunk = struct.pack("!BBHIIHHI", 1, 0, 20, 0x1234, 65536, 1, 1, 1)
    head = struct.pack("!HHI", source, destination, 0)
    checksum = struct.pack("<I", crc32c(head + bytes(4) + chunk))
    return head + checksum + chunk


class Ear:
    """A raw socket in a pod that hears SCTP."""

    def __init__(self, pod: str) -> None:
        self.socket = _raw(pod)
        self.socket.settimeout(2)

    def heard(self, source_port: int) -> tuple[str, int]:
        """Source address and destination port of the packet that left from that port; its checksum must be right."""
        while True:
            data, peer = self.socket.recvfrom(2048)
            # Raw sockets of IPv4 show the IP header, those of IPv6 do not.
            sctp = data if families.family() is Family.IPV6 else data[(data[0] & 15) * 4 :]
            ports = struct.unpack_from("!HH", sctp)
            if ports[0] == source_port or families.heard(peer[0]) != PODS[NEAR]:
                assert (
                    crc32c(sctp[:8] + bytes(4) + sctp[12:]) == struct.unpack_from("<I", sctp, 8)[0]
                )
                return families.heard(peer[0]), ports[1]


@pytest.fixture
def ears() -> Iterator[dict[str, Ear]]:
    """Both serving pods listen."""
    with contextlib.ExitStack() as stack:
        found = {pod: Ear(pod) for pod in (A, C)}
        for ear in found.values():
            stack.enter_context(ear.socket)
        yield found


def send(client: str, address: str, source: int, destination: int) -> None:
    """One INIT."""
    with _raw(client) as sock:
        sock.sendto(init(source, destination), (families.told(address), 0))


def _raw(namespace: str) -> socket.socket:
    return netns.socket_in(namespace, families.family().af, socket.SOCK_RAW, socket.IPPROTO_SCTP)


def test_sctp_is_sent_to_its_endpoint(nodes: pair.Pair, ears: dict[str, Ear]) -> None:
    """By cluster IP from a pod the port is changed and the source seen; by node port the source is the node's."""
    made = service(type="NodePort", ports=(port(132, protocol="SCTP", node_port=NODE_PORT),))
    nodes.put(made, endpoint_slice([entry(PODS[C], "worker2")], ports=SERVED))
    try:
        send(NEAR, CLUSTER_IP, 40001, 132)
        assert ears[C].heard(40001) == (PODS[NEAR], 7000)
        send(OUTSIDE, NODES[WORKER], 40002, NODE_PORT)
        assert ears[C].heard(40002) == (NODES[WORKER], 7000)
        (flow,) = [
            flow
            for flow in conntrack.observe(WORKER, protocol="sctp", family=families.family())
            if families.heard(str(flow.original.source)) == PODS[NEAR]
        ]
        assert (families.heard(str(flow.reply.source)), flow.reply.source_port) == (PODS[C], 7000)
        nodes.put(endpoint_slice([entry(PODS[A], "worker")], ports=SERVED))
        send(FAR, CLUSTER_IP, 40003, 132)
        assert ears[A].heard(40003)[1] == 7000
    finally:
        nodes.clear()


def test_crc32c_is_the_standards() -> None:
    """The check value of the Castagnoli polynomial."""
    assert crc32c(b"123456789") == 0xE3069283

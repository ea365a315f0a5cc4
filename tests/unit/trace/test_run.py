"""Which address a URL is connected to, and which URLs cannot be traced."""

from ipaddress import IPv4Address

import pytest

from netpod.api import codec
from netpod.api.service import Service
from netpod.errors import NetpodError, UsageError
from netpod.paths import Paths
from netpod.trace.model import Address, Answer, Trace, Verdict
from netpod.trace.objects import ClusterObjects
from netpod.trace.render import to_text
from netpod.trace.run import request_for
from netpod.trace.topology import capture_ports

PATHS = Paths("lab")
INGRESS = codec.decode(
    Service,
    {
        "metadata": {"namespace": "kube-system", "name": "ingress"},
        "spec": {"clusterIP": "10.96.0.30", "ports": [{"port": 80, "nodePort": 30080}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}},
    },
)
OBJECTS = ClusterObjects(services=(INGRESS,))


@pytest.mark.parametrize(
    ("url", "host", "path", "connect"),
    [
        ("http://example.com/", "example.com", "/", "198.51.100.1:80"),
        ("http://example.com", "example.com", "/", "198.51.100.1:80"),
        ("http://Example.com:8080/a?b=c", "example.com:8080", "/a?b=c", "198.51.100.1:8080"),
        ("http://198.51.100.7/x", "198.51.100.7", "/x", "198.51.100.7:80"),
    ],
)
def test_host_goes_to_the_ingress_and_an_address_to_itself(
    url: str, host: str, path: str, connect: str
) -> None:
    """What a public DNS entry would say of the host: the ingress Service's load balancer."""
    request = request_for(PATHS, url, OBJECTS)
    assert (request.host, request.path, str(request.connect)) == (host, path, connect)
    assert request.id != request_for(PATHS, url, OBJECTS).id


@pytest.mark.parametrize(
    "url",
    ["", "example.com", "ftp://example.com/", "http://", "http://a:99999/", "http://a/b c",
     "http://a/\r\nX: y", "http://ä/", "http://[::1"],
)  # fmt: skip
def test_url_that_cannot_be_traced_is_a_usage_error(url: str) -> None:
    """Said before anything is sent."""
    with pytest.raises(UsageError, match="cannot trace"):
        request_for(PATHS, url, OBJECTS)


def test_ingress_without_address_is_an_error() -> None:
    """The load balancer has not given one yet."""
    with pytest.raises(NetpodError, match="has no load balancer address"):
        request_for(PATHS, "http://example.com/", ClusterObjects())


def test_capture_listens_for_service_node_and_target_ports() -> None:
    """After masquerading, only the destination's port is known beforehand."""
    vip = Address(IPv4Address("198.51.100.1"), 80)
    assert capture_ports(OBJECTS, vip) == (80, 30080)
    assert capture_ports(ClusterObjects(), vip) == (80,)


def test_answer_cannot_steer_the_terminal() -> None:
    """Escape sequences in a body are shown, not obeyed; text needs no colour to be understood."""
    trace = Trace(
        id="t", method="GET", url="http://a/", started_at_ns=0, duration_ns=1, steps=(), legs=(),
        conntrack=(), sources=(), verdict=Verdict.INCONCLUSIVE, sentence="s", timing_ns={},
        answer=Answer(status=200, body=b"\x1b]0;gotcha\x07 \x1b[2Jhello\n"),
    )  # fmt: skip
    text = to_text(trace)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "hello" in text
    coloured = to_text(trace, colour=True)
    assert "\x1b[1;33mINCONCLUSIVE\x1b[0m" in coloured
    assert "\x1b[2J" not in coloured

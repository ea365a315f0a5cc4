"""Which UDP flows lead nowhere."""

from ipaddress import IPv4Address

from netpod.api.discovery import EndpointSlice
from netpod.linux.conntrack import Flow, Tuple
from netpod.proxy import conntrack, model
from netpod.proxy.conntrack import Frontends
from tests.unit.proxy.builders import endpoint_slice, entry, port, service

NODE = IPv4Address("172.18.0.3")
DNS = service(
    cluster_ip="10.96.0.10",
    type="NodePort",
    ports=(port(53, "dns", "UDP", 30053), port(53, "dns-tcp")),
)
SLICE = endpoint_slice(
    (entry("10.244.1.5"), entry("10.244.1.6", ready=False, serving=False)),
    ports=(("dns", 5353, "UDP"), ("dns-tcp", 5353, "TCP")),
)


def frontends(*slices: EndpointSlice) -> Frontends:
    """Frontends of the DNS Service with these slices."""
    return conntrack.frontends(model.build((DNS,), slices, "worker"))


def flow(to: str, to_port: int, answers: str, answers_port: int) -> Flow:
    """A UDP flow to one address, answered by another."""
    client = IPv4Address("10.244.1.9")
    return Flow(
        protocol="udp",
        original=Tuple(
            source=client,
            destination=IPv4Address(to),
            source_port=40000,
            destination_port=to_port,
        ),
        reply=Tuple(
            source=IPv4Address(answers),
            destination=client,
            source_port=answers_port,
            destination_port=40000,
        ),
        status=0,
        mark=0,
        timeout=30,
        state="",
        id=1,
    )


def stale(one: Flow, now: Frontends, before: Frontends | None = None) -> bool:
    """Whether it would be deleted."""
    return conntrack.is_stale(one, now, before or Frontends(), NODE)


def test_flows_to_serving_endpoints_stay() -> None:
    """By cluster IP and by node port."""
    now = frontends(SLICE)
    assert not stale(flow("10.96.0.10", 53, "10.244.1.5", 5353), now)
    assert not stale(flow("172.18.0.3", 30053, "10.244.1.5", 5353), now)


def test_flows_to_others_go() -> None:
    """To an endpoint that does not serve, to one that is gone, and to the Service's own address."""
    now = frontends(SLICE)
    assert stale(flow("10.96.0.10", 53, "10.244.1.6", 5353), now)
    assert stale(flow("10.96.0.10", 53, "10.244.9.9", 5353), now)
    assert stale(flow("10.96.0.10", 53, "10.96.0.10", 53), now)
    assert stale(flow("127.0.0.1", 30053, "10.244.9.9", 5353), now)
    assert stale(flow("10.96.0.10", 53, "10.244.1.5", 5353), frontends())


def test_strangers_are_left_alone() -> None:
    """Another port of the same address, another machine's port 30053, and pods among themselves."""
    now = frontends(SLICE)
    assert not stale(flow("10.96.0.10", 54, "10.96.0.10", 54), now)
    assert not stale(flow("192.0.2.1", 30053, "192.0.2.1", 30053), now)
    assert not stale(flow("10.244.1.6", 5353, "10.244.1.6", 5353), now)


def test_flows_of_deleted_services_go() -> None:
    """They were DNATed for a frontend that is no more."""
    one = flow("10.96.0.10", 53, "10.244.1.5", 5353)
    assert not stale(one, Frontends())
    assert stale(one, Frontends(), frontends(SLICE))
    assert not stale(flow("10.96.0.10", 53, "10.96.0.10", 53), Frontends(), frontends(SLICE))

"""Which endpoints may serve."""

from ipaddress import IPv4Address
from typing import Any

from netpod.proxy.model import Endpoint, ServicePort, ServicePortName
from netpod.proxy.topology import Categories, categorize

NAME = ServicePortName(namespace="shop", name="web")


def port(**values: Any) -> ServicePort:
    """A service port with a cluster IP."""
    fields: dict[str, Any] = {
        "name": NAME,
        "cluster_ip": IPv4Address("10.96.0.9"),
        "port": 80,
        **values,
    }
    return ServicePort(**fields)


def endpoint(last: int, **values: Any) -> Endpoint:
    """Endpoint 10.0.0.LAST:80."""
    fields: dict[str, Any] = {"ip": IPv4Address(f"10.0.0.{last}"), "port": 80, **values}
    return Endpoint(**fields)


def usable(of: ServicePort, *endpoints: Endpoint, zone: str = "") -> Categories:
    """The port's endpoints on node `worker`."""
    return categorize(of, endpoints, node_name="worker", zone=zone)


def last(endpoints: tuple[Endpoint, ...]) -> list[int]:
    """Last bytes of the addresses."""
    return [int(e.ip) & 255 for e in endpoints]


DRAINING: dict[str, Any] = {"ready": False, "serving": True, "terminating": True}
DOWN: dict[str, Any] = {"ready": False, "serving": False}


def test_ready_endpoints_serve() -> None:
    """Unready and terminating endpoints get nothing while there is a ready one."""
    found = usable(port(), endpoint(1), endpoint(2, **DOWN), endpoint(3, **DRAINING))
    assert last(found.cluster) == last(found.reachable) == [1]
    assert found.local == ()


def test_terminating_endpoints_serve_when_nobody_else_does() -> None:
    """Better a draining pod than nobody, but never one that does not serve."""
    found = usable(
        port(),
        endpoint(1, **DRAINING),
        endpoint(2, **DOWN),
        endpoint(3, ready=False, serving=False, terminating=True),
    )
    assert last(found.cluster) == [1]
    assert found.anywhere


def test_nobody_serves() -> None:
    """Without a ready or draining endpoint there is none."""
    found = usable(port(), endpoint(1, **DOWN))
    assert not found.anywhere
    assert not found.reachable


def test_lists_fall_back_independently() -> None:
    """A draining local endpoint serves Local traffic though another node has a ready one."""
    local = port(node_port=30000, external_policy_local=True)
    found = usable(local, endpoint(1), endpoint(2, is_local=True, **DRAINING))
    assert last(found.cluster) == [1]
    assert last(found.local) == [2]
    assert last(found.reachable) == [1, 2]


def test_internal_local_policy_alone_needs_no_cluster_list() -> None:
    """Other nodes' endpoints get no chain, but their existence is known."""
    found = usable(port(internal_policy_local=True), endpoint(1))
    assert (found.cluster, found.local, found.anywhere) == ((), (), True)


def test_external_local_policy_matters_only_when_reachable_from_outside() -> None:
    """A ClusterIP Service with a stray externalTrafficPolicy uses every endpoint."""
    found = usable(port(external_policy_local=True), endpoint(1), endpoint(2, is_local=True))
    assert last(found.cluster) == [1, 2]
    assert found.local == ()


def test_zone_hints_narrow() -> None:
    """With a hint on every ready endpoint, only those for this zone serve."""
    here, there = frozenset({"a"}), frozenset({"b"})
    endpoints = (endpoint(1, zone_hints=here), endpoint(2, zone_hints=there))
    assert last(usable(port(), *endpoints, zone="a").cluster) == [1]
    assert last(usable(port(), *endpoints, zone="c").cluster) == [1, 2]
    assert last(usable(port(), *endpoints).cluster) == [1, 2]
    assert last(usable(port(), *endpoints, endpoint(3), zone="a").cluster) == [1, 2, 3]


def test_unready_endpoints_need_no_hint() -> None:
    """Hints are judged among ready endpoints only."""
    hinted = endpoint(1, zone_hints=frozenset({"a"}))
    other = endpoint(2, zone_hints=frozenset({"b"}))
    assert last(usable(port(), hinted, other, endpoint(3, **DOWN), zone="a").cluster) == [1]


def test_node_hints_come_before_zone_hints() -> None:
    """PreferSameNode wins where this node has an endpoint."""
    zone = frozenset({"a"})
    mine = endpoint(1, node_hints=frozenset({"worker"}), zone_hints=zone)
    other = endpoint(2, node_hints=frozenset({"worker2"}), zone_hints=zone)
    assert last(usable(port(), mine, other, zone="a").cluster) == [1]
    assert last(usable(port(), other, zone="a").cluster) == [2]


def test_hints_never_narrow_the_local_list() -> None:
    """Local traffic may use every endpoint of the node."""
    local = port(node_port=30000, external_policy_local=True)
    there = endpoint(1, is_local=True, zone_hints=frozenset({"b"}))
    here = endpoint(2, zone_hints=frozenset({"a"}))
    found = usable(local, there, here, zone="a")
    assert last(found.local) == [1]
    assert last(found.cluster) == [2]

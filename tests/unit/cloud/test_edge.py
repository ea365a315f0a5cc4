"""What the edge does with frontends and nodes."""

import dataclasses
from ipaddress import IPv4Address, IPv4Network

import pytest

from netpod.api.node import Node
from netpod.api.service import ServicePort
from netpod.cloud import edge
from tests.unit.cloud import builders
from tests.unit.cloud.builders import NODES, frontend, node, service

CASES = builders.cases()
CONTROL_PLANE = {"node-role.kubernetes.io/control-plane": ""}


@pytest.mark.parametrize("name", sorted(CASES))
def test_text_is_the_pinned_one(name: str) -> None:
    """tests/kernel/cloud loads the same files."""
    assert edge.compile(CASES[name]) == (builders.GOLDEN / f"{name}.nft").read_text()


def test_every_golden_file_has_its_case() -> None:
    """A golden file that nothing compiles pins nothing."""
    assert {path.stem for path in builders.GOLDEN.glob("*.nft")} == set(CASES)


def test_order_of_frontends_does_not_matter() -> None:
    """The same model is the same text, so nothing is loaded without need."""
    model = CASES["mixed"]
    reverse = dataclasses.replace(model, frontends=model.frontends[::-1])
    assert edge.compile(reverse) == edge.compile(model)


def test_first_of_two_services_keeps_a_frontend() -> None:
    """Two Services that show one address cannot break the table."""
    text = edge.compile(builders.edge_model(frontend(service="b/b"), frontend(service="a/a")))
    assert "a/a" in text
    assert "b/b" not in text


def test_addresses_outside_the_pool_are_not_ours() -> None:
    """A status that another controller wrote gets no rule."""
    text = edge.compile(builders.edge_model(frontend(vip=IPv4Address("192.0.2.1"))))
    assert "192.0.2.1" not in text


def test_workers_take_the_traffic() -> None:
    """The control plane's node does only where there is no worker."""
    control_plane = node("cp", "172.18.0.2", labels=CONTROL_PLANE)
    workers = (node("w2", "172.18.0.4"), node("w", "172.18.0.3"))
    assert edge.eligible_nodes((control_plane, *workers)) == NODES
    assert edge.eligible_nodes((control_plane,)) == (IPv4Address("172.18.0.2"),)


@pytest.mark.parametrize(
    "bad",
    [
        node("bad", "172.18.0.9", ready="False"),
        node("bad", "172.18.0.9", ready="Unknown"),
        node("bad", "172.18.0.9", deleted=True),
        node("bad", ""),
        node("bad", "fd00::9"),
        node("bad", "172.18.0.9", labels={edge.LABEL_EXCLUDE: ""}),
    ],
)
def test_unfit_nodes_are_left_out(bad: Node) -> None:
    """Not ready, leaving, without an address, or excluded by label."""
    assert edge.eligible_nodes((bad, node("w", "172.18.0.3"))) == NODES[:1]


def test_frontends_of_a_service() -> None:
    """Each port of each VIP; a Service of another class or type has none."""
    (found,) = edge.frontends(service(vips=("198.51.100.1",)), NODES)
    assert found == frontend(service="default/web")
    assert edge.frontends(service(), NODES) == ()
    other = service(vips=("198.51.100.1",), load_balancer_class="else")
    assert edge.frontends(other, NODES) == ()
    assert edge.frontends(service(vips=("198.51.100.1",), type="NodePort"), NODES) == ()


def test_port_without_node_port_has_no_backends() -> None:
    """allocateLoadBalancerNodePorts false leaves nothing to send to."""
    ports = (ServicePort(port=80, protocol="TCP"),)
    (found,) = edge.frontends(service(vips=("198.51.100.1",), ports=ports), NODES)
    assert found.backends == ()


def test_overlapping_source_ranges_are_merged() -> None:
    """nft refuses a set with overlapping intervals; what is no IPv4 network is left out."""
    ranges = ("10.0.0.0/8", "10.1.0.0/16", "fd00::/8", "nonsense")
    one = service(vips=("198.51.100.1",), load_balancer_source_ranges=ranges)
    (found,) = edge.frontends(one, NODES)
    assert found.source_ranges == (IPv4Network("10.0.0.0/8"),)


def test_policy_local_asks_for_health() -> None:
    """Only then do nodes differ."""
    one = service(
        vips=("198.51.100.1",), external_traffic_policy="Local", health_check_node_port=32000
    )
    (found,) = edge.frontends(one, NODES)
    assert found.health_check_node_port == 32000


def test_long_names_stay_loadable() -> None:
    """nft takes comments of at most 128 bytes."""
    long = frontend(service=f"{'n' * 63}/{'s' * 63}", port_name="p" * 15)
    text = edge.compile(builders.edge_model(long))
    assert all(len(part.split('"')[0]) <= 128 for part in text.split('comment "')[1:])

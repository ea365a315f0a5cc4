"""What Services and EndpointSlices mean to a proxy."""

import dataclasses
from ipaddress import IPv4Address

import pytest

from netpod.api.discovery import EndpointSlice
from netpod.api.service import ClientIPConfig, Service, ServiceSpec, SessionAffinityConfig
from netpod.proxy import model
from tests.unit.proxy.builders import endpoint_slice, entry, port, service


@pytest.mark.parametrize(
    "skipped",
    [
        service(cluster_ip=""),
        service(cluster_ip="None"),
        service(type="ExternalName"),
        service(cluster_ip="fd00::1"),
        service(labels={"service.kubernetes.io/service-proxy-name": ""}),
        service(labels={"service.kubernetes.io/headless": ""}),
    ],
)
def test_services_without_rules(skipped: Service) -> None:
    """Headless, ExternalName, IPv6-only and other proxies' Services have no service ports."""
    assert model.service_ports(skipped) == ()


def test_load_balancer_addresses_of_mode_proxy_are_left_out() -> None:
    """ipMode Proxy means: go through the balancer, do not short-circuit."""
    assert model.service_ports(service(vips=("192.0.2.1",)))[0].load_balancer_vips
    assert model.service_ports(service(vips=("192.0.2.1",), ip_mode="VIP"))[0].load_balancer_vips
    proxied = service(vips=("192.0.2.1", ""), ip_mode="Proxy")
    assert not model.service_ports(proxied)[0].load_balancer_vips


def test_node_port_of_a_cluster_ip_service_is_ignored() -> None:
    """A node port left behind by a change of type leads nowhere."""
    assert model.service_ports(service(ports=(port(node_port=30000),)))[0].node_port == 0


def test_other_family_is_ignored() -> None:
    """IPv6 addresses and ranges of an IPv4 proxy's Service have no rules."""
    mixed = service(
        external_ips=("fd00::7", "198.51.100.7"),
        load_balancer_source_ranges=("fd00::/8", " 192.0.2.0/24 "),
    )
    (found,) = model.service_ports(mixed)
    assert found.external_ips == (IPv4Address("198.51.100.7"),)
    assert [str(network) for network in found.source_ranges] == ["192.0.2.0/24"]


def test_everybody_among_the_source_ranges_means_no_restriction() -> None:
    """0.0.0.0/0 needs no firewall chain."""
    ranges = ("192.0.2.0/24", "0.0.0.0/0")
    assert model.service_ports(service(load_balancer_source_ranges=ranges))[0].source_ranges == ()


def test_affinity_timeout() -> None:
    """ClientIP lasts three hours unless the Service says otherwise."""
    assert model.service_ports(service())[0].affinity_seconds == 0
    assert model.service_ports(service(session_affinity="ClientIP"))[0].affinity_seconds == 10800
    config = SessionAffinityConfig(client_ip=ClientIPConfig(timeout_seconds=60))
    own = service(session_affinity="ClientIP", session_affinity_config=config)
    assert model.service_ports(own)[0].affinity_seconds == 60


def test_endpoints_are_sorted_by_text() -> None:
    """10.0.0.10 comes before 10.0.0.2: probabilities follow that order."""
    piece = endpoint_slice((entry("10.0.0.2"), entry("10.0.0.10")))
    found = model.slice_endpoints((piece,), "worker")["", "TCP"]
    assert [e.address for e in found] == ["10.0.0.10:8080", "10.0.0.2:8080"]


def test_local_entry_wins_among_duplicates() -> None:
    """One address in two slices is one endpoint, and local if any of them says so."""
    pieces = (
        endpoint_slice((entry("10.0.0.1", "elsewhere"),), suffix="a"),
        endpoint_slice((entry("10.0.0.1", "worker"),), suffix="b"),
        endpoint_slice((entry("10.0.0.1", "elsewhere"),), suffix="c"),
    )
    for order in (pieces, pieces[::-1]):
        (found,) = model.slice_endpoints(order, "worker")["", "TCP"]
        assert found.is_local


def test_unknown_conditions() -> None:
    """Absent ready and serving read as true, absent terminating as false."""
    (found,) = model.slice_endpoints((endpoint_slice((entry("10.0.0.1"),)),), "worker")["", "TCP"]
    assert (found.ready, found.serving, found.terminating) == (True, True, False)


def test_ports_are_matched_by_name_and_protocol() -> None:
    """A Service port finds the endpoints of the slice port with its name and protocol."""
    dns = service(ports=(port(53, "dns", "UDP"), port(53, "dns-tcp"), port(9, "none")))
    piece = endpoint_slice(
        (entry("10.0.0.1"),), ports=(("dns", 5353, "UDP"), ("dns-tcp", 5354, "TCP"))
    )
    found = model.build((dns,), (piece,), "worker")
    assert [[e.port for e in found.endpoints[name]] for name in found.services] == [
        [5353],
        [5354],
        [],
    ]


def test_slices_a_proxy_has_no_use_for() -> None:
    """Other families, headless Services and slices of nobody are not looked at."""
    piece = endpoint_slice((entry("10.0.0.1"),))
    assert model.service_of(piece) == ("shop", "web")
    labels = {**piece.metadata.labels, "service.kubernetes.io/headless": ""}
    headless = dataclasses.replace(piece.metadata, labels=labels)
    assert model.service_of(dataclasses.replace(piece, metadata=headless)) is None
    assert model.service_of(dataclasses.replace(piece, address_type="IPv6")) is None
    assert model.service_of(EndpointSlice(address_type="IPv4")) is None


def test_broken_addresses_are_survived() -> None:
    """An endpoint without or with an impossible address is left out, not fatal."""
    bad = dataclasses.replace(entry("10.0.0.1"), addresses=())
    piece = endpoint_slice((bad, entry("not-an-address"), entry("10.0.0.2")))
    found = model.slice_endpoints((piece,), "worker")
    assert [e.address for e in found["", "TCP"]] == ["10.0.0.2:8080"]
    assert ServiceSpec().cluster_ip == ""

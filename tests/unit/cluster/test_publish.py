"""What `--publish` means, and how a published Service is reached."""

import pytest

from netpod.api.meta import Key, ObjectMeta
from netpod.api.service import (
    LoadBalancerIngress,
    LoadBalancerStatus,
    Service,
    ServicePort,
    ServiceSpec,
    ServiceStatus,
)
from netpod.cluster import publish
from netpod.cluster.publish import Publication, Way
from netpod.errors import UsageError


@pytest.mark.parametrize(
    ("text", "listen", "service", "port"),
    [
        ("8080=ingress", 8080, publish.INGRESS, "80"),
        ("127.0.0.1:8443=ingress:443", 8443, publish.INGRESS, "443"),
        ("0=svc/web:http", 0, Key("default", "web"), "http"),
        ("localhost:53=service/kube-system/kube-dns:53", 53, Key("kube-system", "kube-dns"), "53"),
    ],
)
def test_publication_is_read(text: str, listen: int, service: Key, port: str) -> None:
    """A port here and a Service's port; the address may be said, though there is one only."""
    assert publish.parse(text) == (Publication(listen=listen, service=service, port=port),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("8080", "write "),
        ("70000=ingress", "write "),
        ("80=svc/web", "write "),
        ("80=pod/web:80", "write "),
        ("0.0.0.0:80=ingress", "only 127.0.0.1"),
        ("80=ingress,80=svc/web:80", "one port cannot lead to two places"),
    ],
)
def test_other_forms_are_refused(text: str, message: str) -> None:
    """No address that others on the network reach is ever opened."""
    with pytest.raises(UsageError, match=message):
        publish.parse(text)


def _service(node_port: int = 0, vip: str = "", cluster_ip: str = "10.96.0.5") -> Service:
    places = (LoadBalancerIngress(ip=vip),) if vip else ()
    ports = (ServicePort(name="dns", port=53, protocol="UDP"),)
    ports += (ServicePort(name="http", port=80, protocol="TCP", node_port=node_port),)
    return Service(
        metadata=ObjectMeta(name="web", namespace="default"),
        spec=ServiceSpec(cluster_ip=cluster_ip, ports=ports),
        status=ServiceStatus(load_balancer=LoadBalancerStatus(ingress=places)),
    )


def test_way_into_the_cluster() -> None:
    """The load balancer's address before node ports, and only without both the cluster IP, from a node."""
    nodes = ["172.18.0.3", "172.18.0.4"]

    def ways(service: Service | None, port: str = "80") -> list[Way]:
        return list(publish.ways(service, port, nodes))

    assert ways(_service(30080, "198.51.100.1")) == [Way(ip="198.51.100.1", port=80)]
    assert ways(_service(30080), "http") == [Way(ip=node, port=30080) for node in nodes]
    assert ways(_service()) == [Way(ip="10.96.0.5", port=80, inside=True)]
    assert ways(_service(cluster_ip="None")) == []
    assert ways(_service(), "53") == []
    assert ways(None) == []

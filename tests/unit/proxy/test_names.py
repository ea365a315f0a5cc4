"""Chain names, forwards and back."""

import pytest

from netpod.proxy import names
from netpod.proxy.model import ServicePortName
from netpod.proxy.names import Prefix
from tests.unit.proxy import builders


def name(text: str, protocol: str = "TCP") -> ServicePortName:
    """Service port from "ns/name:port"."""
    service, _, port = text.partition(":")
    namespace, _, own = service.partition("/")
    return ServicePortName(namespace=namespace, name=own, port=port, protocol=protocol)


@pytest.mark.parametrize(
    ("port", "protocol", "expected"),
    [
        ("ns1/svc1:p80", "TCP", "XPGD46QRK7WJZT7O"),
        ("default/kubernetes:https", "TCP", "NPX46M4PTMTKRN6Y"),
        ("kube-system/kube-dns:dns", "UDP", "TCOU7JCQXEZGVUNU"),
        ("kube-system/kube-dns:dns-tcp", "TCP", "ERIFXISQEP7F7OF4"),
        ("kube-system/kube-dns:metrics", "TCP", "JD5MR3NA4I4DYORP"),
        ("ns1/svc1", "TCP", "AQI2S6QIMU7PVVRP"),
    ],
)
def test_service_hash_is_upstreams(port: str, protocol: str, expected: str) -> None:
    """The same Service has the same chains under a real kube-proxy."""
    assert names.service_hash(name(port, protocol)) == expected


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [("10.180.0.1:80", "SXIVWICOYRO3J4NJ"), ("[fd00:10:244::5]:80", "JR6YXXN6Y3V4FLYE")],
)
def test_endpoint_hash_is_upstreams(endpoint: str, expected: str) -> None:
    """The endpoint's text, brackets and port included, is part of the hash."""
    assert names.endpoint_chain(name("ns1/svc1:p80"), endpoint) == f"KUBE-SEP-{expected}"


def test_unnamed_port_has_no_colon() -> None:
    """A port without a name prints as its Service."""
    assert str(name("ns1/svc1")) == "ns1/svc1"
    assert str(name("ns1/svc1:p80")) == "ns1/svc1:p80"


def test_directory_explains_every_chain_of_the_rules() -> None:
    """trace can say of each chain what it is for and whose it is."""
    for case, model in builders.cases().items():
        known = names.directory(model)
        for line in (builders.GOLDEN / f"{case}.iptables").read_text().splitlines():
            if line.startswith(":"):
                assert line[1:].split()[0] in known, line


def test_directory_leads_back_to_port_and_endpoint() -> None:
    """KUBE-SEP- names its endpoint, KUBE-SVC- its service port."""
    known = names.directory(builders.cases()["web"])
    meaning = known["KUBE-SEP-DYSIX5QMVXZZP7LU"]
    assert meaning.endpoint is not None
    assert (str(meaning.port), meaning.endpoint.address) == ("shop/web:http", "10.244.2.7:8080")
    assert known["KUBE-SVC-67NZLRHBNDSAWJRO"].purpose == "choose an endpoint of shop/web:http"


def test_only_port_chains_may_be_deleted() -> None:
    """KUBE-EXTERNAL-SERVICES, KUBE-FORWARD and strangers are not mistaken for a port's chains."""
    assert all(names.is_port_chain(f"{prefix}67NZLRHBNDSAWJRO") for prefix in Prefix)
    others = ("KUBE-EXTERNAL-SERVICES", "KUBE-FORWARD", "KUBE-FIREWALL", "KUBE-SERVICES", "DOCKER")
    assert not any(map(names.is_port_chain, others))

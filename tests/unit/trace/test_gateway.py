"""Which route a request to a Gateway is predicted to take; that HAProxy does the same, tests/kernel/ingress shows."""

from ipaddress import ip_address

import pytest

from netpod.api.meta import Key, ObjectMeta
from netpod.api.service import Service, ServicePort, ServiceSpec
from netpod.trace.model import Address
from netpod.trace.predict import gateway
from netpod.trace.request import TraceRequest
from tests.unit.ingress import gateways

GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gw, namespace: default}
spec:
  gatewayClassName: netpod
  listeners:
  - {name: all, port: 80, protocol: HTTP}
  - {name: shop, port: 80, protocol: HTTP, hostname: "*.shop.example"}
"""
IPS = {name: f"10.96.2.{n}" for n, name in enumerate("abcdef", 1)}


def _rule(match: str, backends: str) -> str:
    refs = ", ".join(f"{{name: {b[0]}, port: 80, weight: {b[1:] or 1}}}" for b in backends.split())
    return f"{{matches: [{match}], backendRefs: [{refs}]}}"


WORLD = gateways.world(
    GATEWAY,
    gateways.route(
        "web",
        _rule("{path: {type: PathPrefix, value: /api}}", "a"),
        _rule("{path: {type: Exact, value: /api/exact}}", "b"),
        _rule("{path: {type: RegularExpression, value: '/re/[0-9]+'}}", "c"),
        _rule("{queryParams: [{name: q, value: '1'}]}", "d"),
        _rule("{path: {type: PathPrefix, value: /split}}", "a9 b1 c0"),
        "{matches: [{path: {type: PathPrefix, value: /old}}],"
        " filters: [{type: RequestRedirect, requestRedirect: {statusCode: 301, hostname: b.example}}]}",
        parentRefs=[{"name": "gw", "sectionName": "all"}],
        hostnames=["web.example"],
    ),
    gateways.route(
        "shop", _rule("{}", "e"), parentRefs=[{"name": "gw", "sectionName": "shop"}],
    ),
    services=[
        Service(
            metadata=ObjectMeta(name=name, namespace="default"),
            spec=ServiceSpec(cluster_ip=ip, cluster_ips=(ip,), ports=(ServicePort(port=80),)),
        )
        for name, ip in IPS.items()
    ],
)  # fmt: skip


def routed(url: str) -> gateway.Routed:
    """What becomes of GET url."""
    host, slash, path = url.partition("/")
    request = TraceRequest(
        id="id-1", url=url, host=host, path=slash + path or "/",
        connect=Address(ip_address("198.51.100.9"), 80), netns="outside",
    )  # fmt: skip
    return gateway.route(WORLD, Key("default", "gw"), 80, request)


@pytest.mark.parametrize(
    ("url", "services"),
    [
        ("web.example/api", "a"),
        ("web.example/api/more?x=y", "a"),
        ("web.example/apiary", ""),
        ("web.example/api/exact", "b"),
        ("web.example/re/42", "c"),
        ("web.example/re/42x", ""),
        ("web.example/other?q=1", "d"),
        ("web.example/split/it", "ab"),
        ("WEB.example:80/api", "a"),
        ("x.y.shop.example/api", "e"),
        ("shop.example/api", ""),
        ("web.example/old/x", ""),
    ],
)
def test_the_most_specific_listener_and_the_first_match_take_a_request(
    url: str, services: str
) -> None:
    """By host, path and parameters; what leads to several Services may lead to each that has a weight."""
    found = routed(url)
    assert {str(a.ip) for a in found.addresses} == {IPS[name] for name in services}, found.rule
    assert found.redirects == url.startswith("web.example/old")


def test_a_request_that_nothing_takes_is_said_to_be_answered() -> None:
    """By the proxy itself: with 404, or with the redirect that the rule asks for."""
    assert "answers 404" in routed("web.example/apiary").rule
    assert "HTTPRoute default/web" in routed("web.example/old").rule
    assert "answers 301 itself, a redirect" in routed("web.example/old").rule
    assert "9 of 10 requests" in routed("web.example/split").rule

"""GatewayClasses, Gateways, HTTPRoutes and ReferenceGrants: defaults, and refusals in upstream's words."""

from typing import Any

import pytest

from netpod.api import codec, defaults, registry, validation
from netpod.api.structs import replace

API = "gateway.networking.k8s.io/v1"


def made(kind: str, spec: dict[str, Any], version: str = API) -> Any:
    """An object with defaults."""
    resource = registry.by_kind(version, kind)
    about = {"name": "x", **({"namespace": "default"} if resource.namespaced else {})}
    data = {"apiVersion": version, "kind": kind, "metadata": about, "spec": spec}
    return defaults.apply_defaults(codec.decode(resource.cls, data))


def rule(**fields: Any) -> dict[str, Any]:
    """An HTTPRoute's spec of one rule."""
    return {"rules": [fields]}


def test_defaults_are_upstreams() -> None:
    """Everything, from the own namespace, with weight 1, and 302."""
    route = made(
        "HTTPRoute",
        {
            "parentRefs": [{"name": "gw"}],
            "rules": [
                {"backendRefs": [{"name": "web", "port": 80}]},
                {"filters": [{"type": "RequestRedirect", "requestRedirect": {}}]},
            ],
        },
    )
    spec = codec.encode(route)["spec"]
    assert spec["parentRefs"] == [
        {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "gw"}
    ]
    assert spec["rules"][0] == {
        "matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
        "backendRefs": [{"group": "", "kind": "Service", "name": "web", "port": 80, "weight": 1}],
    }
    assert spec["rules"][1]["filters"][0]["requestRedirect"] == {"statusCode": 302}
    listener = {"name": "s", "port": 443, "protocol": "HTTPS"}
    listener["tls"] = {"certificateRefs": [{"name": "cert"}]}
    gateway = made("Gateway", {"gatewayClassName": "netpod", "listeners": [listener]})
    found = codec.encode(gateway)["spec"]["listeners"][0]
    assert found["allowedRoutes"] == {"namespaces": {"from": "Same"}}
    refs = [{"group": "", "kind": "Secret", "name": "cert"}]
    assert found["tls"] == {"mode": "Terminate", "certificateRefs": refs}
    assert defaults.apply_defaults(route) == route
    assert defaults.apply_defaults(gateway) == gateway


ONE = {"name": "a", "port": 80, "protocol": "HTTP"}
REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("GatewayClass", {}, "spec.controllerName: Required value"),
    ("GatewayClass", {"controllerName": "x"}, "spec.controllerName in body should match"),
    ("Gateway", {"gatewayClassName": "c"}, "spec.listeners: Required value"),
    (
        "Gateway",
        {"gatewayClassName": "c", "listeners": [ONE, {**ONE, "port": 81}]},
        "Listener name must be unique within the Gateway",
    ),
    (
        "Gateway",
        {"gatewayClassName": "c", "listeners": [ONE, {**ONE, "name": "b"}]},
        "Combination of port, protocol and hostname must be unique for each listener",
    ),
    (
        "Gateway",
        {"gatewayClassName": "c", "listeners": [{**ONE, "tls": {"options": {"a": "b"}}}]},
        "tls must not be specified for protocols ['HTTP', 'TCP', 'UDP']",
    ),
    (
        "Gateway",
        {"gatewayClassName": "c", "listeners": [{**ONE, "protocol": "HTTPS", "tls": {}}]},
        "certificateRefs or options must be specified when mode is Terminate",
    ),
    (
        "Gateway",
        {"gatewayClassName": "c", "listeners": [{**ONE, "hostname": "1.2.3.4"}]},
        "must be a DNS name, not an IP address",
    ),
    (
        "Gateway",
        {"gatewayClassName": "c", "listeners": [{**ONE, "port": 70000}]},
        "spec.listeners[0].port: Invalid value: 70000",
    ),
    (
        "HTTPRoute",
        rule(matches=[{"path": {"type": "Exact", "value": "foo"}}]),
        "value must be an absolute path and start with '/' when type one of ['Exact', 'PathPrefix']",
    ),
    (
        "HTTPRoute",
        rule(matches=[{"path": {"value": "/a//b"}}]),
        "must not contain '//' when type one of ['Exact', 'PathPrefix']",
    ),
    (
        "HTTPRoute",
        rule(matches=[{"path": {"type": "Glob", "value": "/"}}]),
        'Unsupported value: "Glob": supported values: "Exact", "PathPrefix", "RegularExpression"',
    ),
    (
        "HTTPRoute",
        rule(matches=[{"method": "FETCH"}]),
        'spec.rules[0].matches[0].method: Unsupported value: "FETCH"',
    ),
    (
        "HTTPRoute",
        rule(backendRefs=[{"name": "web"}]),
        "Must have port for Service reference",
    ),
    (
        "HTTPRoute",
        rule(
            backendRefs=[{"name": "web", "port": 80}],
            filters=[{"type": "RequestRedirect", "requestRedirect": {}}],
        ),
        "RequestRedirect filter must not be used together with backendRefs",
    ),
    (
        "HTTPRoute",
        rule(filters=[{"type": "URLRewrite"}]),
        "filter.urlRewrite must be specified for URLRewrite filter.type",
    ),
    (
        "HTTPRoute",
        rule(
            matches=[{"path": {"type": "Exact", "value": "/a"}}],
            filters=[
                {
                    "type": "URLRewrite",
                    "urlRewrite": {
                        "path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}
                    },
                }
            ],
        ),
        "When using URLRewrite filter with path.replacePrefixMatch, exactly one PathPrefix match must be specified",
    ),
    (
        "HTTPRoute",
        rule(timeouts={"request": "1s", "backendRequest": "2s"}),
        "backendRequest timeout cannot be longer than request timeout",
    ),
    (
        "HTTPRoute",
        rule(timeouts={"request": "1 second"}),
        "spec.rules[0].timeouts.request in body should match",
    ),
    (
        "HTTPRoute",
        {"parentRefs": [{"name": "gw"}, {"name": "gw"}]},
        "must be specified when parentRefs includes 2 or more references to the same parent",
    ),
]


@pytest.mark.parametrize(("kind", "spec", "said"), REFUSED)
def test_refused_in_upstreams_words(kind: str, spec: dict[str, Any], said: str) -> None:
    """What the Gateway API's schemas refuse is refused."""
    errors = validation.validate_create(made(kind, spec))
    assert said in "; ".join(f"{e.field}: {e.message}" for e in errors)


def test_reference_grant_names_both_sides() -> None:
    """A grant without sides is none."""
    grant = made("ReferenceGrant", {}, "gateway.networking.k8s.io/v1beta1")
    fields = [error.field for error in validation.validate_create(grant)]
    assert fields == ["spec.from", "spec.to"]


def test_class_stays_with_its_controller() -> None:
    """controllerName cannot be changed."""
    old = made("GatewayClass", {"controllerName": "a.io/b"})
    new = replace(old, spec=replace(old.spec, controller_name="a.io/c"))
    (error,) = validation.validate_update(new, old)
    assert error.message == 'Invalid value: "a.io/c": Value is immutable'

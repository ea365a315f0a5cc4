"""Ingresses, slices, workloads, nodes and the small kinds."""

from collections.abc import Callable
from typing import Any

import pytest

Wrong = Callable[..., list[str]]


def backend(**port: Any) -> dict[str, Any]:
    """Return a backend of Service web."""
    return {"service": {"name": "web", "port": port or {"number": 80}}}


def rule(
    path: str = "/", path_type: str | None = "Prefix", host: str = "", **fields: Any
) -> dict[str, Any]:
    """Return an Ingress' fields with one rule of one path."""
    made = {"path": path, "backend": backend(), **fields}
    if path_type is not None:
        made["pathType"] = path_type
    return {"spec": {"rules": [{**({"host": host} if host else {}), "http": {"paths": [made]}}]}}


P = "spec.rules[0].http.paths[0]"
SELECTOR = {"matchLabels": {"app": "web"}}
TEMPLATE: dict[str, Any] = {
    "metadata": {"labels": {"app": "web"}},
    "spec": {"containers": [{"name": "c", "image": "i"}]},
}


def workload(**fields: Any) -> dict[str, Any]:
    """Return a workload's fields."""
    return {"spec": {"selector": SELECTOR, "template": TEMPLATE, **fields}}


def rolling(**fields: Any) -> dict[str, Any]:
    """Return a Deployment's fields with a rolling update."""
    return workload(strategy={"type": "RollingUpdate", "rollingUpdate": fields})


def slice_(
    address_type: str = "IPv4", addresses: tuple[str, ...] = ("10.244.1.2",), **fields: Any
) -> dict[str, Any]:
    """Return an EndpointSlice's fields with one endpoint."""
    return {"addressType": address_type, "endpoints": [{"addresses": list(addresses)}], **fields}


GOOD: list[tuple[str, dict[str, Any]]] = [
    ("ing", rule(host="example.com")),
    ("ing", rule(host="*.example.com", path_type="Exact")),
    ("ing", rule(path="", path_type="ImplementationSpecific")),
    ("ing", rule(backend=backend(name="http"))),
    ("ing", rule(backend={"resource": {"kind": "K", "name": "n"}})),
    ("ing", {"spec": {"defaultBackend": backend()}}),
    (
        "ing",
        {"spec": {"rules": [{"host": "a.b"}], "tls": [{"hosts": ["*.a.b"], "secretName": "s"}]}},
    ),
    ("ingressclasses", {"spec": {"controller": "netpod.dev/ingress"}}),
    ("endpointslices", slice_(ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81}])),
    ("endpointslices", slice_("IPv6", ("fd00::1",))),
    ("endpointslices", slice_("FQDN", ("a.example",))),
    ("ep", {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"port": 80}]}]}),
    ("deploy", workload()),
    ("deploy", rolling(maxSurge=0, maxUnavailable="100%")),
    ("rs", workload(replicas=0)),
    (
        "nodes",
        {"spec": {"podCIDR": "10.244.1.0/24", "taints": [{"key": "a", "effect": "NoSchedule"}]}},
    ),
    ("cm", {"data": {"a.b_C-1": "x"}, "binaryData": {"k": "AAAA"}}),
    ("secrets", {"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}),
    ("leases", {"spec": {"holderIdentity": "a", "leaseDurationSeconds": 40}}),
    (
        "leases",
        {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}},
    ),  # as client-go gives one up
    ("events", {"involvedObject": {"namespace": "default"}}),
    ("events", {"involvedObject": {"kind": "Node"}}),
    ("sa", {}),
    ("ns", {}),
]


@pytest.mark.parametrize(("word", "fields"), GOOD)
def test_right_objects(wrong: Wrong, word: str, fields: dict[str, Any]) -> None:
    """What upstream takes, netpod takes."""
    assert wrong(word, **fields) == []


CASES: list[tuple[str, dict[str, Any], str]] = [
    ("ing", {}, "spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"),
    ("ing", rule(path_type=None), f"{P}.pathType: Required value: pathType must be specified"),
    (
        "ing",
        rule(path_type="Regex"),
        f'{P}.pathType: Unsupported value: "Regex": supported values: "Exact", "ImplementationSpecific", "Prefix"',
    ),
    ("ing", rule(path="foo"), f'{P}.path: Invalid value: "foo": must be an absolute path'),
    ("ing", rule(path="/a//b"), f"{P}.path: Invalid value: \"/a//b\": must not contain '//'"),
    ("ing", rule(path="/a/.."), f"{P}.path: Invalid value: \"/a/..\": cannot end with '/..'"),
    ("ing", rule(host="10.0.0.1"), 'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP'),
    ("ing", rule(host="*"), 'spec.rules[0].host: Invalid value: "*": a wildcard DNS-1123 subdomain must start'),
    ("ing", rule(host="a:80"), 'spec.rules[0].host: Invalid value: "a:80": a lowercase RFC 1123 subdomain'),
    ("ing", rule(host="a.*.b"), 'spec.rules[0].host: Invalid value: "a.*.b": a wildcard DNS-1123'),
    (
        "ing",
        {"spec": {**rule()["spec"], "tls": [{"hosts": ["a_b.com"]}]}},
        'spec.tls[0].hosts[0]: Invalid value: "a_b.com": a lowercase RFC 1123 subdomain',
    ),
    ("ing", rule(backend={}), f'{P}.backend: Invalid value: "": resource or service backend is required'),
    (
        "ing",
        rule(backend={**backend(), "resource": {"kind": "K", "name": "n"}}),
        f'{P}.backend: Invalid value: "": cannot set both resource and service backends',
    ),
    (
        "ing",
        rule(backend=backend(number=80, name="a")),
        f'{P}.backend: Invalid value: "": cannot set both port name & port number',
    ),
    (
        "ing",
        rule(backend={"service": {"name": "web"}}),
        f"{P}.backend: Required value: port name or number is required",
    ),
    ("ing", rule(backend=backend(number=70000)), f"{P}.backend.service.port.number: Invalid value: 70000"),
    ("ing", {"spec": {"rules": [{"http": {"paths": []}}]}}, "spec.rules[0].http.paths: Required value"),
    ("ingressclasses", {"spec": {"controller": "x"}}, 'spec.controller: Invalid value: "x": must be a domain-prefixed'),
    ("endpointslices", {}, "addressType: Required value"),
    ("endpointslices", slice_("IPv4", ("fd00::1",)), "endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must"),
    ("endpointslices", slice_("IPv4", ()), "endpoints[0].addresses: Required value: must contain at least 1 address"),
    ("endpointslices", slice_("IPv4", ("127.0.0.1",)), "endpoints[0].addresses[0]: Invalid value: \"127.0.0.1\": may"),
    ("endpointslices", slice_(ports=[{"port": 1}, {"port": 2}]), 'ports[1].name: Duplicate value: ""'),
    ("ep", {"subsets": [{}]}, "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"),
    ("ep", {"subsets": [{"addresses": [{"ip": "169.254.1.1"}]}]}, "subsets[0].addresses[0].ip: Invalid value"),
    ("deploy", {"spec": {"template": TEMPLATE}}, "spec.selector: Required value"),
    ("deploy", workload(selector={}), "spec.selector: Invalid value: {}: empty selector is invalid for deployment"),
    (
        "deploy",
        workload(selector={"matchLabels": {"app": "db"}}),
        'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template `labels`',
    ),
    ("deploy", workload(replicas=-1), "spec.replicas: Invalid value: -1: must be greater than or equal to 0"),
    (
        "deploy",
        rolling(maxSurge=0, maxUnavailable="0%"),
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0',
    ),
    ("deploy", rolling(maxSurge="x"), 'spec.strategy.rollingUpdate.maxSurge: Invalid value: "x": a valid percent'),
    (
        "deploy",
        rolling(maxUnavailable="101%"),
        'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%',
    ),
    (
        "deploy",
        workload(strategy={"type": "Recreate", "rollingUpdate": {}}),
        "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
    ),
    (
        "deploy",
        workload(minReadySeconds=600),
        "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
    ),
    (
        "rs",
        workload(template={**TEMPLATE, "spec": {**TEMPLATE["spec"], "restartPolicy": "Never"}}),
        'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"',
    ),
    (
        "rs",
        workload(selector={"matchExpressions": [{"key": "a", "operator": "In"}]}),
        "spec.selector.matchExpressions[0].values: Required value: must be specified when",
    ),
    ("nodes", {"spec": {"taints": [{"key": "a"}]}}, "metadata.taints[0].effect: Required value"),
    ("nodes", {"spec": {"podCIDR": "10.244.1.0"}}, 'spec.podCIDRs[0]: Invalid value: "10.244.1.0": must be a valid'),
    ("cm", {"data": {"a b": ""}}, 'data[a b]: Invalid value: "a b": a valid config key must consist of'),
    ("cm", {"data": {"..": ""}}, "data[..]: Invalid value: \"..\": must not be '..'"),
    ("cm", {"data": {"a": "x" * 1048577}}, "[]: Too long: may not be more than 1048576 bytes"),
    ("cm", {"data": {"a": ""}, "binaryData": {"a": ""}}, 'data[a]: Invalid value: "a": duplicate of key present in'),
    ("secrets", {"data": {"a": "%"}}, 'data[a]: Invalid value: "%": illegal base64 data'),
    ("secrets", {"type": "kubernetes.io/tls", "data": {"tls.key": ""}}, "data[tls.crt]: Required value"),
    ("leases", {"spec": {"leaseDurationSeconds": 0}}, "spec.leaseDurationSeconds: Invalid value: 0: must be greater"),
    ("events", {"involvedObject": {"namespace": "b"}}, 'involvedObject.namespace: Invalid value: "b": does not match'),
]  # fmt: skip


@pytest.mark.parametrize(("word", "fields", "start"), CASES)
def test_wrong_objects(wrong: Wrong, word: str, fields: dict[str, Any], start: str) -> None:
    """Each mistake is named, and named first; what follows from it may follow, as upstream."""
    found = wrong(word, **fields)
    assert found[0].startswith(start)
    assert len(found) <= 2, found


def test_the_class_is_named_once(wrong: Wrong) -> None:
    """Annotation and field together are refused at creation."""
    metadata = {
        "name": "x",
        "namespace": "default",
        "annotations": {"kubernetes.io/ingress.class": "a"},
    }
    spec = {"ingressClassName": "a", **rule()["spec"]}
    assert wrong("ing", metadata=metadata, spec=rule()["spec"]) == []
    assert (
        "can not be set when the class field is also set"
        in wrong("ing", metadata=metadata, spec=spec)[0]
    )


IMMUTABLE = "field is immutable"
CHANGES: list[tuple[str, dict[str, Any], dict[str, Any], str]] = [
    ("deploy", workload(), workload(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}), IMMUTABLE),
    ("rs", workload(), workload(selector={"matchExpressions": [{"key": "app", "operator": "Exists"}]}), IMMUTABLE),
    ("endpointslices", slice_(), slice_("IPv6", ("fd00::1",)), IMMUTABLE),
    ("ingressclasses", {"spec": {"controller": "a/b"}}, {"spec": {"controller": "a/c"}}, IMMUTABLE),
    ("secrets", {"type": "a"}, {"type": "b"}, IMMUTABLE),
    ("cm", {"immutable": True}, {"immutable": True, "data": {"a": "1"}}, "immutable when `immutable` is set"),
    ("cm", {"immutable": True}, {}, "immutable when `immutable` is set"),
    ("secrets", {"immutable": True}, {"immutable": True, "data": {"a": ""}}, "immutable when `immutable` is set"),
    ("nodes", {"spec": {"podCIDR": "10.244.1.0/24"}}, {"spec": {"podCIDR": "10.244.2.0/24"}}, "may not change podCIDR"),
]  # fmt: skip


@pytest.mark.parametrize(("word", "old", "new", "message"), CHANGES)
def test_what_may_not_change(
    wrong_change: Wrong, word: str, old: dict[str, Any], new: dict[str, Any], message: str
) -> None:
    """Each refusal says why; keeping everything is always allowed."""
    found = wrong_change(word, old, new)
    assert message in found[0]
    assert all("may only change" in other for other in found[1:]), found
    assert wrong_change(word, old, old) == []

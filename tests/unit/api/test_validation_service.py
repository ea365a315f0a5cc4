"""Services: everything that decides where packets go."""

from collections.abc import Callable
from typing import Any

import pytest

Wrong = Callable[..., list[str]]

PORT = {"port": 80}


def spec(**fields: Any) -> dict[str, Any]:
    """Return a Service's spec with one port."""
    return {"ports": [PORT], **fields}


@pytest.mark.parametrize(
    "good",
    [
        spec(),
        spec(type="NodePort", ports=[{"port": 80, "nodePort": 30080}]),
        spec(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30000),
        spec(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/8", " 192.0.2.1/24"]),
        spec(
            type="LoadBalancer",
            ports=[{"name": "a", "port": 53}, {"name": "b", "port": 53, "protocol": "UDP"}],
        ),
        spec(clusterIP="None"),
        {"clusterIP": "None"},
        {"type": "ExternalName", "externalName": "db.example.com."},
        {"type": "ExternalName", "externalName": "10.0.0.1"},
        spec(sessionAffinity="ClientIP"),
        spec(
            sessionAffinity="ClientIP",
            sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86400}},
        ),
        spec(externalIPs=["203.0.113.5"], externalTrafficPolicy="Local"),
        spec(ports=[{"port": 80, "targetPort": "http", "appProtocol": "kubernetes.io/h2c"}]),
        spec(trafficDistribution="PreferClose", internalTrafficPolicy="Local"),
        spec(ipFamilyPolicy="PreferDualStack", ipFamilies=["IPv4", "IPv6"]),
    ],
)
def test_right_services(wrong: Wrong, good: dict[str, Any]) -> None:
    """What upstream takes, netpod takes."""
    assert wrong("svc", spec=good) == []


RANGE = "must be between 1 and 65535, inclusive"
BAD_IP = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"

CASES: list[tuple[dict[str, Any], str]] = [
    ({}, "spec.ports: Required value"),
    (
        spec(ports=[{"port": 70000, "targetPort": 80}]),
        f"spec.ports[0].port: Invalid value: 70000: {RANGE}",
    ),
    (spec(ports=[{"port": 0, "targetPort": 1}]), f"spec.ports[0].port: Invalid value: 0: {RANGE}"),
    (
        spec(ports=[{"port": 1, "targetPort": -1}]),
        f"spec.ports[0].targetPort: Invalid value: -1: {RANGE}",
    ),
    (
        spec(ports=[{"port": 1, "targetPort": "a--b"}]),
        'spec.ports[0].targetPort: Invalid value: "a--b": must not contain consecutive hyphens',
    ),
    (
        spec(ports=[{"port": 1, "protocol": "tcp"}]),
        'spec.ports[0].protocol: Unsupported value: "tcp": supported values: "SCTP", "TCP", "UDP"',
    ),
    (spec(ports=[{"port": 1}, {"name": "b", "port": 2}]), "spec.ports[0].name: Required value"),
    (
        spec(ports=[{"name": "a", "port": 1}, {"name": "a", "port": 2}]),
        'spec.ports[1].name: Duplicate value: "a"',
    ),
    (
        spec(ports=[{"name": "a", "port": 1}, {"name": "b", "port": 1}]),
        'spec.ports[1]: Duplicate value: {"protocol":"TCP","port":1}',
    ),
    (
        spec(
            type="NodePort",
            ports=[{"name": n, "port": p, "nodePort": 30080} for n, p in (("a", 1), ("b", 2))],
        ),
        "spec.ports[1].nodePort: Duplicate value: 30080",
    ),
    (
        spec(ports=[{"port": 1, "nodePort": 30080}]),
        "spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'",
    ),
    (
        spec(type="Magic"),
        'spec.type: Unsupported value: "Magic": supported values: '
        '"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"',
    ),
    (
        spec(type="NodePort", clusterIP="None"),
        "spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services",
    ),
    (spec(clusterIP="10.96"), f'spec.clusterIPs[0]: Invalid value: "10.96": {BAD_IP}'),
    (
        spec(clusterIP="10.96.0.5", clusterIPs=["10.96.0.6"]),
        'spec.clusterIPs: Invalid value: ["10.96.0.6"]: first value must match `clusterIP`',
    ),
    ({"type": "ExternalName"}, "spec.externalName: Required value"),
    (
        {"type": "ExternalName", "externalName": "a.b", "clusterIP": "10.96.0.1"},
        "spec.clusterIPs: Forbidden: may not be set for ExternalName services",
    ),
    (
        spec(sessionAffinity="Cookie"),
        'spec.sessionAffinity: Unsupported value: "Cookie": supported values: "ClientIP", "None"',
    ),
    (
        spec(
            sessionAffinity="ClientIP",
            sessionAffinityConfig={"clientIP": {"timeoutSeconds": 86401}},
        ),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: "
        "must be greater than 0 and less than 86400",
    ),
    (
        spec(sessionAffinity="ClientIP", sessionAffinityConfig={"clientIP": {"timeoutSeconds": 0}}),
        "spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: "
        "must be greater than 0 and less than 86400",
    ),
    (
        spec(externalTrafficPolicy="Local"),
        'spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services',
    ),
    (
        spec(type="NodePort", externalTrafficPolicy="Near"),
        'spec.externalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"',
    ),
    (
        spec(internalTrafficPolicy="Near"),
        'spec.internalTrafficPolicy: Unsupported value: "Near": supported values: "Cluster", "Local"',
    ),
    (
        spec(type="LoadBalancer", healthCheckNodePort=30000),
        "spec.healthCheckNodePort: Invalid value: 30000: may only be set when `type` is 'LoadBalancer' "
        "and `externalTrafficPolicy` is 'Local'",
    ),
    (
        spec(loadBalancerSourceRanges=["10.0.0.0/8"]),
        "spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
    (
        spec(type="LoadBalancer", loadBalancerSourceRanges=["10.0.0.0/33"]),
        'spec.loadBalancerSourceRanges[0]: Invalid value: "10.0.0.0/33": '
        "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)",
    ),
    (
        spec(externalIPs=["127.0.0.1"]),
        'spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)',
    ),
    (spec(externalIPs=["a"]), f'spec.externalIPs[0]: Invalid value: "a": {BAD_IP}'),
    (
        spec(ipFamilies=["IPv5"]),
        'spec.ipFamilies[0]: Unsupported value: "IPv5": supported values: "IPv4", "IPv6"',
    ),
    (
        spec(clusterIP="10.96.0.1", ipFamilies=["IPv6"]),
        'spec.clusterIPs[0]: Invalid value: "10.96.0.1": expected an IPv6 value as indicated by `ipFamilies[0]`',
    ),
    (
        spec(type="LoadBalancer", ports=[{"port": 10250}]),
        "spec.ports[0]: Invalid value: 10250: may not expose port 10250 externally since it is used by kubelet",
    ),
    (
        spec(allocateLoadBalancerNodePorts=False),
        "spec.allocateLoadBalancerNodePorts: Forbidden: may only be used when `type` is 'LoadBalancer'",
    ),
]


@pytest.mark.parametrize(
    ("bad", "message"), CASES, ids=lambda v: v.split(":")[0] if isinstance(v, str) else ""
)
def test_wrong_services(wrong: Wrong, bad: dict[str, Any], message: str) -> None:
    """Each mistake is named once, alone."""
    assert wrong("svc", spec=bad) == [message]


def test_the_annotation_for_source_ranges_counts_too(wrong: Wrong) -> None:
    """The old annotation is checked like the field."""
    name = "service.beta.kubernetes.io/load-balancer-source-ranges"
    metadata = {"name": "x", "namespace": "default", "annotations": {name: "10.0.0.0/8, x"}}
    found = wrong("svc", metadata=metadata, spec=spec(type="LoadBalancer"))
    assert len(found) == 1
    assert "must be a list of IP ranges" in found[0]
    metadata["annotations"] = {name: "10.0.0.0/8, 192.0.2.0/24"}
    assert wrong("svc", metadata=metadata, spec=spec(type="LoadBalancer")) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (spec(clusterIP="10.96.0.5"), spec()),
        (spec(clusterIP="10.96.0.5"), {"type": "ExternalName", "externalName": "a.b"}),
        (
            spec(clusterIP="10.96.0.5"),
            spec(type="ExternalName", externalName="a.b", clusterIP="10.96.0.5"),
        ),
        ({"type": "ExternalName", "externalName": "a.b"}, spec(clusterIP="10.96.0.7")),
        (
            spec(
                type="NodePort",
                ports=[{"port": 80, "nodePort": 30080}],
                externalTrafficPolicy="Cluster",
            ),
            spec(
                type="ClusterIP",
                ports=[{"port": 80, "nodePort": 30080}],
                externalTrafficPolicy="Cluster",
            ),
        ),
        (
            spec(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30001),
            spec(type="ClusterIP", externalTrafficPolicy="Local", healthCheckNodePort=30001),
        ),
    ],
)
def test_changes_of_type_need_only_the_type(
    wrong_change: Wrong, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """What the new type cannot have goes by itself; an address left out is kept."""
    assert wrong_change("svc", {"spec": old}, {"spec": new}) == []


def test_the_cluster_ip_stays(wrong_change: Wrong) -> None:
    """Pods remember it from their environment and DNS caches."""
    old, new = ({"spec": spec(clusterIP=ip)} for ip in ("10.96.0.5", "10.96.0.6"))
    assert wrong_change("svc", old, new) == [
        'spec.clusterIPs[0]: Invalid value: ["10.96.0.6"]: may not change once set'
    ]

"""Pods: containers, probes, DNS, tolerations, and what may change."""

from collections.abc import Callable
from typing import Any

import pytest

Wrong = Callable[..., list[str]]


def pod(container: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """Return a pod's spec with one container."""
    return {"containers": [{"name": "c", "image": "i:1", **(container or {})}], **fields}


GET = {"httpGet": {"port": 80}}


@pytest.mark.parametrize(
    "good",
    [
        pod(),
        pod(
            {
                "ports": [
                    {"name": "http", "containerPort": 80},
                    {"containerPort": 53, "protocol": "UDP"},
                ]
            }
        ),
        pod(
            {
                "readinessProbe": {**GET, "successThreshold": 2},
                "livenessProbe": {"exec": {"command": ["x"]}},
            }
        ),
        pod(
            {
                "env": [
                    {"name": "A", "value": "1"},
                    {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                ]
            }
        ),
        pod({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "1Gi"}}}),
        pod({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}, volumes=[{"name": "v"}]),
        pod(initContainers=[{"name": "i", "image": "i"}]),
        pod(
            initContainers=[
                {"name": "s", "image": "i", "restartPolicy": "Always", "readinessProbe": GET}
            ]
        ),
        pod(
            dnsPolicy="None", dnsConfig={"nameservers": ["10.96.0.10"], "searches": ["_a.b.", "."]}
        ),
        pod(
            tolerations=[{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}]
        ),
        pod(
            topologySpreadConstraints=[
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}
            ]
        ),
        pod(hostAliases=[{"ip": "10.0.0.1", "hostnames": ["a.b"]}]),
    ],
)
def test_right_pods(wrong: Wrong, good: dict[str, Any]) -> None:
    """What upstream takes, netpod takes."""
    assert wrong("po", spec=good) == []


C = "spec.containers[0]"
RANGE = "must be between 1 and 65535, inclusive"
CASES: list[tuple[dict[str, Any], str]] = [
    ({"containers": []}, "spec.containers: Required value"),
    (pod({"name": ""}), f"{C}.name: Required value"),
    (pod({"name": "a.b"}), f'{C}.name: Invalid value: "a.b": must not contain dots'),
    (pod({"image": ""}), f"{C}.image: Required value"),
    (
        pod({"image": " x"}),
        f'{C}.image: Invalid value: " x": must not have leading or trailing whitespace',
    ),
    (
        {"containers": [{"name": "a", "image": "i"}] * 2},
        'spec.containers[1].name: Duplicate value: "a"',
    ),
    (
        pod(initContainers=[{"name": "c", "image": "i"}]),
        'spec.initContainers[0].name: Duplicate value: "c"',
    ),
    (
        pod(initContainers=[{"name": "i", "image": "i", "readinessProbe": GET}]),
        "spec.initContainers[0].readinessProbe: Forbidden: "
        "may not be set for init containers without restartPolicy=Always",
    ),
    (pod({"ports": [{"name": "x"}]}), f"{C}.ports[0].containerPort: Required value"),
    (
        pod({"ports": [{"containerPort": 65536}]}),
        f"{C}.ports[0].containerPort: Invalid value: 65536: {RANGE}",
    ),
    (
        pod({"ports": [{"containerPort": 1, "hostPort": -1}]}),
        f"{C}.ports[0].hostPort: Invalid value: -1: {RANGE}",
    ),
    (
        pod({"ports": [{"name": "a", "containerPort": 1}, {"name": "a", "containerPort": 2}]}),
        f'{C}.ports[1].name: Duplicate value: "a"',
    ),
    (
        pod({"ports": [{"containerPort": n, "hostPort": 80} for n in (1, 2)]}),
        f'{C}.ports[1].hostPort: Duplicate value: "TCP//80"',
    ),
    (
        pod({"ports": [{"containerPort": 1, "hostPort": 2}]}, hostNetwork=True),
        f"{C}.ports[0].containerPort: Invalid value: 1: must match `hostPort` when `hostNetwork` is true",
    ),
    (pod({"env": [{"value": "x"}]}), f"{C}.env[0].name: Required value"),
    (
        pod(
            {
                "env": [
                    {
                        "name": "A",
                        "value": "x",
                        "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}},
                    }
                ]
            }
        ),
        f'{C}.env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty',
    ),
    (
        pod({"imagePullPolicy": "Maybe"}),
        f'{C}.imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"',
    ),
    (pod({"livenessProbe": {}}), f"{C}.livenessProbe: Required value: must specify a handler type"),
    (
        pod({"livenessProbe": {**GET, "tcpSocket": {"port": 1}}}),
        f"{C}.livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
    ),
    (
        pod({"livenessProbe": {**GET, "successThreshold": 2}}),
        f"{C}.livenessProbe.successThreshold: Invalid value: 2: must be 1",
    ),
    (
        pod({"readinessProbe": {**GET, "periodSeconds": -1}}),
        f"{C}.readinessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0",
    ),
    (
        pod({"readinessProbe": {"httpGet": {"port": 0}}}),
        f"{C}.readinessProbe.httpGet.port: Invalid value: 0: {RANGE}",
    ),
    (
        pod({"volumeMounts": [{"name": "v", "mountPath": "/v"}]}),
        f'{C}.volumeMounts[0].name: Not found: "v"',
    ),
    (pod(volumes=[{"name": "v"}, {"name": "v"}]), 'spec.volumes[1].name: Duplicate value: "v"'),
    (
        pod(volumes=[{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]),
        "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
    ),
    (
        pod({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}),
        f'{C}.resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1',
    ),
    (
        pod({"resources": {"requests": {"cpu": "-1"}}}),
        f'{C}.resources.requests[cpu]: Invalid value: "-1": must be greater than or equal to 0',
    ),
    (
        pod({"resources": {"requests": {"cpu": "1 core"}}}),
        f'{C}.resources.requests[cpu]: Invalid value: "1 core": quantities must match the regular expression '
        "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
    ),
    (
        pod(restartPolicy="Sometimes"),
        'spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"',
    ),
    (
        pod(dnsPolicy="None"),
        "spec.dnsConfig: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None",
    ),
    (
        pod(dnsConfig={"nameservers": ["1.1.1.1"] * 4}),
        'spec.dnsConfig.nameservers: Invalid value: ["1.1.1.1","1.1.1.1","1.1.1.1","1.1.1.1"]: '
        "must not have more than 3 nameservers",
    ),
    (
        pod(tolerations=[{"key": "a", "operator": "Near"}]),
        'spec.tolerations[0].operator: Unsupported value: "Near": supported values: "Equal", "Exists"',
    ),
    (
        pod(tolerations=[{"key": "a", "tolerationSeconds": 1, "effect": "NoSchedule"}]),
        'spec.tolerations[0].effect: Invalid value: "NoSchedule": '
        "effect must be 'NoExecute' when `tolerationSeconds` is set",
    ),
    (
        pod(activeDeadlineSeconds=-1),
        "spec.activeDeadlineSeconds: Invalid value: -1: must be between 1 and 2147483647, inclusive",
    ),
    (
        pod(activeDeadlineSeconds=0),
        "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
    ),
    (pod(hostname="a.b"), 'spec.hostname: Invalid value: "a.b": must not contain dots'),
]


@pytest.mark.parametrize(
    ("bad", "message"), CASES, ids=lambda v: v.split(": ")[0] if isinstance(v, str) else ""
)
def test_wrong_pods(wrong: Wrong, bad: dict[str, Any], message: str) -> None:
    """Each mistake is named once, alone."""
    assert wrong("po", spec=bad) == [message]


TOLERATION = {"key": "a", "operator": "Exists"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (pod(), pod({"image": "i:2"})),
        (pod(), pod(activeDeadlineSeconds=5)),
        (pod(activeDeadlineSeconds=5), pod(activeDeadlineSeconds=4)),
        (
            pod(tolerations=[TOLERATION]),
            pod(tolerations=[TOLERATION, {"key": "b", "operator": "Exists"}]),
        ),
    ],
)
def test_what_may_change_of_a_pod(
    wrong_change: Wrong, old: dict[str, Any], new: dict[str, Any]
) -> None:
    """Images, a shorter deadline, more tolerations."""
    assert wrong_change("po", {"spec": old}, {"spec": new}) == []


@pytest.mark.parametrize(
    ("old", "new", "start"),
    [
        (
            pod(),
            pod({"command": ["x"]}),
            "spec: Forbidden: pod updates may not change fields other than",
        ),
        (
            pod(nodeName="a"),
            pod(nodeName="b"),
            "spec: Forbidden: pod updates may not change fields other than",
        ),
        (
            pod(),
            {"containers": []},
            "spec.containers: Forbidden: pod updates may not add or remove containers",
        ),
        (pod({"image": "i"}), pod({"image": ""}), "spec.containers[0].image: Required value"),
        (
            pod(activeDeadlineSeconds=4),
            pod(activeDeadlineSeconds=5),
            "spec.activeDeadlineSeconds: Invalid value: 5",
        ),
        (
            pod(activeDeadlineSeconds=4),
            pod(),
            'spec.activeDeadlineSeconds: Invalid value: "null": must not update',
        ),
        (
            pod(tolerations=[TOLERATION]),
            pod(),
            "spec.tolerations: Forbidden: existing toleration can not be modified",
        ),
    ],
)
def test_what_may_not_change_of_a_pod(
    wrong_change: Wrong, old: dict[str, Any], new: dict[str, Any], start: str
) -> None:
    """A running pod is what it was created as; the message names the field, and what is wrong with it besides."""
    found = wrong_change("po", {"spec": old}, {"spec": new})
    assert any(it.startswith(start) for it in found)
    others = [it for it in found if not it.startswith(start)]
    assert all("pod updates may not change" in it or "Required value" in it for it in others)


def test_a_refused_change_names_the_field(wrong_change: Wrong) -> None:
    """So that nobody has to compare two manifests by eye."""
    found = wrong_change("po", {"spec": pod(nodeName="a")}, {"spec": pod(nodeName="b")})
    assert found[0].endswith("; changed: spec.nodeName")

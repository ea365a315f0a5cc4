"""Kinds beside the data path's: defaults, refusals in upstream's words, tables, other versions, eviction."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from netpod.api import registry
from tests.unit.apiserver.requests import signing_request
from tests.unit.apiserver.support import Api, pod

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
POD = {"containers": [{"name": "c", "image": "nginx"}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
ONCE = {"spec": {**POD, "restartPolicy": "Never"}}
SELECTOR = {"matchLabels": {"a": "b"}}
RBAC = "rbac.authorization.k8s.io"

SPECS: dict[str, dict[str, Any]] = {
    "Job": {"spec": {"template": ONCE}},
    "CronJob": {"spec": {"schedule": "@daily", "jobTemplate": {"spec": {"template": ONCE}}}},
    "DaemonSet": {"spec": {"selector": SELECTOR, "template": TEMPLATE}},
    "StatefulSet": {"spec": {"selector": SELECTOR, "template": TEMPLATE, "serviceName": "x"}},
    "ControllerRevision": {"data": {"a": 1}, "revision": 3},
    "ReplicationController": {"spec": {"template": TEMPLATE}},
    "PodTemplate": {"template": TEMPLATE},
    "PodDisruptionBudget": {"spec": {"minAvailable": 1, "selector": SELECTOR}},
    "HorizontalPodAutoscaler": {
        "spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "web"}}
    },
    "NetworkPolicy": {"spec": {"podSelector": {}, "egress": [{"ports": [{"port": 53}]}]}},
    "Role": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "ClusterRole": {"rules": [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]},
    "RoleBinding": {
        "roleRef": {"kind": "Role", "name": "x"},
        "subjects": [{"kind": "User", "name": "jane"}],
    },
    "ClusterRoleBinding": {"roleRef": {"kind": "ClusterRole", "name": "x"}},
    "StorageClass": {"provisioner": "netpod.dev/none"},
    "PersistentVolume": {
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/tmp"},
        }
    },
    "PersistentVolumeClaim": {
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}},
        }
    },
    "LimitRange": {"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}},
    "ResourceQuota": {"spec": {"hard": {"pods": "4"}}},
    "PriorityClass": {"value": 1000},
    "CSIDriver": {"spec": {"attachRequired": False}},
    "CSINode": {"spec": {"drivers": []}},
    "CSIStorageCapacity": {"storageClassName": "fast", "capacity": "1Gi"},
    "VolumeAttachment": {
        "spec": {
            "attacher": "a.example",
            "nodeName": "n",
            "source": {"persistentVolumeName": "v"},
        }
    },
    "RuntimeClass": {"handler": "crun"},
    "CertificateSigningRequest": {
        "spec": {
            "request": signing_request(),
            "signerName": "example.com/a",
            "usages": ["client auth"],
        }
    },
    "GatewayClass": {"spec": {"controllerName": "example.com/gateway"}},
    "Gateway": {
        "spec": {
            "gatewayClassName": "x",
            "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}],
        }
    },
    "HTTPRoute": {"spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}},
    "ReferenceGrant": {
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "a"}],
            "to": [{"group": "", "kind": "Secret"}],
        }
    },
}
NEW = {r.kind: r for r in registry.RESOURCES if r.kind in SPECS}


def manifest(kind: str, name: str = "x", **fields: Any) -> dict[str, Any]:
    """The smallest object of a kind."""
    return {**SPECS[kind], **fields, "metadata": {"name": name}}


def collection(kind: str) -> str:
    """Where the kind's objects of the default namespace are."""
    return NEW[kind].path("default")


def test_every_kind_makes_the_round_trip(run: Run) -> None:
    """Created, read, listed as a table, put back unchanged (same revision), deleted."""

    async def body(api: Api) -> None:
        table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        for kind in SPECS:
            path = collection(kind)
            made = await api.create(path, manifest(kind))
            assert made["kind"] == kind
            found = await api.get(f"{path}/x")
            code, put = await api("PUT", f"{path}/x", found)
            assert (code, put) == (200, found)
            code, shown = await api("GET", f"{path}/x", headers=table)
            columns = shown["columnDefinitions"]
            assert len(shown["rows"][0]["cells"]) == len(columns), kind
            assert len(columns) > 1, kind
            code, _ = await api("DELETE", f"{path}/x", {"propagationPolicy": "Background"})
            assert code == 200

    run(body)


def test_defaults_are_upstreams(run: Run) -> None:
    """A few of the defaults that controllers rely on."""

    async def body(api: Api) -> None:
        job = await api.create(collection("Job"), manifest("Job"))
        spec = job["spec"]
        assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (1, 1, 6)
        label = {"batch.kubernetes.io/controller-uid": job["metadata"]["uid"]}
        assert spec["selector"]["matchLabels"] == label
        assert spec["template"]["metadata"]["labels"]["job-name"] == "x"
        sets = await api.create(collection("DaemonSet"), manifest("DaemonSet"))
        bounds = {"maxUnavailable": 1, "maxSurge": 0}
        assert sets["spec"]["updateStrategy"]["rollingUpdate"] == bounds
        policy = await api.create(collection("NetworkPolicy"), manifest("NetworkPolicy"))
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
        assert policy["spec"]["egress"][0]["ports"] == [{"protocol": "TCP", "port": 53}]
        controller = await api.create(
            collection("ReplicationController"), manifest("ReplicationController")
        )
        assert controller["spec"]["selector"] == {"a": "b"}

    run(body)


REFUSED = [
    (
        "NetworkPolicy",
        {"spec": {"podSelector": {}, "ingress": [{"from": [{}], "ports": [{"endPort": 5}]}]}},
        [
            "spec.ingress[0].ports[0].port: Required value: must be specified when `endPort` is "
            "specified",
            "spec.ingress[0].from[0]: Required value: must specify a peer",
        ],
    ),
    (
        "NetworkPolicy",
        {
            "spec": {
                "podSelector": {},
                "egress": [{"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}}]}],
            }
        },
        [
            'spec.egress[0].to[0].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict '
            "subset of `cidr`"
        ],
    ),
    (
        "NetworkPolicy",
        {
            "spec": {
                "podSelector": {},
                "ingress": [{"from": [{"podSelector": {}, "ipBlock": {"cidr": "::/0"}}]}],
            }
        },
        ["spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer"],
    ),
    (
        "Job",
        {"spec": {"template": TEMPLATE}},
        ['spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'],
    ),
    (
        "CronJob",
        {"spec": {"schedule": "61 * * * *", "jobTemplate": {"spec": {"template": ONCE}}}},
        ['spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61'],
    ),
    (
        "PodDisruptionBudget",
        {"spec": {"minAvailable": "200%"}},
        ['spec.minAvailable: Invalid value: "200%": must not be greater than 100%'],
    ),
    (
        "Role",
        {"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]},
        [
            'rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to '
            "non-resource URLs"
        ],
    ),
    (
        "PersistentVolumeClaim",
        {"spec": {"accessModes": ["X"]}},
        [
            'spec.accessModes: Unsupported value: "X": supported values: "ReadOnlyMany", '
            '"ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"',
            "spec.resources[storage]: Required value",
        ],
    ),
]


@pytest.mark.parametrize(("kind", "fields", "said"), REFUSED)
def test_refused_in_upstreams_words(
    run: Run, kind: str, fields: dict[str, Any], said: list[str]
) -> None:
    """Field paths, reasons and details are upstream's."""

    async def body(api: Api) -> None:
        code, answer = await api("POST", collection(kind), manifest(kind, **fields))
        assert code == 422
        causes = answer["details"]["causes"]
        assert [f"{c['field']}: {c['message']}" for c in causes] == said

    run(body)


def test_what_identifies_a_workload_stays(run: Run) -> None:
    """A StatefulSet's service, a Job's template and a binding's role cannot change."""

    async def body(api: Api) -> None:
        for kind, change in (
            ("StatefulSet", {"spec": {"serviceName": "other"}}),
            ("Job", {"spec": {"template": {"spec": {"terminationGracePeriodSeconds": 1}}}}),
            ("RoleBinding", {"roleRef": {"name": "other"}}),
            ("StorageClass", {"provisioner": "netpod.dev/other"}),
        ):
            await api.create(collection(kind), manifest(kind))
            code, _ = await api("PATCH", f"{collection(kind)}/x", change)
            assert code == 422, kind

    run(body)


def test_views_show_the_same_objects(run: Run) -> None:
    """autoscaling/v1, events.k8s.io/v1 and v1beta1 kinds are other words for what is stored once."""

    async def body(api: Api) -> None:
        v1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
        scaler = manifest("HorizontalPodAutoscaler")
        scaler["spec"] = {**scaler["spec"], "targetCPUUtilizationPercentage": 50}
        made = await api.create(v1, scaler)
        assert made["apiVersion"] == "autoscaling/v1"
        assert made["spec"]["targetCPUUtilizationPercentage"] == 50
        v2 = await api.get(f"{collection('HorizontalPodAutoscaler')}/x")
        assert v2["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
        assert (await api.get(v1))["kind"] == "HorizontalPodAutoscalerList"
        event = {
            "metadata": {"name": "e"},
            "reason": "Tested",
            "note": "said",
            "regarding": {"kind": "Pod", "name": "p", "namespace": "default"},
            "reportingController": "netpod.dev/test",
            "reportingInstance": "t",
            "action": "Test",
            "type": "Normal",
            "eventTime": "2026-01-01T00:00:00.000000Z",
        }
        events = "/apis/events.k8s.io/v1/namespaces/default/events"
        async with api.watch(events) as next_event:
            await api.create(events, event)
            seen = await next_event()
            assert seen["object"]["note"] == "said"
            assert seen["object"]["apiVersion"] == "events.k8s.io/v1"
        core = await api.get("/api/v1/namespaces/default/events/e")
        assert (core["message"], core["involvedObject"]["name"]) == ("said", "p")
        ingresses = "/apis/networking.k8s.io/v1beta1/namespaces/default/ingresses"
        backend = {"serviceName": "s", "servicePort": 80}
        rule = {"http": {"paths": [{"path": "/", "backend": backend}]}}
        await api.create(ingresses, {"metadata": {"name": "i"}, "spec": {"rules": [rule]}})
        code, patched = await api("PATCH", f"{ingresses}/i", {"spec": {"backend": backend}})
        assert (code, patched["spec"]["backend"]) == (200, backend)
        stored = await api.get("/apis/networking.k8s.io/v1/namespaces/default/ingresses/i")
        service = {"name": "s", "port": {"number": 80}}
        assert stored["spec"]["defaultBackend"]["service"] == service
        assert stored["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"] == service

    run(body)


def test_an_eviction_asks_the_budget(run: Run) -> None:
    """No budget: gone. A budget of nothing: 429 with its reason. One of one: gone, and counted."""

    async def body(api: Api) -> None:
        pods = "/api/v1/namespaces/default/pods"
        budgets = collection("PodDisruptionBudget")
        eviction = {"kind": "Eviction", "apiVersion": "policy/v1"}
        running = {
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        }
        for name in ("one", "two"):
            await api.create(pods, pod(name, node="n", labels={"a": "b"}))
            await api("PATCH", f"{pods}/{name}/status", running)
        await api.create(budgets, manifest("PodDisruptionBudget"))
        wish = {**eviction, "metadata": {"name": "one"}}
        code, refused = await api("POST", f"{pods}/one/eviction", wish)
        assert (code, refused["details"]["retryAfterSeconds"]) == (429, 10)
        state = {"observedGeneration": 1, "disruptionsAllowed": 0, "desiredHealthy": 1}
        await api("PATCH", f"{budgets}/x/status", {"status": {**state, "currentHealthy": 1}})
        code, refused = await api("POST", f"{pods}/one/eviction", wish)
        cause = refused["details"]["causes"][0]
        assert (code, cause["reason"]) == (429, "DisruptionBudget")
        assert "needs 1 healthy pods and has 1 currently" in cause["message"]
        await api("PATCH", f"{budgets}/x/status", {"status": {"disruptionsAllowed": 1}})
        old = {**wish, "apiVersion": "policy/v1beta1"}
        code, done = await api("POST", f"{pods}/one/eviction", old)
        assert (code, done["status"]) == (201, "Success")
        assert (await api.get(f"{pods}/one"))["metadata"]["deletionTimestamp"]
        assert "one" in (await api.get(f"{budgets}/x"))["status"]["disruptedPods"]
        code, _ = await api(
            "POST", f"{pods}/two/eviction", {**eviction, "metadata": {"name": "two"}}
        )
        assert code == 429

    run(body)

"""/metrics/kube-state: objects as kube-state-metrics names them."""

from collections.abc import Awaitable, Callable
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from netpod.apiserver import kubestate
from netpod.apiserver.kubestate_kinds import KINDS
from tests.unit.apiserver.support import DEPLOYMENTS, PODS, Api, deployment, pod

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
PATH = "/metrics/kube-state"


def _parsed(text: bytes) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def _of(plural: str, *objects: Any) -> Samples:
    kind = next(it for it in KINDS if it.plural == plural)
    return _parsed(b"".join(_families(kind, *objects).values()))


def _families(kind: kubestate.Kind, *objects: Any) -> dict[str, bytes]:
    found = [kubestate.lines(kind, obj) for obj in objects]
    return {
        family.name: kubestate.header(family) + b"".join(lines[at] for lines in found)
        for at, family in enumerate(kind.families)
    }


def _value(samples: Samples, name: str, /, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


POD: Any = {
    "metadata": {
        "name": "web-1",
        "namespace": "shop",
        "uid": "u1",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "ownerReferences": [{"kind": "ReplicaSet", "name": "web", "controller": True}],
    },
    "spec": {
        "nodeName": "worker",
        "containers": [
            {
                "name": "c",
                "image": "nginx",
                "resources": {
                    "requests": {"cpu": "250m", "memory": "64Mi"},
                    "limits": {"example.com/gpu": "2", "hugepages-2Mi": "4Mi"},
                },
            },
            {"name": "d", "image": "busybox"},
        ],
    },
    "status": {
        "phase": "Running",
        "hostIP": "172.18.0.3",
        "podIP": "10.244.1.2",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [
            {
                "name": "c",
                "image": "docker.io/library/nginx",
                "imageID": "sha256:1",
                "containerID": "netpod://2",
                "ready": True,
                "restartCount": 3,
                "state": {"running": {"startedAt": "2026-01-01T00:00:01Z"}},
                "lastState": {"terminated": {"reason": "OOMKilled"}},
            },
            {
                "name": "d",
                "restartCount": 0,
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
            },
        ],
    },
}
ID = {"namespace": "shop", "pod": "web-1", "uid": "u1"}


def test_a_pod_has_upstreams_labels() -> None:
    """What dashboards join by: node, addresses and who made it."""
    found = _of("pods", POD)
    labels = {
        "host_ip": "172.18.0.3",
        "pod_ip": "10.244.1.2",
        "node": "worker",
        "created_by_kind": "ReplicaSet",
        "created_by_name": "web",
        "priority_class": "",
        "host_network": "false",
    }
    assert _value(found, "kube_pod_info", **ID, **labels) == 1
    owner = {"owner_kind": "ReplicaSet", "owner_name": "web", "owner_is_controller": "true"}
    assert _value(found, "kube_pod_owner", **ID, **owner) == 1
    assert _value(found, "kube_pod_created", **ID) == 1767225600
    phases = {
        word: _value(found, "kube_pod_status_phase", **ID, phase=word)
        for word in ("Pending", "Running", "Succeeded", "Failed", "Unknown")
    }
    assert [word for word, value in phases.items() if value] == ["Running"]
    assert None not in phases.values()
    ready = [
        _value(found, "kube_pod_status_ready", **ID, condition=word)
        for word in ("true", "false", "unknown")
    ]
    assert ready == [0, 1, 0]


def test_containers_tell_their_state_and_why() -> None:
    """A reason has a sample only while the container is in that state."""
    found = _of("pods", POD)
    c, d = {**ID, "container": "c"}, {**ID, "container": "d"}
    prefix = "kube_pod_container_status"
    for name, values in (
        ("ready", (1, 0)),
        ("running", (1, 0)),
        ("waiting", (0, 1)),
        ("terminated", (0, 0)),
        ("restarts_total", (3, 0)),
    ):
        assert tuple(_value(found, f"{prefix}_{name}", **it) for it in (c, d)) == values, name
    assert _value(found, f"{prefix}_waiting_reason", **d, reason="CrashLoopBackOff") == 1
    assert _value(found, f"{prefix}_last_terminated_reason", **c, reason="OOMKilled") == 1
    names = {name for name, _ in found}
    assert f"{prefix}_terminated_reason" not in names
    more = {
        "image": "docker.io/library/nginx",
        "image_id": "sha256:1",
        "image_spec": "nginx",
        "container_id": "netpod://2",
    }
    assert _value(found, "kube_pod_container_info", **c, **more) == 1


def test_amounts_have_a_unit() -> None:
    """Cores, bytes, or a number; the name fits a label."""
    found = _of("pods", POD)
    where = {**ID, "container": "c", "node": "worker"}
    for which, resource, unit, value in (
        ("requests", "cpu", "core", 0.25),
        ("requests", "memory", "byte", 64 << 20),
        ("limits", "example_com_gpu", "integer", 2),
        ("limits", "hugepages_2Mi", "byte", 4 << 20),
    ):
        name = f"kube_pod_container_resource_{which}"
        assert _value(found, name, **where, resource=resource, unit=unit) == value, resource


def test_a_node_tells_conditions_and_capacity() -> None:
    """Each condition is three samples, of which one is 1."""
    node = {
        "metadata": {"name": "n", "labels": {"node-role.kubernetes.io/control-plane": ""}},
        "spec": {"unschedulable": True, "podCIDR": "10.244.0.0/24"},
        "status": {
            "capacity": {"cpu": "2", "pods": "250"},
            "allocatable": {"memory": "1Gi"},
            "addresses": [{"type": "InternalIP", "address": "172.18.0.2"}],
            "conditions": [{"type": "Ready", "status": "Unknown"}],
            "nodeInfo": {"kubeletVersion": "v1"},
        },
    }
    found = _of("nodes", node)
    infos = [dict(labels) for name, labels in found if name == "kube_node_info"]
    assert infos[0]["internal_ip"] == "172.18.0.2"
    assert infos[0]["pod_cidr"] == "10.244.0.0/24"
    assert _value(found, "kube_node_spec_unschedulable", node="n") == 1
    assert _value(found, "kube_node_role", node="n", role="control-plane") == 1
    status = {
        word: _value(found, "kube_node_status_condition", node="n", condition="Ready", status=word)
        for word in ("true", "false", "unknown")
    }
    assert status == {"true": 0, "false": 0, "unknown": 1}
    for name, resource, unit, value in (
        ("capacity", "cpu", "core", 2),
        ("capacity", "pods", "integer", 250),
        ("allocatable", "memory", "byte", 1 << 30),
    ):
        labels = {"node": "n", "resource": resource, "unit": unit}
        assert _value(found, f"kube_node_status_{name}", **labels) == value


def test_a_job_says_why_it_failed() -> None:
    """A known reason is told as such, failed pods of a job that goes on are counted."""
    metadata = {"name": "j", "namespace": "shop"}
    where = {"namespace": "shop", "job_name": "j"}
    over = [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}]
    for status, reason, value in (
        ({}, None, 0),
        ({"failed": 2}, "", 2),
        ({"failed": 2, "conditions": over}, "DeadlineExceeded", 1),
    ):
        found = _of("jobs", {"metadata": metadata, "spec": {}, "status": status})
        labels = where if reason is None else {**where, "reason": reason}
        assert _value(found, "kube_job_status_failed", **labels) == value
        assert _value(found, "kube_job_status_active", **where) == 0


def test_services_slices_and_ingresses_tell_where_requests_go() -> None:
    """Type and address of a Service, addresses behind it, class and paths of an Ingress."""
    metadata = {"name": "x", "namespace": "shop", "uid": "u"}
    spec = {"clusterIP": "10.96.0.9", "type": "LoadBalancer", "externalTrafficPolicy": "Local"}
    status = {"loadBalancer": {"ingress": [{"ip": "172.19.0.1"}]}}
    found = _of("services", {"metadata": metadata, "spec": spec, "status": status})
    where = {"namespace": "shop", "service": "x", "uid": "u"}
    more = {"external_name": "", "load_balancer_ip": "", "external_traffic_policy": "Local"}
    assert _value(found, "kube_service_info", **where, cluster_ip="10.96.0.9", **more) == 1
    assert _value(found, "kube_service_spec_type", **where, type="LoadBalancer") == 1
    name = "kube_service_status_load_balancer_ingress"
    assert _value(found, name, **where, ip="172.19.0.1", hostname="") == 1

    endpoint = {"addresses": ["10.244.1.2"], "conditions": {"ready": True}, "nodeName": "worker"}
    slice_ = {"metadata": metadata, "addressType": "IPv4", "endpoints": [endpoint]}
    found = _of("endpointslices", slice_)
    where = {"namespace": "shop", "endpointslice": "x"}
    assert _value(found, "kube_endpointslice_info", **where, addresstype="IPv4") == 1
    more = {"address": "10.244.1.2", "ready": "true", "endpoint_nodename": "worker"}
    assert _value(found, "kube_endpointslice_endpoints", **where, **more) == 1

    backend = {"service": {"name": "web", "port": {"number": 80}}}
    rule = {"host": "a.example", "http": {"paths": [{"path": "/", "backend": backend}]}}
    found = _of("ingresses", {"metadata": metadata, "spec": {"rules": [rule]}})
    where = {"namespace": "shop", "ingress": "x"}
    assert _value(found, "kube_ingress_info", **where, ingressclass="_default") == 1
    more = {"host": "a.example", "path": "/", "path_type": "", "service_name": "web"}
    assert _value(found, "kube_ingress_path", **where, **more, service_port="80") == 1


def test_storage_policies_and_scaling_have_upstreams_names() -> None:
    """One sample of each kind that alerts read, with its labels."""
    metadata = {"name": "x", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z"}

    def one(plural: str, name: str, labels: dict[str, str], **obj: Any) -> float | None:
        kind = next(it for it in KINDS if it.plural == plural)
        base = kubestate.labelled({"metadata": metadata}, kind.labels)
        return _value(_of(plural, {"metadata": metadata, **obj}), name, **base, **labels)

    claim = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteOnce"]}
    name = "kube_persistentvolumeclaim"
    size = f"{name}_resource_requests_storage_bytes"
    assert one("persistentvolumeclaims", size, {}, spec=claim) == 1 << 30
    mode = {"access_mode": "ReadWriteOnce"}
    assert one("persistentvolumeclaims", f"{name}_access_mode", mode, spec=claim) == 1
    lost = {"phase": "Lost"}
    assert one("persistentvolumeclaims", f"{name}_status_phase", lost, status=lost) == 1
    name = "kube_persistentvolume_claim_ref"
    ref = {"claimRef": {"name": "c", "namespace": "shop"}}
    labels = {"name": "c", "claim_namespace": "shop"}
    assert one("persistentvolumes", name, labels, spec=ref) == 1
    name = "kube_horizontalpodautoscaler_spec_target_metric"
    target = {"type": "Utilization", "averageUtilization": 50}
    metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    labels = {"metric_name": "cpu", "metric_target_type": "utilization"}
    assert one("horizontalpodautoscalers", name, labels, spec={"metrics": metrics}) == 50
    name = "kube_cronjob_next_schedule_time"
    assert one("cronjobs", name, {}, spec={"schedule": "0 6 * * *"}) == 1767247200
    assert one("cronjobs", name, {}, spec={"schedule": "0 6 * * *", "suspend": True}) is None
    name = "kube_poddisruptionbudget_status_pod_disruptions_allowed"
    assert one("poddisruptionbudgets", name, {}, status={"disruptionsAllowed": 2}) == 2
    labels = {"resource": "pods", "type": "used"}
    quota = {"hard": {"pods": "9"}, "used": {"pods": "3"}}
    assert one("resourcequotas", "kube_resourcequota", labels, status=quota) == 3
    name = "kube_networkpolicy_spec_ingress_rules"
    assert one("networkpolicies", name, {}, spec={"ingress": [{}, {}]}) == 2
    name = "kube_deployment_spec_strategy_rollingupdate_max_surge"
    spec = {"replicas": 3, "strategy": {"rollingUpdate": {"maxSurge": "25%"}}}
    assert one("deployments", name, {}, spec=spec) == 1
    tls = {"tls": [{"hosts": ["a.example"], "secretName": "s"}]}
    labels = {"tls_host": "a.example", "secret": "s"}
    assert one("ingresses", "kube_ingress_tls", labels, spec=tls) == 1
    owner = {"owner_kind": "", "owner_name": "", "lease_holder": "worker"}
    assert one("leases", "kube_lease_owner", owner, spec={"holderIdentity": "worker"}) == 1


def test_init_containers_are_told_beside_the_others() -> None:
    """The same families, under a prefix of their own."""
    status = {"name": "i", "restartCount": 2, "state": {"terminated": {"reason": "Completed"}}}
    spec = {"initContainers": [{"name": "i", "resources": {"limits": {"cpu": "1"}}}]}
    found = _of("pods", {**POD, "spec": spec, "status": {"initContainerStatuses": [status]}})
    i, prefix = {**ID, "container": "i"}, "kube_pod_init_container"
    assert _value(found, f"{prefix}_status_restarts_total", **i) == 2
    assert _value(found, f"{prefix}_status_terminated_reason", **i, reason="Completed") == 1
    limit = {"node": "", "resource": "cpu", "unit": "core"}
    assert _value(found, f"{prefix}_resource_limits", **i, **limit) == 1


def test_names_with_quotes_and_lines_stay_in_their_label() -> None:
    """What an object says cannot make a sample of its own."""
    nasty = 'a"} 1\n\\kube_pod_info{'
    found = _of("pods", {**POD, "spec": {"nodeName": nasty}})
    assert [dict(labels)["node"] for name, labels in found if name == "kube_pod_info"] == [nasty]


def test_an_object_that_says_nothing_is_no_error() -> None:
    """Every family can be made of an object of which only the name is known."""
    bare = {"metadata": {"name": "x", "namespace": "shop"}}
    for kind in KINDS:
        for name, text in _families(kind, bare).items():
            assert f"# TYPE {name} " in text.decode(), name
            assert len(list(text_string_to_metric_families(text.decode()))) == 1, name


def test_a_scrape_is_of_what_is_stored(run: Run) -> None:
    """Pods, deployments and namespaces that the API server has, in one answer."""

    async def body(api: Api) -> None:
        await api.create(DEPLOYMENTS, deployment("web", replicas=3))
        await api.create(PODS, pod("p"))
        code, text = await api("GET", PATH)
        assert code == 200
        found = _parsed(text)
        where = {"namespace": "default", "deployment": "web"}
        assert _value(found, "kube_deployment_spec_replicas", **where) == 3
        assert _value(found, "kube_deployment_status_replicas_available", **where) == 0
        phase = {"namespace": "kube-system", "phase": "Active"}
        assert _value(found, "kube_namespace_status_phase", **phase) == 1
        assert any(name == "kube_pod_info" and ("pod", "p") in labels for name, labels in found)
        await api("PATCH", f"{DEPLOYMENTS}/web", {"spec": {"replicas": 5}})
        await api("DELETE", f"{PODS}/p", gracePeriodSeconds="0")
        found = _parsed((await api("GET", PATH))[1])
        assert _value(found, "kube_deployment_spec_replicas", **where) == 5
        assert not any(name == "kube_pod_info" for name, _ in found)

    run(body)


def test_a_scrape_needs_a_right(run: Run) -> None:
    """system:monitoring may; somebody whom no role allows it hears nothing of pods."""

    async def body(api: Api) -> None:
        for group, wanted in (("system:monitoring", 200), ("others", 403)):
            headers = {"Impersonate-User": "prometheus", "Impersonate-Group": group}
            for path in ("/metrics", PATH):
                code, _ = await api("GET", path, headers=headers)
                assert code == wanted, (group, path)
        assert (await api("POST", PATH, {}))[0] == 405
        assert PATH in (await api.get("/"))["paths"]

    run(body)


def test_requests_for_certificates_tell_what_became_of_them() -> None:
    """By signer: approved or denied, and how long what was signed is."""
    spec = {"signerName": "example.com/a"}
    status = {"conditions": [{"type": "Approved"}], "certificate": "c2lnbmVk"}
    told = _of(
        "certificatesigningrequests", {"metadata": {"name": "r"}, "spec": spec, "status": status}
    )
    whose = {"certificatesigningrequest": "r", "signer_name": "example.com/a"}
    name = "kube_certificatesigningrequest_condition"
    assert _value(told, name, condition="approved", **whose) == 1
    assert _value(told, name, condition="denied", **whose) == 0
    assert _value(told, "kube_certificatesigningrequest_cert_length", **whose) == 6

"""What a real kube-proxy, kube-scheduler and kube-controller-manager ask, of 1.20 and of today.

None of them is here; this replays their requests as client-go sends them with --kube-api-content-type=application/json.

Sources: cmd/kube-proxy/app/server.go; pkg/scheduler/eventhandlers.go; cmd/kube-controller-manager/app; client-go
tools/cache/reflector.go, tools/leaderelection/resourcelock.
"""

import asyncio
import dataclasses
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.apiserver.support import CONFIG, PODS, Api, pod, serving

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
JSON = {"Accept": "application/json", "Content-Type": "application/json"}
_PARTIAL = "as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PARTIAL = {"Accept": f"application/json;{_PARTIAL},application/json"}
_PROTOBUF = "application/vnd.kubernetes.protobuf"
PROTOBUF = {"Accept": f"{_PROTOBUF},application/json"}
ANY_METADATA = {
    "Accept": f"{_PROTOBUF};{_PARTIAL},application/json;{_PARTIAL},application/json,{_PROTOBUF}"
}
PROXY = (
    "/api/v1/nodes?fieldSelector=metadata.name%3Dworker",
    "/api/v1/services?labelSelector=%21service.kubernetes.io%2Fheadless%2C%21service.kubernetes.io%2Fservice-proxy-name",
    "/apis/discovery.k8s.io/v1/endpointslices?labelSelector=%21service.kubernetes.io%2Fheadless",
    "/apis/discovery.k8s.io/v1beta1/endpointslices",
    "/api/v1/endpoints?labelSelector=%21service.kubernetes.io%2Fheadless",
)
SCHEDULER = (
    "/api/v1/nodes",
    "/api/v1/pods?fieldSelector=status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed",
    "/api/v1/namespaces",
    "/api/v1/services",
    "/api/v1/persistentvolumes",
    "/api/v1/persistentvolumeclaims",
    "/api/v1/replicationcontrollers",
    "/apis/apps/v1/replicasets",
    "/apis/apps/v1/statefulsets",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/policy/v1beta1/poddisruptionbudgets",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/storage.k8s.io/v1/csinodes",
    "/apis/storage.k8s.io/v1/csidrivers",
    "/apis/storage.k8s.io/v1/csistoragecapacities",
    "/api/v1/namespaces/kube-system/configmaps?fieldSelector=metadata.name%3Dextension-apiserver-authentication",
)
CONTROLLERS = (
    "/apis/policy/v1beta1/podsecuritypolicies",
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/serviceaccounts",
    "/api/v1/limitranges",
    "/api/v1/resourcequotas",
    "/api/v1/podtemplates",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/controllerrevisions",
    "/apis/batch/v1/jobs",
    "/apis/batch/v1/cronjobs",
    "/apis/batch/v1beta1/cronjobs",
    "/apis/autoscaling/v1/horizontalpodautoscalers",
    "/apis/autoscaling/v2/horizontalpodautoscalers",
    "/apis/networking.k8s.io/v1/ingresses",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/networking.k8s.io/v1/ingressclasses",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/storage.k8s.io/v1/volumeattachments",
    "/apis/node.k8s.io/v1/runtimeclasses",
    "/apis/coordination.k8s.io/v1/leases",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    "/apis/events.k8s.io/v1/events",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
)
USERS = {it: f"system:kube-{it}" for it in ("proxy", "scheduler", "controller-manager")}
ABSENT = (
    "/apis/networking.k8s.io/v1/servicecidrs",
    "/apis/networking.k8s.io/v1/ipaddresses",
    "/apis/networking.k8s.io/v1beta1/servicecidrs",
    "/apis/resource.k8s.io/v1alpha3/deviceclasses",
    "/apis/resource.k8s.io/v1beta1/resourceslices",
    "/apis/coordination.k8s.io/v1alpha2/leasecandidates",
    "/apis/certificates.k8s.io/v1beta1/clustertrustbundles",
    "/apis/storage.k8s.io/v1beta1/volumeattributesclasses",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "/apis/admissionregistration.k8s.io/v1",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/apiregistration.k8s.io/v1/apiservices",
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "/apis/internal.apiserver.k8s.io/v1alpha1/storageversions",
    "/apis/resource.k8s.io/v1/resourceclaims",
    "/apis/storagemigration.k8s.io/v1alpha1/storageversionmigrations",
    "/apis/batch/v2alpha1/cronjobs",
)


def question(path: str, more: str) -> str:
    """A path with more parameters."""
    return f"{path}{'&' if '?' in path else '?'}{more}"


async def ask(
    api: Api, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, Any]:
    """One request, as bytes of its path are."""
    data = json.dumps(body).encode() if body is not None else None
    async with api.session.request(
        method, api.base + path, data=data, headers={**JSON, **headers}
    ) as answer:
        text = await answer.read()
        return answer.status, json.loads(text) if answer.content_type == JSON["Accept"] else text


async def lines(api: Api, path: str, headers: dict[str, str]) -> list[Any]:
    """All events of a watch that ends by itself."""
    async with api.session.get(api.base + path, headers=headers) as answer:
        assert answer.status == 200, await answer.text()
        return [json.loads(line) for line in (await answer.text()).splitlines()]


@pytest.mark.parametrize(
    ("component", "paths"),
    [("proxy", PROXY), ("scheduler", SCHEDULER), ("controller-manager", CONTROLLERS)],
)
@pytest.mark.parametrize(
    "accept",
    [JSON, PARTIAL, PROTOBUF, ANY_METADATA],
    ids=["objects", "metadata", "protobuf", "protobuf-metadata"],
)
def test_reflectors_list_and_watch(
    run: Run, component: str, paths: tuple[str, ...], accept: dict[str, str]
) -> None:
    """List in pages from the cache, then watch with bookmarks; or both in one, as since 1.35. As the component's user.

    Whoever would rather have protobuf gets JSON, and is told so.
    """
    headers = {**accept, "Impersonate-User": USERS[component]}

    async def body(api: Api) -> None:
        for path in paths:
            listed = question(path, "limit=500&resourceVersion=0")
            async with api.session.get(api.base + listed, headers=headers) as answer:
                assert answer.status == 200, (path, await answer.text())
                assert answer.content_type == "application/json"
                found = await answer.json()
            version = found["metadata"]["resourceVersion"]
            assert int(version) > 0
            watched = (
                f"allowWatchBookmarks=true&resourceVersion={version}&timeout=7m1s"
                "&timeoutSeconds=1&watch=true"
            )
            if path == paths[0]:
                events = await lines(api, question(path, watched), headers)
                assert events[-1]["type"] == "BOOKMARK"
                if accept in (PARTIAL, ANY_METADATA):
                    # A metadata client knows no other kind, and ends its watch at one.
                    kinds = {event["object"]["kind"] for event in events}
                    assert kinds == {"PartialObjectMetadata"}
                both = (
                    "allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan&sendInitialEvents=true"
                    "&timeout=7m1s&timeoutSeconds=1&watch=true"
                )
                events = await lines(api, question(path, both), headers)
                marks = [e for e in events if "annotations" in e["object"]["metadata"]]
                ends = [e for e in marks if e["type"] == "BOOKMARK"]
                assert ends[0]["object"]["metadata"]["annotations"] == {
                    "k8s.io/initial-events-end": "true"
                }

    run(body)


def test_what_is_absent_is_not_found(run: Run) -> None:
    """Optional groups that nobody serves are 404, which components take for an answer."""

    async def body(api: Api) -> None:
        for path in ABSENT:
            code, _ = await ask(api, "GET", path)
            assert code == 404, path

    run(body)


@pytest.mark.parametrize("component", ["kube-scheduler", "kube-controller-manager"])
def test_leaders_are_elected(run: Run, component: str) -> None:
    """By a Lease, and as 1.20 did it by an annotation of an Endpoints too: found missing, made, renewed, lost."""

    user = {"Impersonate-User": f"system:{component}"}

    async def body(api: Api) -> None:
        now = "2026-01-01T00:00:00.000000Z"
        spec = {
            "holderIdentity": "a_1",
            "leaseDurationSeconds": 15,
            "acquireTime": now,
            "renewTime": now,
            "leaseTransitions": 0,
        }
        lease = {
            "kind": "Lease",
            "apiVersion": "coordination.k8s.io/v1",
            "metadata": {"name": component, "namespace": "kube-system"},
            "spec": spec,
        }
        record = {"control-plane.alpha.kubernetes.io/leader": json.dumps(spec)}
        endpoints = {
            "kind": "Endpoints",
            "apiVersion": "v1",
            "metadata": {
                "name": component,
                "namespace": "kube-system",
                "annotations": record,
                "creationTimestamp": None,
            },
        }
        for path, obj in (
            ("/apis/coordination.k8s.io/v1/namespaces/kube-system/leases", lease),
            ("/api/v1/namespaces/kube-system/endpoints", endpoints),
        ):
            assert (await ask(api, "GET", f"{path}/{component}?timeout=5s", **user))[0] == 404
            code, made = await ask(api, "POST", path, obj, **user)
            assert code == 201
            code, renewed = await ask(api, "PUT", f"{path}/{component}?timeout=5s", made, **user)
            assert code == 200
            renewed["metadata"]["labels"] = {"held": "by-another"}
            assert (await ask(api, "PUT", f"{path}/{component}", renewed, **user))[0] == 200
            made["metadata"]["labels"] = {"held": "too-late"}
            made["metadata"]["resourceVersion"] = "2"
            code, told = await ask(api, "PUT", f"{path}/{component}", made, **user)
            assert (code, told["reason"]) == (409, "Conflict")

    run(body)


def test_the_scheduler_binds_and_tells(run: Run) -> None:
    """Binding, a patch of the pod's status, and events in both groups, of which one is a view of the other."""

    async def body(api: Api) -> None:
        made = await api.create(PODS, pod("p"))
        status = {
            "status": {
                "conditions": [
                    {"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}
                ]
            }
        }
        user = {"Impersonate-User": "system:kube-scheduler"}
        strategic = {"Content-Type": "application/strategic-merge-patch+json", **user}
        code, found = await ask(api, "PATCH", f"{PODS}/p/status", status, **strategic)
        assert code == 200, found
        binding = {
            "kind": "Binding",
            "apiVersion": "v1",
            "metadata": {"name": "p", "namespace": "default", "uid": made["metadata"]["uid"]},
            "target": {"kind": "Node", "name": "worker"},
        }
        assert (await ask(api, "POST", f"{PODS}/p/binding", binding, **user))[0] == 201
        about = {"kind": "Pod", "namespace": "default", "name": "p", "apiVersion": "v1"}
        new = {
            "kind": "Event",
            "apiVersion": "events.k8s.io/v1",
            "metadata": {"name": "p.1", "namespace": "default", "creationTimestamp": None},
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "reportingController": "default-scheduler",
            "reportingInstance": "default-scheduler-a",
            "action": "Binding",
            "reason": "Scheduled",
            "regarding": about,
            "note": "Successfully assigned default/p to worker",
            "type": "Normal",
        }
        path = "/apis/events.k8s.io/v1/namespaces/default/events"
        code, found = await ask(api, "POST", path, new, **user)
        assert code == 201, found
        series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:01:00.000000Z"}}
        code, found = await ask(api, "PATCH", f"{path}/p.1", series, **strategic)
        assert (code, found["series"]["count"]) == (200, 2)
        old = {
            "metadata": {"name": "p.2", "namespace": "default"},
            "involvedObject": about,
            "reason": "FailedScheduling",
            "message": "0/1 nodes are available",
            "source": {"component": "default-scheduler"},
            "firstTimestamp": "2026-01-01T00:00:00Z",
            "lastTimestamp": "2026-01-01T00:00:00Z",
            "count": 1,
            "type": "Warning",
        }
        assert (await ask(api, "POST", "/api/v1/namespaces/default/events", old, **user))[0] == 201
        names = {e["metadata"]["name"] for e in (await api.get(path))["items"]}
        assert {"p.1", "p.2"} <= names

    run(body)


def test_components_ask_who_asks_them(run: Run) -> None:
    """Delegated authentication and authorization: TokenReview and SubjectAccessReview, answered, never stored."""

    async def body(api: Api) -> None:
        path = "/api/v1/namespaces/kube-system/serviceaccounts/default/token"
        request = {"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}}
        code, made = await ask(api, "POST", path, request)
        assert code == 201
        review = {
            "kind": "TokenReview",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"creationTimestamp": None},
            "spec": {"token": made["status"]["token"]},
            "status": {"user": {}},
        }
        code, found = await ask(api, "POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
        assert code == 201
        user = found["status"]["user"]
        assert found["status"]["authenticated"] is True
        assert user["username"] == "system:serviceaccount:kube-system:default"
        for who, allowed in (("system:kube-scheduler", True), ("nobody", False)):
            access = {
                "kind": "SubjectAccessReview",
                "apiVersion": "authorization.k8s.io/v1",
                "metadata": {"creationTimestamp": None},
                "spec": {
                    "user": who,
                    "resourceAttributes": {"verb": "list", "resource": "pods"},
                },
                "status": {"allowed": False},
            }
            where = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
            code, found = await ask(api, "POST", where, access)
            assert (code, found["status"]["allowed"]) == (201, allowed)

    run(body)


async def _published(folder: Path) -> Any:
    (folder / "pki").mkdir()
    (folder / "pki" / "ca.crt").write_text("the authority")
    (folder / "pki" / "front-proxy-ca.crt").write_text("the front proxy's")
    config = dataclasses.replace(CONFIG, pki=folder / "pki")
    async with serving(folder, config) as api:
        path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication"
        return await api.get(path)


def test_who_signs_clients_is_published(tmp_path: Path) -> None:
    """A component that is asked by clients with certificates knows whom to believe."""
    found = asyncio.run(_published(tmp_path))
    assert found["data"]["client-ca-file"] == "the authority"
    # Without it a controller manager says in its log, for ever, that it is missing.
    assert found["data"]["requestheader-client-ca-file"] == "the front proxy's"
    assert found["data"]["requestheader-allowed-names"] == '["front-proxy-client"]'


def test_slices_of_1_20_say_where_endpoints_are(run: Run) -> None:
    """Its controllers name node and zone by topology, its proxies read them there; today's have fields for them."""
    slices = "/apis/discovery.k8s.io/{}/namespaces/default/endpointslices"
    old, new = slices.format("v1beta1"), slices.format("v1")

    async def body(api: Api) -> None:
        topology = {
            "kubernetes.io/hostname": "worker",
            "topology.kubernetes.io/zone": "east",
            "topology.kubernetes.io/region": "north",
        }
        written = {
            "metadata": {"name": "a-1", "labels": {"kubernetes.io/service-name": "a"}},
            "addressType": "IPv4",
            "ports": [{"port": 80}],
            "endpoints": [{"addresses": ["10.244.1.2"], "topology": topology}],
        }
        made = await api.create(old, written)
        assert made["endpoints"][0]["topology"] == topology
        found = (await api.get(f"{new}/a-1"))["endpoints"][0]
        assert (found["nodeName"], found["zone"]) == ("worker", "east")
        assert found["deprecatedTopology"] == {"topology.kubernetes.io/region": "north"}
        written["metadata"]["name"] = "a-2"  # type: ignore[index]
        written["endpoints"] = [
            {"addresses": ["10.244.1.3"], "nodeName": "worker2", "zone": "west"}
        ]
        await api.create(new, written)
        shown = (await api.get(f"{old}/a-2"))["endpoints"][0]
        assert shown["nodeName"] == "worker2"
        assert shown["topology"] == {
            "kubernetes.io/hostname": "worker2",
            "topology.kubernetes.io/zone": "west",
        }
        assert "zone" not in shown
        # Read and written again, nothing is lost.
        await api("PUT", f"{old}/a-2", await api.get(f"{old}/a-2"))
        again = (await api.get(f"{new}/a-2"))["endpoints"][0]
        assert (again["nodeName"], again["zone"]) == ("worker2", "west")
        assert "deprecatedTopology" not in again

    run(body)

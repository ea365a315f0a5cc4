"""Deletion: at once, gracefully, by the last finalizer, of collections and namespaces."""

from collections.abc import Awaitable, Callable

from tests.unit.apiserver.support import (
    CONFIGMAPS,
    DEPLOYMENTS,
    PODS,
    Api,
    configmap,
    deployment,
    pod,
)

Run = Callable[[Callable[[Api], Awaitable[None]]], None]


def test_an_object_without_ties_goes_at_once(run: Run) -> None:
    """DELETE answers with a Status that names what went; again it is 404."""

    async def body(api: Api) -> None:
        made = await api.create(CONFIGMAPS, configmap("a"))
        code, status = await api("DELETE", f"{CONFIGMAPS}/a")
        assert (code, status["status"]) == (200, "Success")
        uid = made["metadata"]["uid"]
        assert status["details"] == {"name": "a", "kind": "configmaps", "uid": uid}
        code, _ = await api("DELETE", f"{CONFIGMAPS}/a")
        assert code == 404

    run(body)


def test_a_pod_on_a_node_gets_its_grace_period(run: Run) -> None:
    """The kubelet's second deletion, with grace 0, removes it; a longer grace changes nothing."""

    async def body(api: Api) -> None:
        path = f"{PODS}/p"
        await api.create(PODS, pod(node="worker"))
        code, marked = await api("DELETE", path)
        assert (code, marked["metadata"]["deletionGracePeriodSeconds"]) == (200, 30)
        assert marked["metadata"]["deletionTimestamp"]
        _, again = await api("DELETE", path, {"gracePeriodSeconds": 60})
        assert again == marked
        _, shorter = await api("DELETE", path, {"gracePeriodSeconds": 5})
        assert shorter["metadata"]["deletionGracePeriodSeconds"] == 5
        code, _ = await api("DELETE", path, gracePeriodSeconds="0")
        assert code == 200
        assert (await api("GET", path))[0] == 404

    run(body)


def test_a_pod_without_a_node_goes_at_once(run: Run) -> None:
    """Nobody would answer for an unscheduled pod, nor for one that has ended."""

    async def body(api: Api) -> None:
        await api.create(PODS, pod("a"))
        await api.create(PODS, pod("b", node="worker"))
        await api("PATCH", f"{PODS}/b/status", {"status": {"phase": "Succeeded"}})
        for name in "ab":
            await api("DELETE", f"{PODS}/{name}")
            assert (await api("GET", f"{PODS}/{name}"))[0] == 404

    run(body)


def test_the_last_finalizer_lets_an_object_go(run: Run) -> None:
    """With finalizers an object is only marked; the update without them removes it; none may be added."""

    async def body(api: Api) -> None:
        path = f"{CONFIGMAPS}/a"
        manifest = configmap("a")
        manifest["metadata"]["finalizers"] = ["example.com/x", "example.com/y"]
        await api.create(CONFIGMAPS, manifest)
        code, marked = await api("DELETE", path)
        assert (code, bool(marked["metadata"]["deletionTimestamp"])) == (200, True)
        _, again = await api("DELETE", path)
        assert again == marked
        _, less = await api("PATCH", path, {"metadata": {"finalizers": ["example.com/y"]}})
        assert less["metadata"]["finalizers"] == ["example.com/y"]
        more = {"metadata": {"finalizers": ["example.com/y", "example.com/z"]}}
        code, _ = await api("PATCH", path, more)
        assert code == 422
        code, _ = await api("PATCH", path, {"metadata": {"finalizers": None}})
        assert code == 200
        assert (await api("GET", path))[0] == 404

    run(body)


def test_propagation_policies_leave_work_to_the_garbage_collector(run: Run) -> None:
    """Foreground and Orphan add their finalizer, Background deletes at once; others are 422."""

    async def body(api: Api) -> None:
        for policy, finalizer in (("Foreground", "foregroundDeletion"), ("Orphan", "orphan")):
            await api.create(DEPLOYMENTS, deployment(policy.lower()))
            path = f"{DEPLOYMENTS}/{policy.lower()}"
            _, marked = await api("DELETE", path, {"propagationPolicy": policy})
            assert marked["metadata"]["finalizers"] == [finalizer]
            await api("PATCH", path, {"metadata": {"finalizers": []}})
            assert (await api("GET", path))[0] == 404
        await api.create(DEPLOYMENTS, deployment())
        code, _ = await api("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Sideways"})
        assert code == 422
        await api("DELETE", f"{DEPLOYMENTS}/web", {"propagationPolicy": "Background"})
        assert (await api("GET", f"{DEPLOYMENTS}/web"))[0] == 404

    run(body)


def test_preconditions_protect_a_successor(run: Run) -> None:
    """A deletion meant for another uid or version is a conflict."""

    async def body(api: Api) -> None:
        made = await api.create(CONFIGMAPS, configmap("a"))
        for wrong in ({"uid": "another"}, {"resourceVersion": "1"}):
            code, status = await api("DELETE", f"{CONFIGMAPS}/a", {"preconditions": wrong})
            assert (code, status["reason"]) == (409, "Conflict")
        right = {"uid": made["metadata"]["uid"]}
        code, _ = await api("DELETE", f"{CONFIGMAPS}/a", {"preconditions": right})
        assert code == 200

    run(body)


def test_a_collection_is_deleted_by_selector(run: Run) -> None:
    """DELETE on a collection takes what the selector chooses, in that namespace."""

    async def body(api: Api) -> None:
        for name in "abc":
            manifest = configmap(name)
            manifest["metadata"]["labels"] = {"half": str(name < "c")}
            await api.create(CONFIGMAPS, manifest)
        code, found = await api("DELETE", CONFIGMAPS, labelSelector="half=True")
        assert (code, len(found["items"])) == (200, 2)
        names = [item["metadata"]["name"] for item in (await api.get(CONFIGMAPS))["items"]]
        assert names == ["c"]

    run(body)


def test_a_namespace_goes_when_its_finalizers_are_gone(run: Run) -> None:
    """Terminating refuses new content; /finalize with an empty list removes the namespace."""

    async def body(api: Api) -> None:
        path = "/api/v1/namespaces/x"
        made = await api.create("/api/v1/namespaces", {"metadata": {"name": "x"}})
        assert made["spec"]["finalizers"] == ["kubernetes"]
        assert made["status"]["phase"] == "Active"
        assert made["metadata"]["labels"] == {"kubernetes.io/metadata.name": "x"}
        _, marked = await api("DELETE", path)
        assert marked["status"]["phase"] == "Terminating"
        code, status = await api("POST", f"{path}/configmaps", configmap("late"))
        assert code == 403
        assert "because it is being terminated" in status["message"]
        assert status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        marked["spec"] = {}
        code, _ = await api("PUT", f"{path}/finalize", marked)
        assert code == 200
        assert (await api("GET", path))[0] == 404
        code, status = await api("POST", f"{path}/configmaps", configmap("later"))
        assert (code, status["message"]) == (404, 'namespaces "x" not found')
        code, _ = await api("DELETE", "/api/v1/namespaces/default")
        assert code == 403

    run(body)


def test_a_pod_is_bound_once(run: Run) -> None:
    """The binding sets nodeName and PodScheduled; a second one, or one for another uid, is a conflict."""

    async def body(api: Api) -> None:
        made = await api.create(PODS, pod())
        path = f"{PODS}/p/binding"
        target = {"apiVersion": "v1", "kind": "Node", "name": "worker"}
        wrong = {"metadata": {"name": "p", "uid": "another"}, "target": target}
        assert (await api("POST", path, wrong))[0] == 409
        right = {"metadata": {"name": "p", "uid": made["metadata"]["uid"]}, "target": target}
        code, status = await api("POST", path, right)
        assert (code, status["status"]) == (201, "Success")
        found = await api.get(f"{PODS}/p")
        assert found["spec"]["nodeName"] == "worker"
        conditions = {c["type"]: c["status"] for c in found["status"]["conditions"]}
        assert conditions["PodScheduled"] == "True"
        code, status = await api("POST", path, right)
        assert code == 409
        assert 'pod p is already assigned to node "worker"' in status["message"]

    run(body)

"""Kinds that clients only read: component statuses, and the PodSecurityPolicies that old kubectl asks for."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.unit.apiserver.support import CONFIG, Api, serving

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
COMPONENTS = "/api/v1/componentstatuses"
POLICIES = "/apis/policy/v1beta1/podsecuritypolicies"
TABLE = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}


def _with(folder: Path, running: dict[str, bool], body: Callable[[Api], Awaitable[None]]) -> None:
    async def served() -> None:
        config = dataclasses.replace(CONFIG, running=lambda: running)
        async with asyncio.timeout(20), serving(folder, config) as api:
            await body(api)

    asyncio.run(served())


def test_components_are_healthy_while_they_run(tmp_path: Path) -> None:
    """`kubectl get cs` shows scheduler, controller-manager and store; one that ended is Unhealthy at once."""
    running = {"scheduler": True, "controller-manager": True}

    async def body(api: Api) -> None:
        _, table = await api("GET", COMPONENTS, headers=TABLE)
        assert [c["name"] for c in table["columnDefinitions"]] == [
            "Name",
            "Status",
            "Message",
            "Error",
        ]
        assert [row["cells"] for row in table["rows"]] == [
            ["controller-manager", "Healthy", "ok", ""],
            ["scheduler", "Healthy", "ok", ""],
            ["etcd-0", "Healthy", "ok", ""],
        ]
        running["scheduler"] = False
        found = await api.get(f"{COMPONENTS}/scheduler")
        assert (found["kind"], found["apiVersion"]) == ("ComponentStatus", "v1")
        assert found["conditions"] == [
            {
                "type": "Healthy",
                "status": "False",
                "message": "does not run",
                "error": "does not run",
            }
        ]
        # Somebody else's is not ours to judge.
        del running["scheduler"]
        listed = (await api.get(COMPONENTS))["items"]
        assert [it["metadata"]["name"] for it in listed] == ["controller-manager", "etcd-0"]

    _with(tmp_path, running, body)


def test_component_statuses_can_be_chosen(run: Run) -> None:
    """By name and by a field selector; an unknown one is not found, and clients hear that the kind is deprecated."""

    async def body(api: Api) -> None:
        found = await api.get(COMPONENTS, fieldSelector="metadata.name=etcd-0")
        assert found["kind"] == "ComponentStatusList"
        assert [item["metadata"]["name"] for item in found["items"]] == ["etcd-0"]
        assert (await api.get(COMPONENTS, labelSelector="app=web"))["items"] == []
        code, answer = await api("GET", f"{COMPONENTS}/nobody")
        assert (code, answer["message"]) == (404, 'componentstatuses "nobody" not found')
        async with api.session.get(api.base + COMPONENTS) as said:
            assert "v1 ComponentStatus is deprecated in v1.19+" in said.headers["Warning"]

    run(body)


def test_the_list_of_pod_security_policies_is_empty(run: Run) -> None:
    """Who lists or watches them learns that there are none; the group prefers v1."""

    async def body(api: Api) -> None:
        found = await api.get(POLICIES)
        assert (found["kind"], found["items"]) == ("PodSecurityPolicyList", [])
        code, answer = await api("GET", f"{POLICIES}/restricted")
        assert (code, answer["message"]) == (
            404,
            'podsecuritypolicies.policy "restricted" not found',
        )
        at = found["metadata"]["resourceVersion"]
        query = {"watch": "true", "resourceVersion": at, "timeoutSeconds": "1"}
        async with api.session.get(api.base + POLICIES, params=query) as watched:
            assert (watched.status, await watched.text()) == (200, "")
        group = await api.get("/apis/policy")
        assert group["preferredVersion"]["version"] == "v1"
        served = (await api.get("/apis/policy/v1beta1"))["resources"]
        entry = next(it for it in served if it["name"] == "podsecuritypolicies")
        assert (entry["shortNames"], entry["verbs"]) == (["psp"], ["get", "list", "watch"])

    run(body)


@pytest.mark.parametrize("path", [COMPONENTS, POLICIES])
@pytest.mark.parametrize("method", ["POST", "DELETE"])
def test_they_are_never_written(run: Run, path: str, method: str) -> None:
    """Nobody makes a PodSecurityPolicy that would then protect nothing."""

    async def body(api: Api) -> None:
        sent = {"metadata": {"name": "x"}} if method == "POST" else None
        code, answer = await api(method, path, sent)
        assert (code, answer["reason"]) == (405, "MethodNotAllowed")

    run(body)

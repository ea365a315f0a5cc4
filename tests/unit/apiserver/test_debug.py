"""Ephemeral containers: the subresource by which `kubectl debug` adds a container to a running pod."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.unit.apiserver.support import PODS, Api, pod

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
STRATEGIC = {"Content-Type": "application/strategic-merge-patch+json"}
DEBUG = f"{PODS}/p/ephemeralcontainers"


def added(**container: Any) -> dict[str, Any]:
    """A patch that adds one container."""
    return {
        "spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox", **container}]}
    }


def test_a_container_is_added(run: Run) -> None:
    """As `kubectl debug` does it: a strategic merge patch, then the pod shows it, defaulted."""

    async def body(api: Api) -> None:
        made = await api.create(PODS, pod("p"))
        patch = added(targetContainerName="c", stdin=True, tty=True)
        code, found = await api("PATCH", DEBUG, patch, headers=STRATEGIC)
        assert code == 200, found
        (container,) = found["spec"]["ephemeralContainers"]
        assert container == {
            "name": "debugger",
            "image": "busybox",
            "targetContainerName": "c",
            "stdin": True,
            "tty": True,
            "resources": {},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "imagePullPolicy": "Always",
        }
        assert found["metadata"]["generation"] == made["metadata"]["generation"] + 1
        assert await api.get(DEBUG) == await api.get(f"{PODS}/p")
        second = added(name="second")
        code, found = await api("PATCH", DEBUG, second, headers=STRATEGIC)
        names = [it["name"] for it in found["spec"]["ephemeralContainers"]]
        assert sorted(names) == ["debugger", "second"]
        # A PUT says the same; nothing else of the pod goes through this door.
        found["spec"]["containers"][0]["image"] = "other"
        code, put = await api("PUT", DEBUG, found)
        assert (code, put["spec"]["containers"][0]["image"]) == (200, "nginx")

    run(body)


@pytest.mark.parametrize(
    ("container", "words"),
    [
        ({"name": "c"}, 'spec.ephemeralContainers[0].name: Duplicate value: "c"'),
        ({"image": ""}, "spec.ephemeralContainers[0].image: Required value"),
        (
            {"targetContainerName": "x"},
            'spec.ephemeralContainers[0].targetContainerName: Not found: "x"',
        ),
        (
            {"ports": [{"containerPort": 80}]},
            "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
        ),
        (
            {"livenessProbe": {"tcpSocket": {"port": 80}}},
            "spec.ephemeralContainers[0].livenessProbe: Forbidden: "
            "cannot be set for an Ephemeral Container",
        ),
    ],
)
def test_what_it_may_not_be(run: Run, container: dict[str, Any], words: str) -> None:
    """It shares nothing that a pod is relied on for."""

    async def body(api: Api) -> None:
        await api.create(PODS, pod("p"))
        code, told = await api("PATCH", DEBUG, added(**container), headers=STRATEGIC)
        assert (code, words in told["message"]) == (422, True), told

    run(body)


def test_it_stays_as_it_is(run: Run) -> None:
    """What was added neither changes nor goes, and only this subresource adds."""

    async def body(api: Api) -> None:
        await api.create(PODS, pod("p"))
        await api("PATCH", DEBUG, added(), headers=STRATEGIC)
        found = await api.get(DEBUG)
        changed = {**found, "spec": {**found["spec"], **added(image="x")["spec"]}}
        code, told = await api("PUT", DEBUG, changed)
        assert 'existing ephemeral containers "debugger" may not be changed' in told["message"]
        changed = {**found, "spec": {**found["spec"], "ephemeralContainers": []}}
        code, told = await api("PUT", DEBUG, changed)
        assert 'existing ephemeral containers "debugger" may not be removed' in told["message"]
        code, told = await api("PUT", f"{PODS}/p", changed)
        assert code == 422
        new = pod("q")
        new["spec"] |= added()["spec"]
        code, told = await api("POST", PODS, new)
        assert "spec.ephemeralContainers: Forbidden: cannot be set on create" in told["message"]

    run(body)


OLD = {"User-Agent": "kubectl/v1.20.2 (linux/amd64) kubernetes/faecb19"}


def test_kubectl_up_to_1_21_speaks_its_own_kind(run: Run) -> None:
    """It reads EphemeralContainers, adds one to the list, and writes the list back."""

    async def body(api: Api) -> None:
        await api.create(PODS, pod("p"))
        names: list[str] = []
        for name in ("first", "second"):
            code, found = await api("GET", DEBUG, headers=OLD)
            assert (code, found["kind"], found["metadata"]["name"]) == (
                200,
                "EphemeralContainers",
                "p",
            )
            assert [it["name"] for it in found["ephemeralContainers"]] == names
            names.append(name)
            found["ephemeralContainers"].append({"name": name, "image": "busybox"})
            code, found = await api("PUT", DEBUG, found, headers=OLD)
            assert (code, found["kind"]) == (200, "EphemeralContainers"), found
        assert (await api.get(DEBUG))["kind"] == "Pod"

    run(body)

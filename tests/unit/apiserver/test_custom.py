"""Kinds of CustomResourceDefinitions: at once there, pruned, defaulted, checked, scaled, printed, and gone."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

from tests.unit.apiserver.support import Api

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
THINGS = "/apis/x.dev/v1/namespaces/default/things"

SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["spec"],
    "properties": {
        "spec": {
            "type": "object",
            "required": ["size"],
            "properties": {
                "size": {"type": "integer", "minimum": 1},
                "color": {"type": "string", "enum": ["red", "green"], "default": "red"},
                "tags": {"type": "object", "additionalProperties": {"type": "string"}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        },
        "status": {"type": "object", "properties": {"size": {"type": "integer"}}},
    },
}


def definition(**changes: Any) -> dict[str, Any]:
    """things.x.dev, versions v1 (stored) and v2."""
    version = {
        "served": True,
        "schema": {"openAPIV3Schema": SCHEMA},
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.size", "statusReplicasPath": ".status.size"},
        },
        "additionalPrinterColumns": [
            {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
    }
    return {
        "metadata": {"name": "things.x.dev"},
        "spec": {
            "group": "x.dev",
            "names": {"plural": "things", "kind": "Thing", "shortNames": ["th"]},
            "scope": "Namespaced",
            "versions": [
                {**version, "name": "v1", "storage": True},
                {**version, "name": "v2", "storage": False},
            ],
            **changes,
        },
    }


def thing(name: str = "a", **spec: Any) -> dict[str, Any]:
    """A Thing."""
    return {
        "apiVersion": "x.dev/v1",
        "kind": "Thing",
        "metadata": {"name": name},
        "spec": {"size": 2, **spec},
    }


def test_a_definition_is_served_at_once(run: Run) -> None:
    """The next request after the definition's finds the kind: in discovery, by create, list and watch."""

    async def body(api: Api) -> None:
        made = await api.create(CRDS, definition())
        conditions = {c["type"]: c["status"] for c in made["status"]["conditions"]}
        assert conditions == {"NamesAccepted": "True", "Established": "True"}
        assert made["spec"]["names"]["listKind"] == "ThingList"
        found = await api.get("/apis/x.dev/v1")
        names = [r["name"] for r in found["resources"]]
        assert names == ["things", "things/scale", "things/status"]
        async with api.watch(THINGS) as event:
            created = await api.create(THINGS, thing())
            seen = await event()
            assert (seen["type"], seen["object"]) == ("ADDED", created)
        assert (await api.get(THINGS))["kind"] == "ThingList"
        v2 = await api.get("/apis/x.dev/v2/namespaces/default/things/a")
        assert (v2["apiVersion"], v2["spec"]) == ("x.dev/v2", created["spec"])

    run(body)


def test_objects_get_later_defaults_when_they_are_read(run: Run) -> None:
    """A default that came after the object shows in get and list; what was stored stays."""

    async def body(api: Api) -> None:
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        }
        made = definition()
        for version in made["spec"]["versions"]:
            version["schema"] = {"openAPIV3Schema": schema}
        await api.create(CRDS, made)
        await api.create(THINGS, {"metadata": {"name": "t"}, "b": "own"})
        assert "a" not in await api.get(f"{THINGS}/t")
        schema["properties"]["a"]["default"] = schema["properties"]["b"]["default"] = "later"
        patch = {"spec": {"versions": made["spec"]["versions"]}}
        headers = {"Content-Type": "application/merge-patch+json"}
        code, answer = await api("PATCH", f"{CRDS}/things.x.dev", patch, headers=headers)
        assert code == 200, answer
        for path in (THINGS, THINGS.replace("v1", "v2")):
            found = await api.get(f"{path}/t")
            (listed,) = (await api.get(path))["items"]
            assert found == listed
            assert (found["a"], found["b"]) == ("later", "own")

    run(body)


def test_objects_are_pruned_defaulted_and_checked(run: Run) -> None:
    """Unknown fields go, defaults come, and what does not fit is refused with its path."""

    async def body(api: Api) -> None:
        await api.create(CRDS, definition())
        made = await api.create(THINGS, thing(nonsense=1, free={"x": [1]}, tags={"a": "b"}))
        assert made["spec"] == {"size": 2, "color": "red", "free": {"x": [1]}, "tags": {"a": "b"}}
        strict = {"fieldValidation": "Strict"}
        code, told = await api("POST", THINGS, thing("s", nonsense=1), **strict)
        assert (code, 'unknown field "spec.nonsense"' in told["message"]) == (400, True)
        for spec, said in (
            ({"size": 0}, "spec.size in body should be greater than or equal to 1"),
            ({"size": "x"}, 'spec.size in body must be of type integer: "string"'),
            ({"color": "blue"}, 'supported values: "red", "green"'),
        ):
            code, refused = await api("POST", THINGS, thing("bad", **spec))
            assert code == 422
            assert said in refused["message"]
        wrong = {**thing("bad"), "spec": {}}
        code, refused = await api("POST", THINGS, wrong)
        assert refused["details"]["causes"][0]["field"] == "spec.size"

    run(body)


def test_status_and_scale_are_apart(run: Run) -> None:
    """Status changes only through its subresource, generation counts specs, scale sets what it names."""

    async def body(api: Api) -> None:
        await api.create(CRDS, definition())
        made = await api.create(THINGS, {**thing(), "status": {"size": 7}})
        assert "status" not in made
        assert made["metadata"]["generation"] == 1
        path = f"{THINGS}/a"
        _, changed = await api("PATCH", f"{path}/status", {"status": {"size": 1}})
        assert changed["status"] == {"size": 1}
        assert changed["metadata"]["generation"] == 1
        _, changed = await api("PATCH", path, {"spec": {"size": 3}, "status": {"size": 9}})
        assert (changed["status"], changed["metadata"]["generation"]) == ({"size": 1}, 2)
        scale = await api.get(f"{path}/scale")
        assert (scale["spec"]["replicas"], scale["status"]["replicas"]) == (3, 1)
        code, scale = await api("PATCH", f"{path}/scale", {"spec": {"replicas": 5}})
        assert (code, scale["spec"]["replicas"]) == (200, 5)
        assert (await api.get(path))["spec"]["size"] == 5
        applied = {"apiVersion": "autoscaling/v1", "kind": "Scale", "spec": {"replicas": 6}}
        apply = {"Content-Type": "application/apply-patch+yaml"}
        code, scale = await api(
            "PATCH", f"{path}/scale", applied, headers=apply, fieldManager="m", force="true"
        )
        assert (code, scale["spec"]["replicas"]) == (200, 6)
        assert (await api.get(path))["spec"]["size"] == 6
        strategic = {"Content-Type": "application/strategic-merge-patch+json"}
        assert (await api("PATCH", path, {}, headers=strategic))[0] == 415

    run(body)


def test_printer_columns_make_the_table(run: Run) -> None:
    """Columns of the definition, the name first."""

    async def body(api: Api) -> None:
        await api.create(CRDS, definition())
        await api.create(THINGS, thing())
        accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
        _, table = await api("GET", THINGS, headers=accept)
        assert [c["name"] for c in table["columnDefinitions"]] == ["Name", "Size", "Age"]
        assert table["rows"][0]["cells"][:2] == ["a", 2]

    run(body)


def test_a_wrong_definition_is_refused(run: Run) -> None:
    """Name, scope, versions and schema are checked as upstream does."""

    async def body(api: Api) -> None:
        bad = definition(
            scope="Galaxy", versions=[{"name": "v1", "served": True, "storage": False}]
        )
        bad["metadata"]["name"] = "others.x.dev"
        code, refused = await api("POST", CRDS, bad)
        assert code == 422
        fields = {cause["field"] for cause in refused["details"]["causes"]}
        schema = "spec.versions[0].schema.openAPIV3Schema"
        assert fields == {"metadata.name", "spec.scope", "spec.versions", schema}

    run(body)


def test_a_definition_takes_its_objects_along(run: Run) -> None:
    """Deleting it deletes them, one by one, before it goes; then the path is unknown."""

    async def body(api: Api) -> None:
        await api.create(CRDS, definition())
        for name in ("a", "b"):
            await api.create(THINGS, thing(name))
        async with api.watch(THINGS, resourceVersion="") as event:
            assert [(await event())["type"] for _ in range(2)] == ["ADDED", "ADDED"]
            code, _ = await api("DELETE", f"{CRDS}/things.x.dev")
            assert code == 200
            assert [(await event())["type"] for _ in range(2)] == ["DELETED", "DELETED"]
        async with asyncio.timeout(5):
            while (await api("GET", f"{CRDS}/things.x.dev"))[0] != 404:
                await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            while (await api("GET", THINGS))[0] != 404:
                await asyncio.sleep(0.01)
        await api.create(CRDS, definition())
        assert (await api.get(THINGS))["items"] == []

    run(body)


def test_a_kind_that_went_is_forgotten(run: Run) -> None:
    """Kinds that come and go, as in every run of an operator's tests, do not fill the memory with their schemas."""

    async def body(api: Api) -> None:
        there = []
        for number in range(24):
            schema = {**SCHEMA, "description": f"the {number}th of its name"}
            made = definition()
            for version in made["spec"]["versions"]:
                version["schema"] = {"openAPIV3Schema": schema}
            await api.create(CRDS, made)
            await api.create(THINGS, thing())
            assert await api.get("/openapi/v2")
            assert await api.get("/openapi/v3/apis/x.dev/v1")
            await api("DELETE", f"{THINGS}/a")
            await api("DELETE", f"{CRDS}/things.x.dev")
            await api("PATCH", f"{CRDS}/things.x.dev", {"metadata": {"finalizers": None}})
            assert (await api("GET", THINGS))[0] == 404
            gc.collect()
            there.append(len(gc.get_objects()))
        # Small caches fill, with some sixty objects each; the schemas of one kind and its versions are a thousand.
        assert there[-1] - there[11] < 12 * 200, there

    run(body)

"""The published schema: whole, true to the types, and readable by old and new clients."""

import re
from typing import Any

import orjson
import pytest

from netpod.api import registry
from netpod.apiserver import (
    openapi,
    openapi_custom,
    openapi_definitions,
    openapi_fieldtexts,
    openapi_kindtexts,
    openapi_proto,
)
from netpod.apiserver.openapi_definitions import REF
from netpod.errors import NotFound
from tests.unit.apiserver.conftest import Body
from tests.unit.apiserver.support import Api

Run = Any
OLD_KUBECTL = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
POD = openapi_definitions.definitions(tuple(registry.RESOURCES))["io.k8s.api.core.v1.PodSpec"]


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        here = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return here.union(*(_references(inner) for inner in value.values()))
    return set().union(*map(_references, value)) if isinstance(value, list) else set()


def test_every_reference_leads_somewhere() -> None:
    """No definition points to one that is not there."""
    definitions = openapi_definitions.definitions(tuple(registry.RESOURCES))
    assert {name.removeprefix(REF) for name in _references(definitions)} <= set(definitions)
    for place in openapi._places(tuple(registry.RESOURCES)):
        found = openapi.answer(f"/openapi/v3/{place}", "")
        assert found is not None
        data = orjson.loads(found.body)
        names = {name.removeprefix(openapi.COMPONENTS) for name in _references(data)}
        assert names <= set(data["components"]["schemas"]), place


@pytest.mark.parametrize(
    "resource", registry.RESOURCES, ids=lambda r: f"{r.plural}.{r.api_version}"
)
def test_every_kind_is_described(resource: registry.Resource) -> None:
    """A client finds a kind's schema by its group, version and kind."""
    schema = openapi_definitions.of(resource)
    assert schema["x-kubernetes-group-version-kind"] == [
        {"group": resource.group, "version": resource.version, "kind": resource.kind}
    ]
    assert schema["description"]
    assert {"apiVersion", "kind", "metadata"} <= set(schema["properties"])


def _below(name: str, definitions: dict[str, Any]) -> set[str]:
    """A definition and all that it holds."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += [ref.removeprefix(REF) for ref in _references(definitions[name])]
    return found


@pytest.mark.parametrize(
    "kind",
    ["core.v1.Pod", "core.v1.Service", "networking.v1.Ingress", "networking.v1.NetworkPolicy"],
)
def test_every_field_is_explained(kind: str) -> None:
    """kubectl explain has words for each field; only storage drivers that nobody mounts here go without."""
    definitions = openapi_definitions.definitions(tuple(registry.RESOURCES))
    silent = set()
    for name in _below(f"io.k8s.api.{kind}", definitions):
        for field, schema in definitions[name].get("properties", {}).items():
            held = [definitions[ref.removeprefix(REF)] for ref in _references(schema)]
            if not schema.get("description") and not any(it.get("description") for it in held):
                silent.add((name.rpartition(".")[2], field))
    assert {struct for struct, _ in silent} <= {"Volume"}, silent


def test_texts_name_fields_as_clients_do() -> None:
    """What a class's docstring calls except_ is `except` to whoever reads it by kubectl explain."""
    definitions = openapi_definitions.definitions(tuple(registry.RESOURCES))
    block = definitions["io.k8s.api.networking.v1.IPBlock"]
    assert block["description"] == "The addresses of a CIDR, but not those of `except`."
    texts = [it["description"] for it in definitions.values() if "description" in it]
    assert not [text for text in texts if re.search(r"`[a-z]+_\w*`", text)]


def test_every_text_is_of_a_field() -> None:
    """No description waits for a field that is not there."""
    definitions = openapi_definitions.definitions(registry.SERVED)
    fields = {
        f"{struct}.{field}"
        for name, schema in definitions.items()
        for field in schema.get("properties", {})
        for struct in ("*", name.rpartition(".")[2])
    }
    assert {*openapi_fieldtexts.FIELDS, *openapi_kindtexts.FIELDS} <= fields


def test_every_kind_and_field_has_words() -> None:
    """kubectl explain never says `<no description>`, whatever it is asked about."""
    definitions = openapi_definitions.definitions(registry.SERVED)
    assert not [name for name, schema in definitions.items() if not schema.get("description")]
    assert not [
        f"{name}.{field}"
        for name, schema in definitions.items()
        for field, made in schema.get("properties", {}).items()
        if not made.get("description")
    ]


def test_lists_say_how_they_merge() -> None:
    """Patch strategy for client-side apply, list keys for server-side apply."""
    containers = POD["properties"]["containers"]
    assert containers["x-kubernetes-patch-merge-key"] == "name"
    assert containers["x-kubernetes-patch-strategy"] == "merge"
    assert containers["x-kubernetes-list-map-keys"] == ["name"]
    assert POD["properties"]["volumes"]["x-kubernetes-patch-strategy"] == "merge,retainKeys"
    assert POD["properties"]["tolerations"]["x-kubernetes-list-type"] == "atomic"
    assert POD["properties"]["nodeSelector"]["x-kubernetes-map-type"] == "atomic"


def test_what_our_types_keep_as_written_has_a_schema() -> None:
    """Fields netpod only carries are published all the same, or old clients would refuse them."""
    assert {"securityContext", "ephemeralContainers", "os"} <= set(POD["properties"])


def test_protobuf_of_a_small_document() -> None:
    """Fields, wrapped messages, pairs and extensions as the wire format has them."""
    data = {
        "swagger": "2.0",
        "definitions": {"A": {"type": "object", "x-b": 1, "required": ["c"]}},
    }
    schema = (
        b"\xb2\x01\x08\x0a\x06object"
        + b"\xfa\x01\x0a\x0a\x03x-b\x12\x03\x12\x011"
        + b"\x9a\x01\x01c"
    )
    pair = b"\x0a\x01A\x12" + bytes([len(schema)]) + schema
    named = b"\x0a" + bytes([len(pair)]) + pair
    assert openapi_proto.document(data) == b"\x0a\x032.0" + b"\x4a" + bytes([len(named)]) + named


def test_unknown_group_version_is_not_found() -> None:
    """An address of the index that is no longer served answers 404."""
    with pytest.raises(NotFound):
        openapi.answer("/openapi/v3/apis/none/v1", "")


def test_documents_over_http(run: Run) -> None:
    """JSON, protobuf and index are served; who has a document already is told so."""

    async def body(api: Api) -> None:
        code, data = await api("GET", "/openapi/v2")
        assert code == 200
        assert data["swagger"] == "2.0"
        patch = data["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]
        assert {"dryRun", "fieldValidation"} <= {one["name"] for one in patch["parameters"]}
        async with api.session.get(
            api.base + "/openapi/v2", headers={"Accept": OLD_KUBECTL}
        ) as answer:
            assert answer.headers["Content-Type"] == openapi.V2_PROTOBUF
            assert (await answer.read()).startswith(b"\x0a\x032.0")
            tag = answer.headers["ETag"]
        async with api.session.get(
            api.base + "/openapi/v2", headers={"Accept": OLD_KUBECTL, "If-None-Match": tag}
        ) as answer:
            assert answer.status == 304
            assert await answer.read() == b""
        index = await api.get("/openapi/v3")
        place, _, query = index["paths"]["apis/apps/v1"]["serverRelativeURL"].partition("?hash=")
        assert query
        assert (await api.get(place))["openapi"] == "3.0.0"

    check: Body = body
    run(check)


def test_custom_kinds_are_published_and_applied(run: Run) -> None:
    """A CustomResourceDefinition's schema is served, and decides how its objects merge."""

    async def body(api: Api) -> None:
        item = {
            "type": "object",
            "properties": {"id": {"type": "string"}, "x": {"type": "integer"}},
        }
        parts = {
            "type": "array",
            "items": item,
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["id"],
        }
        spec = {"type": "object", "properties": {"parts": parts}}
        schema = {"type": "object", "properties": {"spec": spec}}
        version = {
            "name": "v1",
            "served": True,
            "storage": True,
            "schema": {"openAPIV3Schema": schema},
        }
        definition = {
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "widgets.example.org"},
            "spec": {
                "group": "example.org",
                "scope": "Namespaced",
                "names": {"plural": "widgets", "kind": "Widget"},
                "versions": [version],
            },
        }
        await api.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
        data = await api.get("/openapi/v2")
        made = data["definitions"]["org.example.v1.Widget"]
        assert made["properties"]["spec"]["properties"]["parts"] == parts
        assert "apis/example.org/v1" in (await api.get("/openapi/v3"))["paths"]
        path = "/apis/example.org/v1/namespaces/default/widgets/w"
        headers = {"Content-Type": "application/apply-patch+yaml"}
        for manager, id_ in (("one", "a"), ("two", "b")):
            widget = {
                "apiVersion": "example.org/v1",
                "kind": "Widget",
                "spec": {"parts": [{"id": id_, "x": 1}]},
            }
            code, found = await api("PATCH", path, widget, headers=headers, fieldManager=manager)
            assert code in (200, 201), found
        assert [part["id"] for part in found["spec"]["parts"]] == ["a", "b"]

    run(body)


def test_custom_kinds_with_unknown_fields_name_no_properties_in_v2() -> None:
    """kubectl takes a list of properties to be complete, so what holds unknown fields is published without any."""
    free = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    common = {"kind": {"type": "string"}}
    text = {"type": "string"}
    at_root = {**free, "properties": {"a": text}}
    assert openapi_custom.published(at_root, common, v2=True) == {"type": "object"}
    assert openapi_custom.published(at_root, common, v2=False)["properties"] == {
        "a": text,
        **common,
    }
    inner = {**free, "properties": {"a": text}, "description": "d"}
    made = openapi_custom.published(
        {
            "type": "object",
            "required": ["a", "b"],
            "properties": {
                "a": inner,
                "b": {"type": "array", "items": text, "nullable": True},
                "c": {"type": "object", "x-kubernetes-embedded-resource": True},
                "d": {"type": "string", "anyOf": [{"maxLength": 3}, {"minLength": 9}]},
            },
        },
        common,
        v2=True,
    )
    assert made["required"] == ["a"]
    assert made["properties"] == {
        "a": {"x-kubernetes-preserve-unknown-fields": True, "description": "d"},
        "b": {},
        "c": {
            "type": "object",
            "x-kubernetes-embedded-resource": True,
            "properties": common,
            "required": ["kind", "apiVersion"],
        },
        "d": text,
        **common,
    }

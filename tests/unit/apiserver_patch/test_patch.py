"""JSON patch, merge patch, and what is refused."""

import copy
from typing import Any

import orjson
import pytest

from netpod.api import registry
from netpod.apiserver import patch
from netpod.errors import BadRequest, Invalid, TooLarge, UnsupportedMediaType

SERVICE = registry.lookup("services")
CURRENT: dict[str, Any] = {
    "metadata": {"name": "web", "labels": {"a": "1", "b": "2"}},
    "spec": {"ports": [{"port": 80}, {"port": 443}]},
}


def apply(content_type: str, body: Any) -> dict[str, Any]:
    """Patch CURRENT and make sure that it stays as it was."""
    before = copy.deepcopy(CURRENT)
    result = patch.apply_patch(SERVICE, CURRENT, content_type, orjson.dumps(body))
    assert before == CURRENT
    return result


def test_merge_patch_deletes_by_null_and_replaces_lists() -> None:
    """RFC 7386: null deletes, objects merge, lists are replaced."""
    result = apply(
        patch.MERGE_PATCH,
        {"metadata": {"labels": {"a": None, "c": "3"}}, "spec": {"ports": [{"port": 81}]}},
    )
    assert result["metadata"] == {"name": "web", "labels": {"b": "2", "c": "3"}}
    assert result["spec"]["ports"] == [{"port": 81}]


@pytest.mark.parametrize(
    ("current", "body", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ],
)
def test_merge_patch_is_the_rfc(current: Any, body: Any, result: Any) -> None:
    """The examples of RFC 7386 appendix A."""
    assert patch.merge_patch(current, body) == result


def test_json_patch_applies_operations_in_order() -> None:
    """RFC 6902 operations."""
    result = apply(
        patch.JSON_PATCH,
        [
            {"op": "test", "path": "/spec/ports/0/port", "value": 80},
            {"op": "remove", "path": "/spec/ports/1"},
            {"op": "add", "path": "/spec/ports/-", "value": {"port": 8080}},
            {"op": "replace", "path": "/metadata/labels/a", "value": "9"},
        ],
    )
    assert result["spec"]["ports"] == [{"port": 80}, {"port": 8080}]
    assert result["metadata"]["labels"]["a"] == "9"


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/metadata/name", "value": "other"},
        {"op": "remove", "path": "/metadata/nothing"},
        {"op": "replace", "path": "/spec/ports/7", "value": 1},
        {"op": "add", "path": "/a/b/c", "value": 1},
        {"path": "/a"},
        {"op": "fly", "path": "/a"},
        {"op": "add", "path": "/a"},
    ],
)
def test_a_json_patch_that_does_not_fit_is_unprocessable(operation: dict[str, Any]) -> None:
    """A failed test, a missing path or an unknown operation is 422, and nothing is said of the object."""
    with pytest.raises(Invalid, match=r"rejected our request due to an error in our request$"):
        apply(patch.JSON_PATCH, [operation])


@pytest.mark.parametrize(
    "body",
    [
        {},
        "x",
        [1],
        ["x"],
        [{"op": "replace", "path": "", "value": 3}],
    ],
)
def test_a_malformed_json_patch_is_refused(body: Any) -> None:
    """400: this is no JSON patch."""
    with pytest.raises(BadRequest):
        apply(patch.JSON_PATCH, body)


def test_too_many_operations_are_refused() -> None:
    """The limit is upstream's."""
    with pytest.raises(TooLarge):
        apply(patch.JSON_PATCH, [{"op": "test", "path": "/kind", "value": 1}] * 10_001)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"a: b"])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    """400, in the words of Go's parser or of upstream's library."""
    words = "Invalid JSON Patch|unexpected end of JSON input|invalid character"
    for content_type in patch.ACCEPTED:
        with pytest.raises(BadRequest, match=words):
            patch.apply_patch(SERVICE, CURRENT, content_type, body)


@pytest.mark.parametrize("body", [b"[]", b"3", b"null", b'"x"'])
def test_a_merge_patch_must_be_an_object(body: bytes) -> None:
    """A list would replace the whole object."""
    for content_type in (patch.MERGE_PATCH, patch.STRATEGIC_MERGE_PATCH):
        with pytest.raises(BadRequest, match=r"Invalid JSON Patch|cannot unmarshal"):
            patch.apply_patch(SERVICE, CURRENT, content_type, body)


@pytest.mark.parametrize("content_type", ["application/apply-patch+cbor", "application/json", ""])
def test_other_content_types_are_named_as_unsupported(content_type: str) -> None:
    """415, in the web server's words."""
    with pytest.raises(UnsupportedMediaType, match="415: Unsupported Media Type"):
        apply(content_type, {})


def test_content_type_parameters_are_ignored() -> None:
    """Clients may add a charset."""
    assert apply("application/merge-patch+json; charset=utf-8", {"a": 1})["a"] == 1

"""Names, labels, owners, and the shape of a complaint."""

from collections.abc import Callable
from typing import Any

import pytest

from netpod.api import codec, validate_names, validation
from netpod.api.core import ConfigMap

Wrong = Callable[..., list[str]]

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)


def test_a_bad_name_reads_as_upstream_says_it(wrong: Wrong) -> None:
    """Field, value, rule, example and regular expression."""
    metadata = {"name": "Web_1", "namespace": "default"}
    assert wrong("cm", metadata=metadata) == [f'metadata.name: Invalid value: "Web_1": {SUBDOMAIN}']


def test_reasons_are_upstreams_cause_types() -> None:
    """Clients read the reason, not the message."""
    bad = codec.decode(ConfigMap, {"metadata": {"name": "A", "namespace": ""}})
    found = {(error.field, error.reason) for error in validation.validate_create(bad)}
    assert found == {
        ("metadata.name", "FieldValueInvalid"),
        ("metadata.namespace", "FieldValueRequired"),
    }


@pytest.mark.parametrize(
    ("word", "name", "allowed"),
    [
        ("ns", "a.b", False),
        ("ns", "1a", True),
        ("svc", "1a", False),
        ("svc", "a-1", True),
        ("svc", "a.b", False),
        ("svc", "a" * 64, False),
        ("svc", "a" * 63, True),
        ("cm", "a.b", True),
        ("cm", "a" * 254, False),
        ("cm", "-a", False),
        ("cm", "a\n", False),
        ("cm", "ä", False),
        ("deploy", "a..b", False),
    ],
)
def test_names_by_kind(wrong: Wrong, word: str, name: str, allowed: bool) -> None:
    """Services and namespaces are DNS labels, the rest DNS names."""
    namespace = {} if word == "ns" else {"namespace": "default"}
    found = wrong(word, metadata={"name": name, **namespace})
    assert any(error.startswith("metadata.name") for error in found) is not allowed


def test_generated_names_may_end_in_a_hyphen(wrong: Wrong) -> None:
    """The suffix comes after the hyphen."""
    metadata = {"name": "a-x", "namespace": "default", "generateName": "a-"}
    assert wrong("cm", metadata=metadata) == []
    assert wrong("cm", metadata={**metadata, "generateName": "A-"})[0].startswith(
        "metadata.generateName: "
    )


def test_scope(wrong: Wrong) -> None:
    """Cluster-scoped objects have no namespace, the others have one."""
    assert wrong("ns", metadata={"name": "x", "namespace": "y"}) == [
        "metadata.namespace: Forbidden: not allowed on this type"
    ]
    assert wrong("cm", metadata={"name": "x"}) == ["metadata.namespace: Required value"]


@pytest.mark.parametrize(
    ("metadata", "start"),
    [
        (
            {"labels": {"a/b/c": "x"}},
            'metadata.labels: Invalid value: "a/b/c": a qualified name must',
        ),
        (
            {"labels": {"/b": "x"}},
            'metadata.labels: Invalid value: "/b": prefix part must be non-empty',
        ),
        ({"labels": {"": "x"}}, 'metadata.labels: Invalid value: "": name part must be non-empty'),
        ({"labels": {"a": "-"}}, 'metadata.labels: Invalid value: "-": a valid label must be'),
        (
            {"labels": {"a": "x" * 64}},
            f'metadata.labels: Invalid value: "{"x" * 64}": must be no more than 63',
        ),
        (
            {"annotations": {"a b": ""}},
            'metadata.annotations: Invalid value: "a b": name part must consist',
        ),
        (
            {"annotations": {"a": "x" * 262144}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            {"finalizers": ["mine"]},
            'metadata.finalizers: Invalid value: "mine": name is neither a standard',
        ),
        (
            {"ownerReferences": [{"kind": "A", "name": "b", "uid": "c"}]},
            "metadata.ownerReferences[0].apiVersion: Inv",
        ),
    ],
)
def test_other_metadata(wrong: Wrong, metadata: dict[str, Any], start: str) -> None:
    """Labels, annotations, finalizers and owners."""
    found = wrong("cm", metadata={"name": "x", "namespace": "default", **metadata})
    assert found[0].startswith(start)


def test_one_controller_only(wrong: Wrong) -> None:
    """Two controllers would fight."""
    owners = [
        {"apiVersion": "v1", "kind": "A", "name": n, "uid": n, "controller": True} for n in "ab"
    ]
    found = wrong("cm", metadata={"name": "x", "namespace": "default", "ownerReferences": owners})
    assert "Only one reference can have Controller set to true" in found[0]


def test_identity_stays(wrong_change: Wrong) -> None:
    """A name is for life."""
    new, old = ({"metadata": {"name": name, "namespace": "default"}} for name in ("a", "b"))
    assert wrong_change("cm", old, new) == ['metadata.name: Invalid value: "a": field is immutable']


@pytest.mark.parametrize(
    ("name", "problems"),
    [
        ("http", 0),
        ("h2c-1", 0),
        ("80", 1),
        ("-a", 1),
        ("a--b", 1),
        ("a" * 16, 1),
        ("HTTP", 2),
        ("", 2),
    ],
)
def test_port_names(name: str, problems: int) -> None:
    """IANA service names: at most 15 characters and a letter among them."""
    assert len(validate_names.port_name(name)) == problems

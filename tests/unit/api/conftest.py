"""What the validation tests ask of the code."""

from collections.abc import Callable
from typing import Any

import pytest

from netpod.api import codec, defaults, registry, validation

Wrong = Callable[..., list[str]]


def decoded(word: str, fields: dict[str, Any]) -> Any:
    """Return a defaulted object of a resource; metadata is filled in unless given."""
    resource = registry.lookup(word)
    metadata = {"name": "x", **({"namespace": "default"} if resource.namespaced else {})}
    data = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": metadata,
        **fields,
    }
    return defaults.apply_defaults(codec.decode_object(data))


@pytest.fixture
def wrong() -> Wrong:
    """Return what is wrong with a new object, as text: `wrong("svc", spec={...})`."""

    def check(word: str, **fields: Any) -> list[str]:
        return [str(error) for error in validation.validate_create(decoded(word, fields))]

    return check


@pytest.fixture
def wrong_change() -> Wrong:
    """Return why one object may not become another: `wrong_change("svc", old, new)`."""

    def check(word: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        found = validation.validate_update(decoded(word, new), decoded(word, old))
        return [str(error) for error in found]

    return check

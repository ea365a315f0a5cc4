"""What the validation tests ask of the code."""

from collections.abc import Callable
from typing import Any

import pytest

from netpod.api import codec, defaults, defaults_service, registry, validation
from netpod.api.service import Service

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


def made(word: str, fields: dict[str, Any]) -> Any:
    """Return a defaulted object as it would be created."""
    obj = decoded(word, fields)
    return defaults_service.keep_allocated(obj, None) if isinstance(obj, Service) else obj


@pytest.fixture
def wrong() -> Wrong:
    """Return what is wrong with a new object, as text: `wrong("svc", spec={...})`."""

    def check(word: str, **fields: Any) -> list[str]:
        return [str(error) for error in validation.validate_create(made(word, fields))]

    return check


@pytest.fixture
def wrong_change() -> Wrong:
    """Return why one object may not become another: `wrong_change("svc", old, new)`."""

    def check(word: str, old: dict[str, Any], new: dict[str, Any]) -> list[str]:
        before, after = made(word, old), decoded(word, new)
        if isinstance(before, Service):
            after = defaults_service.keep_allocated(after, before)
            after = defaults_service.drop_type_dependent(after, before)
        found = validation.validate_update(after, before)
        return [str(error) for error in found]

    return check

"""Definitions of custom kinds that are not what they should be: nobody else suffers from them."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from netpod.api import codec, registry
from netpod.api.apiextensions import CustomResourceDefinition
from netpod.apiserver import objects
from tests.support.writes import playing
from tests.unit.apiserver.support import CONFIGMAPS, Api, configmap

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
VERSION = "spec.versions[0]"
Run = Callable[[Callable[[Api], Awaitable[None]]], None]


@pytest.mark.parametrize(
    ("path", "odd"),
    [
        (f"{VERSION}.subresources", ["x"]),
        (f"{VERSION}.subresources.scale", "x"),
        (f"{VERSION}.schema.openAPIV3Schema.properties", [1]),
        (f"{VERSION}.additionalPrinterColumns", {"name": "x"}),
        ("spec.names.shortNames", "x"),
    ],
)
def test_values_of_another_type_are_refused(run: Run, path: str, odd: Any) -> None:
    """They were stored once, and then ended the server that read them."""

    async def body(api: Api) -> None:
        made = playing.edited(playing.objects()["CustomResourceDefinition"], {path: odd})
        code, said = await api("POST", CRDS, made)
        assert (code, said["reason"]) == (400, "BadRequest")
        await api.create(CONFIGMAPS, configmap("fine"))

    run(body)


def test_what_is_stored_already_is_left_out(run: Run) -> None:
    """A definition from before, whose subresources are a list: its kind is not served, everything else is."""

    async def body(api: Api) -> None:
        resource = registry.of(CustomResourceDefinition)
        good = await api.create(CRDS, playing.objects()["CustomResourceDefinition"])
        odd = playing.edited(
            good, {"metadata.name": "odds.example.com", f"{VERSION}.subresources": ["x"]}
        )
        odd = playing.edited(odd, {"spec.names.plural": "odds", "spec.names.kind": "Odd"})
        obj = codec.decode(CustomResourceDefinition, odd)
        store = api.server._store
        await store.create(
            objects.key(resource, "", "odds.example.com"), objects.pack(resource, obj)
        )
        assert (await api("GET", "/apis/example.com/v1/odds"))[0] == 404
        assert (await api("GET", "/apis/example.com/v1/widgets"))[0] == 200

    run(body)

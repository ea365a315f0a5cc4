"""How things end: namespaces, and what the garbage collector does, against the real API server."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from netpod.api import codec
from netpod.api.core import ConfigMap, Namespace, Secret, ServiceAccount
from netpod.api.meta import ObjectMeta, OwnerReference
from netpod.api.policy import ResourceQuota, ResourceQuotaSpec
from netpod.apiserver.signing import Signer
from netpod.client.rest import Client
from netpod.controllers import tokens
from netpod.controllers.run import ControllersConfig
from tests.unit.controllers import plane


async def make(client: Client, name: str, *owners: ConfigMap, block: bool = False) -> ConfigMap:
    """Create a ConfigMap with owners."""
    references = tuple(
        OwnerReference(
            api_version="v1",
            kind="ConfigMap",
            name=owner.metadata.name,
            uid=owner.metadata.uid,
            block_owner_deletion=block,
        )
        for owner in owners
    )
    about = ObjectMeta(name=name, namespace="shop", owner_references=references)
    return await client.create(ConfigMap(metadata=about))


def test_namespace_goes_with_everything_in_it(tmp_path: Path) -> None:
    """Deleting a namespace empties it first; nothing is left and the name is free again."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await plane.make_namespace(client)
            await make(client, "a")

            async def has_account() -> bool:
                return not await plane.is_gone(client, ServiceAccount, "default")

            await plane.until(has_account, "ServiceAccount default")
            await client.delete(Namespace, "shop")
            await plane.until(
                lambda: plane.is_gone(client, Namespace, "shop", ""), "the namespace is gone"
            )
            assert not (await client.list(ConfigMap, "shop")).items
            await plane.make_namespace(client)
            await plane.until(has_account, "a new one, with its ServiceAccount")

    asyncio.run(story())


def test_deleted_service_account_comes_back(tmp_path: Path) -> None:
    """Every namespace has `default`, always."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await plane.make_namespace(client)

            async def has_account() -> bool:
                return not await plane.is_gone(client, ServiceAccount, "default")

            await plane.until(has_account, "ServiceAccount default")
            await client.delete(ServiceAccount, "default", "shop")
            await plane.until(has_account, "again")

    asyncio.run(story())


def test_object_lives_as_long_as_one_owner(tmp_path: Path) -> None:
    """The first owner's end takes its reference away, the last owner's the object."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await plane.make_namespace(client)
            first, second = await make(client, "first"), await make(client, "second")
            await make(client, "child", first, second)
            await client.delete(ConfigMap, "first", "shop", propagation_policy="Background")

            async def one_left() -> bool:
                child = await client.get(ConfigMap, "child", "shop")
                return [r.name for r in child.metadata.owner_references] == ["second"]

            await plane.until(one_left, "one owner left")
            await client.delete(ConfigMap, "second", "shop", propagation_policy="Background")
            await plane.until(lambda: plane.is_gone(client, ConfigMap, "child"), "gone")

    asyncio.run(story())


def test_foreground_deletion_waits_for_dependents(tmp_path: Path) -> None:
    """The owner is there until its last blocking dependent is gone, two levels down."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            owner = await make(client, "owner")
            child = await make(client, "child", owner, block=True)
            await make(client, "grandchild", child, block=True)
            async with plane.running(plane.all_controllers(client)):
                await client.delete(ConfigMap, "owner", "shop", propagation_policy="Foreground")

                async def all_gone() -> bool:
                    left = {m.metadata.name for m in (await client.list(ConfigMap, "shop")).items}
                    if "owner" not in left:
                        assert not left & {"child", "grandchild"}
                    return not left & {"owner", "child", "grandchild"}

                await plane.until(all_gone, "owner, child and grandchild gone")

    asyncio.run(story())


def test_objects_that_own_each_other_in_a_circle_can_go(tmp_path: Path) -> None:
    """Each waits for the next one to go first, until the collector opens the circle at one place."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            first = await make(client, "first")
            second = await make(client, "second", first, block=True)
            third = await make(client, "third", second, block=True)
            about = (await make(client, "spare", third, block=True)).metadata
            owned = [codec.encode(r) for r in about.owner_references]
            patch = {"metadata": {"ownerReferences": owned}}
            await client.patch(ConfigMap, "first", "shop", patch)
            async with plane.running(plane.all_controllers(client)):
                await client.delete(ConfigMap, "first", "shop", propagation_policy="Foreground")

                async def all_gone() -> bool:
                    left = {m.metadata.name for m in (await client.list(ConfigMap, "shop")).items}
                    return not left & {"first", "second", "third", "spare"}

                await plane.until(all_gone, "all four gone")

    asyncio.run(story())


def test_orphaned_dependents_stay_without_owner(tmp_path: Path) -> None:
    """propagationPolicy Orphan leaves the child, free of its reference."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await plane.make_namespace(client)
            owner = await make(client, "owner")
            await make(client, "child", owner)
            await client.delete(ConfigMap, "owner", "shop", propagation_policy="Orphan")
            await plane.until(lambda: plane.is_gone(client, ConfigMap, "owner"), "owner gone")
            child = await client.get(ConfigMap, "child", "shop")
            assert child.metadata.owner_references == ()

    asyncio.run(story())


def test_owner_of_the_same_name_but_another_uid_does_not_count(tmp_path: Path) -> None:
    """A reference means one object, not whoever has its name later."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            old = await make(client, "owner")
            await make(client, "child", old)
            await client.delete(ConfigMap, "owner", "shop", propagation_policy="Background")
            await make(client, "owner")
            async with plane.running(plane.all_controllers(client)):
                await plane.until(lambda: plane.is_gone(client, ConfigMap, "child"), "gone")

    asyncio.run(story())


DEFINITION: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"kind": "Widget", "plural": "widgets"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "x-kubernetes-preserve-unknown-fields": True,
                    }
                },
            }
        ],
    },
}
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
WIDGETS = "/apis/example.com/v1/namespaces/shop/widgets"


async def make_widget(client: Client, name: str, owners: Any = ()) -> Any:
    """Create an object of the custom kind."""
    body = {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name, "ownerReferences": list(owners)},
    }
    return orjson.loads(await client.raw("POST", WIDGETS, orjson.dumps(body), "application/json"))


def owned_by(widget: Any) -> dict[str, Any]:
    """A reference to an object of the custom kind."""
    metadata = widget["metadata"]
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "blockOwnerDeletion": True,
    }


async def widgets(client: Client) -> list[str]:
    """Names of the objects of the custom kind."""
    found = orjson.loads(await client.raw("GET", WIDGETS))
    return [item["metadata"]["name"] for item in found["items"]]


async def make_owned(client: Client, widget: Any, name: str) -> None:
    """A ConfigMap that an object of the custom kind owns."""
    reference = codec.decode(OwnerReference, owned_by(widget))
    about = ObjectMeta(name=name, namespace="shop", owner_references=(reference,))
    await client.create(ConfigMap(metadata=about))


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_what_a_custom_object_owns_goes_with_it(tmp_path: Path, policy: str) -> None:
    """Owners and dependents of a kind that was defined after the collector started."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await plane.make_namespace(client)
            await client.raw("POST", DEFINITIONS, orjson.dumps(DEFINITION), "application/json")
            top = await make_widget(client, "top")
            await make_widget(client, "below", [owned_by(top)])
            other = await make_widget(client, "other")
            await make_owned(client, top, "mine")
            await make_owned(client, other, "yours")
            options = orjson.dumps({"kind": "DeleteOptions", "propagationPolicy": policy})
            await client.raw("DELETE", f"{WIDGETS}/top", options, "application/json")

            async def done() -> bool:
                gone = await plane.is_gone(client, ConfigMap, "mine")
                return gone and await widgets(client) == ["other"]

            await plane.until(done, "what top owned is gone")
            assert not await plane.is_gone(client, ConfigMap, "yours")
            # With the kind all its objects go, and what those owned.
            await client.raw("DELETE", f"{DEFINITIONS}/widgets.example.com")
            await plane.until(lambda: plane.is_gone(client, ConfigMap, "yours"), "yours is gone")
            # The kind may come back.
            await client.raw("POST", DEFINITIONS, orjson.dumps(DEFINITION), "application/json")
            again = await make_widget(client, "again")
            await make_owned(client, again, "his")
            await client.raw("DELETE", f"{WIDGETS}/again")
            await plane.until(lambda: plane.is_gone(client, ConfigMap, "his"), "his is gone")

    asyncio.run(story())


def test_namespace_goes_with_custom_objects(tmp_path: Path) -> None:
    """A custom object's finalizer holds its namespace; without it everything goes."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await plane.make_namespace(client)
            await client.raw("POST", DEFINITIONS, orjson.dumps(DEFINITION), "application/json")
            await make_widget(client, "free")
            await make_widget(client, "held")
            held = f"{WIDGETS}/held"
            patch = b'{"metadata":{"finalizers":["example.com/wait"]}}'
            await client.raw("PATCH", held, patch, "application/merge-patch+json")
            await client.delete(Namespace, "shop")

            async def only_held() -> bool:
                return await widgets(client) == ["held"]

            await plane.until(only_held, "only what is held is left")
            assert (await client.get(Namespace, "shop")).status.phase == "Terminating"
            patch = b'{"metadata":{"finalizers":null}}'
            await client.raw("PATCH", held, patch, "application/merge-patch+json")
            await plane.until(
                lambda: plane.is_gone(client, Namespace, "shop", ""), "the namespace is gone"
            )

    asyncio.run(story())


def test_quota_status_follows_what_is_used(tmp_path: Path) -> None:
    """What people read of a quota is what is there."""

    async def story() -> None:
        async with plane.api(tmp_path) as client, plane.running(plane.all_controllers(client)):
            await plane.make_namespace(client)
            about = ObjectMeta(name="q", namespace="shop")
            hard = {"count/services": "5", "configmaps": "9"}
            await client.create(ResourceQuota(metadata=about, spec=ResourceQuotaSpec(hard=hard)))

            def uses(number: str) -> Callable[[], Awaitable[bool]]:
                async def fact() -> bool:
                    status = (await client.get(ResourceQuota, "q", "shop")).status
                    used = {"count/services": "0", "configmaps": number}
                    return status.hard == hard and status.used == used

                return fact

            await plane.until(uses("0"), "nothing is used")
            await make(client, "a")
            await make(client, "b")
            await plane.until(uses("2"), "two are used")
            await client.delete(ConfigMap, "a", "shop")
            await plane.until(uses("1"), "one is used")

    asyncio.run(story())


def test_a_secret_for_a_token_is_filled_and_goes_with_its_account(tmp_path: Path) -> None:
    """Token, authority and namespace appear in it; the account's end, or another account of the name, ends it."""

    async def story() -> None:
        config = ControllersConfig(sign=Signer(None).sign, root_ca="authority")
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            account = await client.create(
                ServiceAccount(metadata=ObjectMeta(name="robot", namespace="shop"))
            )
            for name, whose in (("good", "robot"), ("stray", "nobody")):
                await client.create(
                    Secret(
                        metadata=ObjectMeta(
                            name=name, namespace="shop", annotations={tokens.NAME: whose}
                        ),
                        type=tokens.TYPE,
                    )
                )
            async with plane.running(plane.all_controllers(client, config)):
                await plane.until(lambda: plane.is_gone(client, Secret, "stray"), "stray gone")

                async def filled() -> bool:
                    return bool((await client.get(Secret, "good", "shop")).data)

                await plane.until(filled, "a token")
                found = await client.get(Secret, "good", "shop")
                data = {name: base64.b64decode(text) for name, text in found.data.items()}
                assert data["ca.crt"] == b"authority"
                assert data["namespace"] == b"shop"
                assert len(data["token"].split(b".")) == 3
                assert found.metadata.annotations[tokens.UID] == account.metadata.uid
                await client.delete(ServiceAccount, "robot", "shop")
                await plane.until(lambda: plane.is_gone(client, Secret, "good"), "good gone")

    asyncio.run(story())

"""How things end: namespaces, and what the garbage collector does, against the real API server."""

import asyncio
from pathlib import Path

from netpod.api.core import ConfigMap, Namespace, ServiceAccount
from netpod.api.meta import ObjectMeta, OwnerReference
from netpod.client.rest import Client
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

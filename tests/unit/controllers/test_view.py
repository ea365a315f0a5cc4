"""What a controller believes between its write and the watch's echo."""

import asyncio
import dataclasses
from pathlib import Path

from netpod.api.core import ConfigMap
from netpod.api.meta import Key, ObjectMeta
from netpod.client.informer import Informers
from netpod.controllers.view import View
from tests.unit.controllers import plane

KEY = Key("shop", "a")


def test_own_write_is_seen_at_once_and_the_newer_one_wins(tmp_path: Path) -> None:
    """A created object is in the view before any watch event; an older echo does not undo an update."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            informers = Informers(client)
            view = View(informers.of(ConfigMap))
            view.index("name", lambda obj: [obj.metadata.name])
            about = ObjectMeta(name="a", namespace="shop")
            made = view.wrote(await client.create(ConfigMap(metadata=about, data={"n": "1"})))
            assert view.get(KEY) == made
            newer = view.wrote(await client.update(dataclasses.replace(made, data={"n": "2"})))
            assert view.wrote(made) is made
            assert view.get(KEY) == newer
            assert view.by("name", "a") == [newer]
            seen: list[str] = []
            view.subscribe(lambda old, new: seen.append(new.data["n"] if new else "gone"))
            async with plane.running(informers.run()):
                await view.wait_synced()
                assert view.get(KEY) == newer
                await client.delete(ConfigMap, "a", "shop", uid=made.metadata.uid)
                view.removed(newer)
                assert view.get(KEY) is None
                assert view.count("name", "a") == 0

                async def told() -> bool:
                    return "gone" in seen

                await plane.until(told, "the watch says so too")
            assert view.get(KEY) is None

    asyncio.run(story())


def test_what_was_deleted_before_the_watch_showed_it_is_forgotten(tmp_path: Path) -> None:
    """An object of ours that the watch passes without showing does not stay for ever."""

    async def story() -> None:
        async with plane.api(tmp_path) as client:
            await plane.make_namespace(client)
            informers = Informers(client)
            view = View(informers.of(ConfigMap))
            about = ObjectMeta(name="a", namespace="shop")
            view.wrote(await client.create(ConfigMap(metadata=about)))
            await client.delete(ConfigMap, "a", "shop")
            await client.create(ConfigMap(metadata=ObjectMeta(name="b", namespace="shop")))
            async with plane.running(informers.run()):
                await view.wait_synced()
                assert view.get(KEY) is None

    asyncio.run(story())

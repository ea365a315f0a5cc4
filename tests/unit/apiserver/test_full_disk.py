"""A disk without room: writes are refused as such, reads go on, nothing is damaged, and room is all it takes."""

import asyncio
import ctypes
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from netpod.linux import libc
from tests.unit.apiserver.support import CONFIG, CONFIGMAPS, Api, configmap, serving


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB, in the private mount namespace the tests run in."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = ctypes.CDLL(None, use_errno=True).mount(
        b"tmpfs", str(folder).encode(), b"tmpfs", 0, b"size=4m"
    )
    assert mounted == 0, ctypes.get_errno()
    yield folder
    libc.umount(folder)


def test_a_full_disk_damages_nothing(small_disk: Path) -> None:
    """507 while it is full; what was acknowledged stays, what was refused is not there, also after a restart."""

    async def story() -> None:
        ballast = small_disk / "ballast"
        ballast.write_bytes(b"x" * 1_500_000)
        kept: set[str] = set()
        config = dataclasses.replace(CONFIG)
        async with serving(small_disk, config) as api:
            for number in range(200):
                name = f"big-{number}"
                code, told = await api("POST", CONFIGMAPS, configmap(name, data="x" * 60_000))
                if code == 507:
                    break
                assert code == 201, told
                kept.add(name)
            assert code == 507
            assert told["reason"] == "InsufficientStorage"
            assert kept
            # Readers and watchers notice nothing; updates and deletions are refused in the same way.
            assert await names(api) == kept
            one = min(kept)
            found = await api.get(f"{CONFIGMAPS}/{one}")
            found["data"]["more"] = "y" * 60_000
            code, told = await api("PUT", f"{CONFIGMAPS}/{one}", found)
            assert code == 507
            assert (await api.get(f"{CONFIGMAPS}/{one}"))["data"].keys() == {"data"}
            version = found["metadata"]["resourceVersion"]
            async with api.watch(CONFIGMAPS, resourceVersion=version) as event:
                ballast.unlink()
                made = await api.create(CONFIGMAPS, configmap("after"))
                seen = await event()
                while seen["object"]["metadata"]["name"] != "after":
                    assert seen["object"]["metadata"]["name"] in kept
                    seen = await event()
                assert seen["object"]["metadata"]["uid"] == made["metadata"]["uid"]
            kept.add("after")
            code, _ = await api("DELETE", f"{CONFIGMAPS}/{one}")
            assert code == 200
            kept.discard(one)
        async with serving(small_disk, config) as api:
            assert await names(api) == kept

    asyncio.run(story())


async def names(api: Api) -> set[str]:
    """All ConfigMaps of the namespace default."""
    return {item["metadata"]["name"] for item in (await api.get(CONFIGMAPS))["items"]}

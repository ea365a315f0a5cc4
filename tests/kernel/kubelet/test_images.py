"""Images: taken from every place an image can come from, and containers that run from them."""

import asyncio
import shutil
from pathlib import Path

import pytest

from netpod.api.node import Node
from netpod.errors import CommandFailed, NotFound, UsageError
from netpod.kubelet import image_names
from netpod.kubelet.images import Images
from tests.kernel.kubelet import lab as labs
from tests.kernel.kubelet.lab import Lab
from tests.kernel.kubelet.test_pods import first
from tests.kernel.kubelet.test_programs import _waits, said, told
from tests.support import oci

pytestmark = pytest.mark.skipif(
    shutil.which("skopeo") is None or shutil.which("umoci") is None, reason="no skopeo or umoci"
)
CONFIG = {
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["id -u; id -g; echo $GREETING; cat /etc/motd; touch /written && echo wrote; exit 6"],
    "Env": ["GREETING=hello", "PATH=/bin:/usr/bin"],
    "User": "app",
    "WorkingDir": "/tmp",
}
FILES = {
    "etc/passwd": "root:x:0:0::/:/bin/sh\napp:x:33:44::/:/bin/sh\n",
    "etc/group": "root:x:0:\napp:x:44:\nmore:x:55:app\n",
    "etc/motd": "from the image\n",
}


@pytest.fixture
def layout(tmp_path: Path) -> Path:
    """An image."""
    folder = tmp_path / "layout"
    folder.mkdir()
    return oci.make_layout(folder, "demo:v1", config=CONFIG, files=FILES)


def test_from_everywhere(tmp_path: Path, layout: Path) -> None:
    """Layout, OCI archive, docker archive and registry give the same files and configuration."""
    store = Images(tmp_path / "images")
    archive = oci.make_oci_archive(layout, tmp_path / "oci.tar")
    docker = oci.make_docker_archive(layout, tmp_path / "docker.tar", "docker.example/a/b:2")
    (one,) = store.load(str(layout))
    (two,) = store.load(str(archive), "again:v2")
    (three,) = store.load(str(docker))
    with oci.registry(layout) as address:
        four = store.pull(f"{address}/team/demo")
        with pytest.raises(CommandFailed):
            store.pull(f"{address}/team/demo@sha256:{'0' * 64}")
    names = ["docker.example/a/b:2", "docker.io/library/again:v2", "docker.io/library/demo:v1"]
    assert [it.name for it in store.entries()][1:] == names
    assert {it.user() for it in (one, two, three, four)} == {(33, 44, (55,))}
    assert {(it.rootfs / "etc" / "motd").read_text() for it in (one, two, three, four)} == {
        "from the image\n"
    }
    assert one.digest == two.digest == four.digest
    found = store.find("demo:v1")
    assert found is not None
    assert found.entrypoint == ("/bin/sh", "-c")
    store.remove("demo:v1")
    assert store.find("demo:v1") is None
    assert two.rootfs.exists()
    with pytest.raises(NotFound):
        store.remove("demo:v1")


def test_what_is_no_image_is_said_so(tmp_path: Path) -> None:
    """A text file is refused before anything is made of it."""
    (tmp_path / "text").write_text("no image")
    with pytest.raises(UsageError, match="no tar archive"):
        Images(tmp_path / "images").load(str(tmp_path / "text"))
    with pytest.raises(UsageError, match="no such file"):
        Images(tmp_path / "images").load(str(tmp_path / "nothing"))


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("a/b:1", "docker.io/a/b:1"),
        ("localhost/x", "localhost/x:latest"),
        ("127.0.0.1:5000/x:2", "127.0.0.1:5000/x:2"),
        ("quay.example/x@sha256:00", "quay.example/x@sha256:00"),
    ],
)
def test_references_mean_what_they_mean_to_docker(short: str, long: str) -> None:
    """Registry, repository and tag are filled in."""
    assert image_names.normalize(short) == long


def test_a_container_of_an_image(lab: Lab, layout: Path) -> None:
    """Its entrypoint runs as its user, in its files, with its environment; what it writes is gone with it."""

    async def main() -> None:
        store = Images(lab.folder / "images")
        (image,) = store.load(str(layout))
        async with lab.running():
            item = {"name": "c", "image": "demo:v1", "securityContext": {"runAsUser": 0}}
            await lab.create("root", containers=[item], restartPolicy="Never")
            await lab.create(
                "app", containers=[{**item, "securityContext": {}}], restartPolicy="Never"
            )
            pod = await lab.wait("root", lambda it: it.status.phase == "Failed")
            assert said(pod).split("\n")[:5] == ["0", "44", "hello", "from the image", "wrote"]
            ended = first(pod).state.terminated
            assert ended is not None
            assert ended.exit_code == 6
            pod = await lab.wait("app", lambda it: it.status.phase == "Failed")
            text = said(pod)
            assert text.split("\n")[:4] == ["33", "44", "hello", "from the image"]
            assert "wrote" not in text
            assert not (image.rootfs / "written").exists()

    asyncio.run(main())


def test_pulling_without_stand_ins(lab: Lab, layout: Path) -> None:
    """An image that is not here is pulled; one that cannot be is ErrImagePull, then ImagePullBackOff."""
    lab.stand_in = False

    async def main() -> None:
        with oci.registry(layout) as address:
            async with lab.running():
                command = {"command": ["/bin/sh", "-c", "exit 0"]}
                item = {"name": "c", "image": f"{address}/demo:v1", **command}
                # The registry is on this machine's loopback, the node in its own namespace: it cannot be reached.
                await lab.create("absent", containers=[item])
                await lab.wait("absent", lambda it: _waits(it, "ErrImagePull"))
                await lab.wait("absent", lambda it: _waits(it, "ImagePullBackOff"))
                await lab.until(lambda: told(lab, "Failed", "BackOff"))
                Images(lab.folder / "images").pull(f"{address}/demo:v1")
                await lab.create("here", containers=[item], restartPolicy="Never")
                await lab.wait("here", lambda it: it.status.phase == "Succeeded")

    asyncio.run(main())


def test_the_node_tells_of_the_images(lab: Lab, layout: Path) -> None:
    """An image of the store is in the Node's status with name and size, and leaves it when it is removed.

    What somebody else says the node has stays there, and may be used.
    """

    async def main() -> None:
        store = Images(lab.folder / "images")
        (image,) = store.load(str(layout))
        repository = "docker.io/library/demo"
        async with lab.running():

            async def told(expected: tuple[object, ...]) -> bool:
                return (await lab.client.get(Node, labs.NODE)).status.images == expected

            names = [f"{repository}@{image.digest}", f"{repository}:v1"]
            size = store.entries()[0].size
            assert size >= sum(map(len, FILES.values()))
            await lab.until(lambda: told(({"names": names, "sizeBytes": size},)))
            store.remove("demo:v1")
            # A change on the node is what makes it look before its ten seconds are over.
            await lab.create("p")
            await lab.until(lambda: told(()), seconds=20.0)
            more = {"status": {"capacity": {"example.com/fake": "3"}}}
            await lab.client.patch(Node, labs.NODE, "", more, subresource="status")

            async def usable() -> bool:
                status = (await lab.client.get(Node, labs.NODE)).status
                return (
                    status.allocatable.get("example.com/fake") == "3" and "cpu" in status.capacity
                )

            await lab.until(usable)

    asyncio.run(main())

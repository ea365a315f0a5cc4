"""A node of its own: an API server in this process, a shim and a kubelet as processes, pods that are real."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from netpod.api import codec, meta
from netpod.api.core import ConfigMap
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.apiserver.authentication import TRUSTED
from netpod.apiserver.server import ApiServer, ApiServerConfig, Listener
from netpod.apps import echo
from netpod.client.rest import Client
from netpod.errors import NotFound
from netpod.kubelet import agent
from netpod.kubelet.config import KubeletConfig
from netpod.linux import libc, link, netns
from netpod.paths import Paths
from netpod.shim import server as shim
from netpod.store.sqlite import SqliteStore

CLUSTER = "kt"
NODE = "n1"
PATHS = Paths(CLUSTER)
NETNS = PATHS.netns_node(NODE)
SECONDS = 20.0
ROOT_CA = ConfigMap(
    metadata=meta.ObjectMeta(name="kube-root-ca.crt", namespace="default"), data={"ca.crt": ""}
)
"""What a controller makes in every namespace of a cluster, and every pod's token volume holds."""


def _fork(body: Callable[[], None], network: str = "") -> int:
    """Run `body` in a child process, in a network namespace."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        if network:
            libc.setns(netns.open_fd(network), libc.CLONE_NEWNET)
        body()
        code = 0
    except BaseException:  # noqa: BLE001 - nothing of pytest may run in the child
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


@dataclass
class Lab:
    """One node."""

    folder: Path
    stand_in: bool = True
    allow_host_path: tuple[Path, ...] = ()
    client: Client = field(init=False)
    pids: dict[str, int] = field(default_factory=dict)

    def start_shim(self) -> None:
        """Start the node's shim."""
        config = shim.ShimConfig(
            cluster=CLUSTER,
            node=NODE,
            socket=PATHS.shim_socket(NODE),
            state=PATHS.node(NODE),
            stand_in=echo.main,
        )
        self.pids["shim"] = _fork(lambda: shim.run(config), NETNS)

    def start_kubelet(self) -> None:
        """Start the node's kubelet."""
        config = KubeletConfig(
            cluster=CLUSTER,
            node=NODE,
            node_ips=(IPv4Address("172.18.0.2"),),
            paths=PATHS,
            shim_socket=PATHS.shim_socket(NODE),
            stand_in=self.stand_in,
            allow_host_path=self.allow_host_path,
            images=self.folder / "images",
        )

        async def main() -> None:
            await agent.run(Client.unix(self.folder / "sock"), config)

        self.pids["kubelet"] = _fork(lambda: asyncio.run(main()), NETNS)

    def kill(self, name: str) -> None:
        """End a process as a crash would."""
        pid = self.pids.pop(name, None)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Lab"]:
        """The node, registered, with a pod CIDR."""
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.folder / "sock"))
        listening.listen(128)
        store = await SqliteStore.open(self.folder / "store.db")
        server = ApiServer(store, ApiServerConfig())
        ready = asyncio.Event()
        self.client = Client.unix(self.folder / "sock")
        try:
            async with asyncio.TaskGroup() as group:
                task = group.create_task(
                    server.serve([Listener(socket=listening, user=TRUSTED)], ready)
                )
                await ready.wait()
                self.start_shim()
                self.start_kubelet()
                await self.until(self._give_cidr)
                await self.client.create(ROOT_CA)
                yield self
                self.kill("kubelet")
                task.cancel()
        finally:
            self.kill("kubelet")
            await self.client.close()
            await store.close()

    async def _give_cidr(self) -> bool:
        change = {"spec": {"podCIDR": "10.244.1.0/24", "podCIDRs": ["10.244.1.0/24"]}}
        try:
            await self.client.patch(Node, NODE, "", change)
        except NotFound:
            return False
        return True

    async def until(self, fact: Callable[[], object], seconds: float = SECONDS) -> None:
        """Wait for a fact with a deadline."""
        async with asyncio.timeout(seconds):
            while True:
                found = fact()
                if asyncio.iscoroutine(found):
                    found = await found
                if found:
                    return
                await asyncio.sleep(0.01)

    async def create(self, name: str, **spec: object) -> Pod:
        """Create a pod that is bound to the node."""
        container = {"name": "c", "image": "nginx:1.27", "ports": [{"containerPort": 80}]}
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": NODE, "containers": [container], **spec},
        }
        return await self.client.create(codec.decode(Pod, manifest))

    async def pod(self, name: str) -> Pod:
        """Read a pod."""
        return await self.client.get(Pod, name, "default")

    async def wait(self, name: str, fact: Callable[[Pod], object]) -> Pod:
        """Wait until a fact holds of a pod, and return it."""
        found: list[Pod] = []

        async def holds() -> bool:
            found[:] = [await self.pod(name)]
            return bool(fact(found[0]))

        try:
            await self.until(holds)
        except TimeoutError:
            raise AssertionError(f"never so: {codec.encode(found[0])}") from None
        return found[0]

    async def ready(self, name: str) -> Pod:
        """Wait until a pod is ready."""
        return await self.wait(name, is_ready)

    async def gone(self, name: str) -> None:
        """Wait until a pod's object is gone."""

        async def absent() -> bool:
            try:
                await self.pod(name)
            except NotFound:
                return True
            return False

        await self.until(absent)

    async def get(self, pod_ip: str, path: str = "/", *, port: int = 80) -> str:
        """GET from the node's network namespace; the body, or "" when there is no answer."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, _get, pod_ip, path, port)


def _get(pod_ip: str, path: str, port: int) -> str:
    with netns.socket_in(NETNS, socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.settimeout(0.5)
        try:
            sock.connect((pod_ip, port))
            sock.sendall(f"GET {path} HTTP/1.0\r\nHost: x\r\n\r\n".encode())
            answer = b""
            while data := sock.recv(65536):
                answer += data
        except OSError:
            return ""
    return answer.partition(b"\r\n\r\n")[2].decode()


def is_ready(pod: Pod) -> bool:
    """Whether the pod is Ready."""
    found = meta.condition(pod.status.conditions, "Ready")
    return found is not None and found.status == "True"


def make_node_netns() -> None:
    """The node's network namespace with the loopback up."""
    netns.create(NETNS)
    link.set_link(NETNS, "lo", up=True)

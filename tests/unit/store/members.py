"""Real etcd members on 127.0.0.1, in the private network namespace the tests run in."""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import TracebackType

from netpod.store.etcd import EtcdStore
from netpod.store.gateway import Target

_PORT = 12379


class Members:
    """A cluster of etcd processes, each with its log and data in a folder; all ended on exit.

    Args:
        folder: Where data and logs go.
        count: 1 or 3.
        ca, cert, key: PEM files; given, clients must show a certificate of that authority.
        quota: Bytes a member's data may take; 0 is etcd's own limit.
    """

    def __init__(
        self,
        folder: Path,
        count: int,
        *,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        quota: int = 0,
    ) -> None:
        self._folder = folder
        self._pids: dict[int, int] = {}
        self._count = count
        self._scheme = "http" if ca is None else "https"
        self._options: list[str] = ["--quota-backend-bytes", str(quota)]
        if ca is not None:
            self._options += ["--client-cert-auth", "--trusted-ca-file", str(ca)]
            self._options += ["--cert-file", str(cert), "--key-file", str(key)]
        self.target = Target(
            endpoints=tuple(f"127.0.0.1:{_PORT + 10 * i}" for i in range(count)),
            ca=ca,
            cert=cert,
            key=key,
        )

    def __enter__(self) -> "Members":
        for member in range(self._count):
            self.start(member)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for member in list(self._pids):
            self.kill(member)

    def start(self, member: int) -> None:
        """Start a member, or start it again with the data it had."""
        peers = [f"http://127.0.0.1:{_PORT + 10 * i + 1}" for i in range(self._count)]
        client = f"{self._scheme}://127.0.0.1:{_PORT + 10 * member}"
        argv = ["etcd", "--name", f"m{member}", "--data-dir", str(self._folder / f"m{member}")]
        argv += ["--listen-client-urls", client, "--advertise-client-urls", client]
        argv += ["--listen-peer-urls", peers[member], "--initial-advertise-peer-urls"]
        argv += [peers[member], "--initial-cluster"]
        argv += [",".join(f"m{i}={url}" for i, url in enumerate(peers)), *self._options]
        argv += ["--heartbeat-interval", "50", "--election-timeout", "500"]
        log = os.open(self._folder / f"m{member}.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
        self._pids[member] = os.posix_spawnp("etcd", argv, os.environ, file_actions=actions)
        os.close(log)

    def kill(self, member: int) -> None:
        """End a member as a power cut would."""
        pid = self._pids.pop(member)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    def wipe(self, member: int) -> None:
        """Take the data of a member that is dead."""
        shutil.rmtree(self._folder / f"m{member}")

    def freeze(self, member: int) -> None:
        """Stop a member: its connections stay open, and it says nothing any more."""
        os.kill(self._pids[member], signal.SIGSTOP)

    def thaw(self, member: int) -> None:
        """Let a frozen member go on."""
        os.kill(self._pids[member], signal.SIGCONT)


async def using(
    target: Target, body: Callable[[EtcdStore], Awaitable[object]], seconds: float = 50
) -> None:
    """Run a body with an open store, for a bounded time."""
    async with asyncio.timeout(seconds):
        store = await EtcdStore.open(target)
        try:
            await body(store)
        finally:
            await store.close()

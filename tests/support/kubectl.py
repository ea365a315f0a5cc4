"""The real kubectl, in every version this machine has: streams are spoken differently by each generation.

kubectl up to 1.29 speaks SPDY/3.1, later ones WebSocket first. More than those found are named, separated by colons,
in NETPOD_TEST_KUBECTL.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from netpod.linux import process
from tests.support.cluster import Cluster, Result, call

_CANDIDATES = (
    "/opt/netpod/kubectl/usr/bin/kubectl",
    "/tmp/kc/usr/bin/kubectl",
    "/opt/netpod/kubectl-current/usr/bin/kubectl",
    "/usr/lib/google-cloud-sdk/bin/kubectl.1.33",
)


def version(path: str) -> tuple[int, int]:
    """Return a kubectl's major and minor version."""
    said = call(path, "version", "--client", "-o", "json").json["clientVersion"]
    return int(said["major"]), int(said["minor"].rstrip("+"))


def found() -> list[str]:
    """Return the paths of all kubectl binaries, each once."""
    named = os.environ.get("NETPOD_TEST_KUBECTL", "").split(":")
    paths = [*filter(None, named), shutil.which("kubectl") or "", *_CANDIDATES]
    files = {os.path.realpath(path): path for path in paths if path and Path(path).exists()}
    return list(files.values())


class Kubectl:
    """One binary, asking one cluster as its administrator."""

    def __init__(self, path: str, cluster: Cluster) -> None:
        self.path = path
        self._cluster = cluster

    @property
    def env(self) -> dict[str, str]:
        return {"KUBECONFIG": str(self._cluster.paths.kubeconfig)}

    def __call__(self, *argv: str, timeout: float = 20) -> Result:
        return call(self.path, *argv, env=self.env, timeout=timeout)

    def ok(self, *argv: str, timeout: float = 20) -> str:
        """Run what must succeed and return what it said."""
        result = self(*argv, timeout=timeout)
        assert result.code == 0, f"kubectl {' '.join(argv)}: {result}"
        return result.stdout

    def shell(self, script: str, *argv: str, timeout: float = 30) -> Result:
        """Run a shell script in which `"$K"` is kubectl and $1... are `argv`."""
        env = {**self.env, "K": self.path}
        return call("sh", "-c", script, "sh", *argv, env=env, timeout=timeout)

    @contextmanager
    def running(self, output: Path, *argv: str) -> Iterator[int]:
        """Have a kubectl run meanwhile, its output in a file; gives its pid."""
        fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            env = {**os.environ, **self.env}
            pid = process.spawn([self.path, *argv], stdout=fd, stderr=fd, env=env)
        finally:
            os.close(fd)
        pidfd = os.pidfd_open(pid)
        try:
            yield pid
        finally:
            process.send_signal(pidfd, 9)
            os.close(pidfd)
            os.waitpid(pid, 0)

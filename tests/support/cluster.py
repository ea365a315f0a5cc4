"""A cluster as its user has it: started, asked and taken down by the command line."""

import fcntl
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from netpod.client.blocking import BlockingClient
from netpod.cluster import role
from netpod.cluster.role import Role
from netpod.errors import ApiError
from netpod.linux import process
from netpod.paths import Paths
from tests.support import host, wait

NETPOD = (sys.executable, "-c", "from netpod_cli.main import entry; entry()")
EXAMPLE = Path(__file__).parents[2] / "examples" / "ingress.yaml"
APPS = "/apis/apps/v1/namespaces"


@dataclass(frozen=True, slots=True)
class Result:
    """What one command said and its exit code."""

    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return orjson.loads(self.stdout)

    @property
    def lines(self) -> list[str]:
        return self.stdout.splitlines()


def call(
    *argv: str,
    stdin: str = "",
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    netns: str = "",
) -> Result:
    """Run a program to its end; an exit code other than 0 is a result like another."""
    files = [os.memfd_create(name) for name in ("stdin", "stdout", "stderr")]
    for fd in files[1:]:
        # The kernel does not lock a memfd's position: of several programs that write at once one would
        # overwrite what another wrote.
        fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    try:
        os.pwrite(files[0], stdin.encode(), 0)
        pid = process.spawn(
            argv,
            env={**os.environ, **(env or {})},
            netns=netns,
            stdin=files[0],
            stdout=files[1],
            stderr=files[2],
        )
        pidfd = os.pidfd_open(pid)
        try:
            ended = process.wait(pidfd, timeout)
            if not ended:
                process.send_signal(pidfd, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        finally:
            os.close(pidfd)
        said = [os.pread(fd, os.fstat(fd).st_size, 0).decode(errors="replace") for fd in files[1:]]
        assert ended, f"{argv} not done after {timeout:g} s: {said}"
        return Result(code, *said)
    finally:
        for fd in files:
            os.close(fd)


class Cluster:
    """One cluster by name; commands by `cli`, quick looks by the API."""

    def __init__(self, name: str = "netpod") -> None:
        self.name = name
        self.paths = Paths(name)

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Ask the API server over a connection of its own."""
        client = BlockingClient(self.paths.api_socket, timeout=10)
        try:
            return client.request(method, path, **options)
        finally:
            client.close()

    def cli(self, *argv: str, stdin: str = "", timeout: float = 60, **env: str) -> Result:
        return call(*NETPOD, "--cluster", self.name, *argv, stdin=stdin, timeout=timeout, env=env)

    def ok(self, *argv: str, stdin: str = "", timeout: float = 60, **env: str) -> Result:
        """Run a command that must succeed."""
        result = self.cli(*argv, stdin=stdin, timeout=timeout, **env)
        assert result.code == 0, f"netpod {' '.join(argv)}: {result}"
        return result

    def get(self, path: str, **query: str) -> Any:
        return self.request("GET", path, query=query)

    def try_get(self, path: str, **query: str) -> Any:
        """None while the API server does not answer or there is no such object."""
        try:
            return self.get(path, **query)
        except ApiError:
            return None

    def patch(self, path: str, body: Any) -> Any:
        return self.request(
            "PATCH", path, body=body, content_type="application/strategic-merge-patch+json"
        )

    def pods(self, selector: str = "app=example", namespace: str = "default") -> list[Any]:
        """Pods that are not being deleted."""
        found = self.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=selector)["items"]
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def ready_pods(self, selector: str = "app=example", namespace: str = "default") -> list[Any]:
        return [pod for pod in self.pods(selector, namespace) if is_ready(pod)]

    def container_ids(self, selector: str = "app=example") -> dict[str, str]:
        """Container id by pod name."""
        return {
            pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["containerID"]
            for pod in self.ready_pods(selector)
        }

    def endpoints(self, service: str = "example-service") -> list[str]:
        """Addresses of the ready endpoints of a Service."""
        slices = self.get(
            "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
            labelSelector=f"kubernetes.io/service-name={service}",
        )["items"]
        entries = [entry for item in slices for entry in item.get("endpoints") or ()]
        return sorted(e["addresses"][0] for e in entries if e["conditions"].get("ready"))

    def node_ready(self, node: str) -> str:
        """Status of the node's Ready condition: True, False, Unknown."""
        found = self.get(f"/api/v1/nodes/{node}")["status"].get("conditions", ())
        return next((str(c["status"]) for c in found if c["type"] == "Ready"), "")

    def deploy_example(self) -> None:
        self.ok("apply", "-f", str(EXAMPLE))
        self.ok("wait", "--for=condition=Available", "deployment/example-app")
        wait.until(lambda: len(self.endpoints()) == 3, "three endpoints")
        wait.until(lambda: self.answers(), "the ingress answers 200")

    def answers(self, path: str = "/") -> bool:
        return self.curl(f"http://example.com{path}").stdout.endswith("200")

    def curl(self, url: str, *argv: str, origin: str = "outside") -> Result:
        """Run `netpod curl` and have the status code at the end of its output."""
        return self.cli("curl", "--from", origin, url, "-m", "5", "-w", "%{http_code}", *argv)

    def holder(self, kind: str, node: str = "") -> int:
        """Pid of a role's process; 0 when it is down."""
        return role.holder(self.paths, Role(kind, node))

    def kill(self, kind: str, node: str = "", number: int = signal.SIGKILL) -> int:
        """Send a signal to a role's process and return its pid."""
        pid = wait.until(lambda: self.holder(kind, node), f"{kind} {node} runs")
        os.kill(pid, number)
        return pid

    def replaced(self, kind: str, node: str, old: int, timeout: float = 10) -> int:
        """Wait until a role has another process than `old`."""
        return wait.until(
            lambda: (pid := self.holder(kind, node)) != old and pid,
            f"{kind} {node} is started again",
            timeout,
        )

    def find(self, *words: str) -> list[int]:
        """Pids of the cluster's processes whose command line has all words."""
        found = host.processes(of=self.name)
        return [pid for pid, argv in found.items() if all(word in argv for word in words)]


def is_ready(pod: Any) -> bool:
    found = pod["status"].get("conditions", ())
    return any(c["type"] == "Ready" and c["status"] == "True" for c in found)


@contextmanager
def running(
    name: str,
    *options: str,
    example: bool = True,
    session: str = "",
    check_leaks: bool = True,
    timeout: float = 60,
) -> Iterator[Cluster]:
    """Have a cluster for one test or module, and prove afterwards that nothing of it is left.

    Args:
        name: Its name.
        options: Of `netpod up`.
        example: Whether to apply the example and wait for it.
        session: Another cluster that is up meanwhile, whose doings are not looked at.
        check_leaks: Whether the machine must be as before.
        timeout: Seconds that `netpod up` may take.
    """
    before = host.snapshot(but=session)
    cluster = Cluster(name)
    try:
        cluster.ok("up", *options, timeout=timeout)
        if example:
            cluster.deploy_example()
        yield cluster
    finally:
        cluster.cli("cleanup")
    if check_leaks:
        host.assert_same(before, settled(session, before))
        assert not host.cgroups(name)


def settled(but: str, wanted: Mapping[str, str]) -> dict[str, str]:
    """Return a snapshot, after giving the kernel a moment to end what was killed."""
    found: list[dict[str, str]] = []

    def same() -> bool:
        found[:] = [host.snapshot(but=but)]
        return found[0] == wanted

    _try(same)
    return found[0]


def _try(fact: Callable[[], bool]) -> None:
    for _ in range(20):
        if fact():
            return
        wait.pause(0.05)

"""Kills at random under a rolling update, with clients that do not stop: what must hold, holds."""

import contextlib
import os
import random
import signal
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from netpod.errors import ApiError, NetpodError
from netpod.linux import link, netns
from tests.support import cluster as clusters
from tests.support import traffic, wait
from tests.support.cluster import APPS, Cluster

SEED = int(os.environ.get("NETPOD_CRASH_SEED", "20250711"))
"""Another one is another run: NETPOD_CRASH_SEED=1."""
OPTIONS = os.environ.get("NETPOD_CRASH_OPTIONS", "").split()
"""Of `netpod up`, for instance --ip-family dual."""
PROGRAM = os.environ.get("NETPOD_CRASH_PROGRAM", "") == "1"
"""Whether the pods run a program of this machine, and not the built-in one."""
KILLS = 30
REPLICAS = 6
SECONDS = 60
DEPLOYMENT = f"{APPS}/default/deployments/example-app"
CONFIG_MAPS = "/api/v1/namespaces/default/configmaps"
NODES = ("control-plane", "worker", "worker2")
_SERVER = {
    "name": "web",
    "image": "netpod.dev/host",
    "command": ["sh", "-c", "cd /tmp; hostname > hostname; exec python3 -m http.server 8080"],
    "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8080}, "periodSeconds": 1},
    "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
}


@pytest.fixture(scope="module")
def target() -> Iterator[Cluster]:
    """A cluster of its own; six pods, none of which may be missing while they are replaced."""
    with clusters.running("target", "--no-publish", *OPTIONS, session="netpod") as cluster:
        rolling = {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 2}}
        cluster.patch(DEPLOYMENT, {"spec": {"replicas": REPLICAS, "strategy": rolling}})
        if PROGRAM:
            cluster.patch(DEPLOYMENT, {"spec": {"template": {"spec": {"containers": [_SERVER]}}}})
        wait.until(lambda: len(cluster.endpoints()) == REPLICAS, "six endpoints", SECONDS)
        yield cluster


def test_a_rolling_update_without_kills_fails_no_request(target: Cluster) -> None:
    """By the Service's address from a node and by the ingress from outside: every answer is 200."""
    with (
        traffic.load(target.paths.netns_node("worker"), address=_service(target)) as direct,
        traffic.load(target.paths.netns_outside) as through_ingress,
    ):
        for seen in (direct, through_ingress):
            seen.more(20)
        _change(target, 0)
        wait.until(lambda: _rolled(target, 0), "the new template is everywhere", SECONDS)
        for seen in (direct, through_ingress):
            seen.more(20)
    direct.clean()
    through_ingress.clean()


def test_kills_at_random_times_lose_nothing(target: Cluster) -> None:
    """Nothing acknowledged is lost, no pod runs twice, no address is used twice, and nothing is left over."""
    chance = random.Random(SEED)
    watch, killed = _Watch(target), 0
    with (
        traffic.load(target.paths.netns_node("worker"), address=_service(target)) as seen,
        _repeated(watch.look),
        _repeated(watch.write),
    ):
        for number in range(KILLS):
            if number % 5 == 0:
                with contextlib.suppress(ApiError):
                    _change(target, number)
            # Only when all that guard a supervisor die before it is back, nobody is left to start one.
            wait.until(lambda: _guarded(target), "a supervisor and a guard are back", SECONDS)
            killed += _kill(target, chance)
            wait.pause(chance.uniform(0.1, 0.6))
        last = KILLS
        wait.until(lambda: _try(_change, target, last), "the API takes the last template", SECONDS)
        wait.until(lambda: _rolled(target, last), "the last template is everywhere", SECONDS * 2)
        # The client's own node may have been the last to die: it reads what changed when it is back.
        wait.until(lambda: _led(target, "worker"), "its rules lead to the pods there are", SECONDS)
        seen.more(2)  # the first may have been on its way for long
        after = len(seen.failures)
        seen.more(50)
        assert len(seen.failures) == after, seen.failures[after:]
    assert seen.answers.total() > len(seen.failures), seen.failures[:5]
    assert killed > KILLS / 2
    assert not watch.wrong, watch.wrong[:5]
    kept = {it["metadata"]["name"] for it in target.get(CONFIG_MAPS)["items"]}
    assert watch.acknowledged
    assert not set(watch.acknowledged) - kept
    wait.until(lambda: not _left_over(target), "nothing is left of pods that went", SECONDS)


class _Watch:
    """Looks at the kernel all the time, and writes objects, remembering what was acknowledged."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self.acknowledged: list[str] = []
        self.wrong: list[str] = []
        self._tried = 0

    def write(self) -> None:
        self._tried += 1
        name = f"kept-{self._tried}"
        body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}
        with contextlib.suppress(ApiError):
            self._cluster.request("POST", CONFIG_MAPS, body=body)
            self.acknowledged.append(name)

    def look(self) -> None:
        # What was on its way out at the first look is gone at the second.
        doubled = self._doubled()
        if doubled:
            wait.pause(0.5)
            self.wrong += sorted(doubled & self._doubled())

    def _doubled(self) -> set[str]:
        """Addresses in two namespaces, pods on two nodes, and pods with more processes than a pod has."""
        where: dict[str, set[str]] = defaultdict(set)
        crowds = _crowds(self._cluster)
        for name in _pod_namespaces(self._cluster):
            with contextlib.suppress(NetpodError):
                for address in link.observe_addresses(name, "eth0"):
                    where[f"address {address}"].add(name)
                pod = name.partition("-default.")[2]
                if pod.startswith("example-app"):
                    where[f"pod {pod}"].add(name)
                    where[f"processes of {name}"] = set(crowds.get(netns.inode(name), [])[2:])
        return {
            f"{what}: {sorted(names)}"
            for what, names in where.items()
            if len(names) > (0 if what.startswith("processes") else 1)
        }


def _crowds(cluster: Cluster) -> dict[int, list[str]]:
    """Living processes of the cluster by the inode of their network namespace."""
    found: dict[int, list[str]] = defaultdict(list)
    for pid in cluster.find():
        with contextlib.suppress(OSError, IndexError):
            with open(f"/proc/{pid}/stat", "rb") as stat:
                state = stat.read().rpartition(b")")[2].split()[0]
            if state not in (b"Z", b"X"):
                found[os.stat(f"/proc/{pid}/ns/net").st_ino].append(str(pid))
    return found


def _pod_namespaces(cluster: Cluster) -> list[str]:
    return [it for it in netns.list_netns(cluster.paths.netns_prefix) if "." in it]


def _left_over(cluster: Cluster) -> list[str]:
    """Namespaces, reservations and processes that belong to no pod there is."""
    pods = cluster.get("/api/v1/pods")["items"]
    names = {
        cluster.paths.netns_pod(
            it["spec"]["nodeName"], it["metadata"]["namespace"], it["metadata"]["name"]
        )
        for it in pods
    }
    uids = {it["metadata"]["uid"] for it in pods}
    found = [f"netns {it}" for it in _pod_namespaces(cluster) if it not in names]
    for node in NODES:
        folder = cluster.paths.node(node) / "networks" / "cni0"
        for entry in folder.iterdir():
            if entry.is_symlink() and os.readlink(entry).rpartition("/")[2] not in uids:
                found.append(f"reservation {entry.name}")
    known = {netns.inode(it) for it in netns.list_netns(cluster.paths.netns_prefix)}
    known.add(os.stat("/proc/self/ns/net").st_ino)
    found += [f"processes {pids}" for inode, pids in _crowds(cluster).items() if inode not in known]
    return found


def _guarded(cluster: Cluster) -> bool:
    return bool(cluster.holder("supervisor")) and any(cluster.holder("node", it) for it in NODES)


def _kill(cluster: Cluster, chance: random.Random) -> int:
    """kill -9 of something, whatever state the rest is in; return how many processes that was."""
    kinds = ("node", "shim", "controlplane", "supervisor", "both", "pause", "container")
    kind, node = chance.choice(kinds), chance.choice(NODES)
    if kind == "both":
        pids = [cluster.holder("supervisor"), cluster.holder("controlplane")]
    elif kind in ("pause", "container"):
        found = _inside_pods(cluster, pause=kind == "pause")
        pids = [chance.choice(found)] if found else []
    else:
        pids = [cluster.holder(kind, node if kind in ("node", "shim") else "")]
    killed = 0
    for pid in filter(None, pids):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            killed += 1
    return killed


def _inside_pods(cluster: Cluster, *, pause: bool) -> list[int]:
    crowds = _crowds(cluster)
    pauses = set(cluster.find("catatonit"))
    found = []
    for name in _pod_namespaces(cluster):
        if "-default.example-app" in name:
            with contextlib.suppress(NetpodError):
                found += [int(pid) for pid in crowds.get(netns.inode(name), [])]
    return sorted(pid for pid in found if (pid in pauses) is pause)


def _service(cluster: Cluster) -> str:
    found = cluster.get("/api/v1/namespaces/default/services/example-service")
    return str(found["spec"]["clusterIP"])


def _change(cluster: Cluster, number: int) -> bool:
    """Begin a rolling update."""
    container = {"name": "web", "env": [{"name": "TURN", "value": str(number)}]}
    cluster.patch(DEPLOYMENT, {"spec": {"template": {"spec": {"containers": [container]}}}})
    return True


def _try(function: Callable[..., bool], *arguments: Any) -> bool:
    try:
        return function(*arguments)
    except ApiError:
        return False


def _rolled(cluster: Cluster, number: int) -> bool:
    """Whether the new template is everywhere and all of it is ready, by Deployment, pods and endpoints."""
    deployment = cluster.try_get(DEPLOYMENT)
    if deployment is None:
        return False
    status = deployment["status"]
    counts = {status.get(name, 0) for name in ("replicas", "updatedReplicas", "availableReplicas")}
    current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
    try:
        pods = cluster.pods()
        turns = {it["spec"]["containers"][0]["env"][0]["value"] for it in pods}
        ready = len(cluster.ready_pods()) == len(cluster.endpoints()) == REPLICAS
    except (ApiError, KeyError):
        return False
    return current and counts == {REPLICAS} and turns == {str(number)} and ready


def _led(cluster: Cluster, node: str) -> bool:
    """Whether a node's rules lead to the ready pods and to no other."""
    rules = clusters.call("iptables-save", "-t", "nat", netns=cluster.paths.netns_node(node)).stdout
    mine = [line for line in rules.splitlines() if '"default/example-service"' in line]
    found = {it.partition("--to-destination ")[2] for it in mine if "--to-destination" in it}
    return found == {f"{address}:8080" for address in cluster.endpoints()}


@contextlib.contextmanager
def _repeated(work: Callable[[], None]) -> Iterator[None]:
    """Do something over and over beside the test until the block ends; its failure is the test's."""
    stop = threading.Event()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not stop.wait(0.05):
                work()
        except (AssertionError, LookupError, NetpodError, OSError) as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
    assert not failures, failures

"""Upstream's own components, as vagrant/upstream.sh builds them, run on a cluster that lacks its own."""

import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from netpod.cluster import without
from netpod.linux import process
from tests.support.cluster import Cluster

BIN = Path("/opt/netpod/upstream/bin")
END_SECONDS = 20.0


def why_not(*programs: str) -> str:
    """Why tests with these programs cannot run; "" when they can."""
    missing = [name for name in programs if not (BIN / name).exists()]
    if not missing:
        return ""
    found = f"{', '.join(missing)} not in {BIN}; sudo vagrant/upstream.sh builds them in a quarter of an hour"
    return f"tier upstream did not run: {found}"


def needed(*programs: str) -> pytest.MarkDecorator:
    """For tests of these programs."""
    return pytest.mark.skipif(bool(why_not(*programs)), reason=why_not(*programs))


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A component that runs, and where its log is."""

    name: str
    log: Path
    pidfd: int

    def said(self, pattern: str) -> list[str]:
        """Lines of its log that match."""
        return [line for line in self.log.read_text().splitlines() if re.search(pattern, line)]


@contextmanager
def components(cluster: Cluster, nodes: list[str], *options: str) -> Iterator[list[Component]]:
    """Run all three, kube-proxy on each of the nodes; end them afterwards.

    Args:
        cluster: One that was started without its own.
        nodes: Names of its nodes.
        options: More options for each of them.
    """
    folder = cluster.paths.run / "upstream"
    folder.mkdir(mode=0o700)
    running: list[Component] = []
    try:
        for name, argv, netns in _commands(cluster, nodes):
            log = folder / f"{name}.log"
            fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                pid = process.spawn([*argv, *options], stdout=fd, stderr=fd, netns=netns)
            finally:
                os.close(fd)
            running.append(Component(name=name, log=log, pidfd=os.pidfd_open(pid)))
        yield running
    finally:
        for each in running:
            process.send_signal(each.pidfd, signal.SIGTERM)
        for each in running:
            if not process.wait(each.pidfd, END_SECONDS):
                process.send_signal(each.pidfd, signal.SIGKILL)
                process.wait(each.pidfd, END_SECONDS)
            os.close(each.pidfd)


def _commands(cluster: Cluster, nodes: list[str]) -> Iterator[tuple[str, list[str], str]]:
    """Name, command line and network namespace of each, as docs/components.md has them."""
    paths = cluster.paths
    pki = paths.pki

    def start(component: str, *options: str, delegated: bool = False) -> list[str]:
        file = str(without.kubeconfig(paths, component))
        names = ["kubeconfig"]
        if delegated:
            names += ["authentication-kubeconfig", "authorization-kubeconfig"]
        return [str(BIN / component), *(f"--{it}={file}" for it in names), *options]

    yield without.SCHEDULER, start(without.SCHEDULER, delegated=True), ""
    manager = start(
        without.CONTROLLERS,
        f"--service-account-private-key-file={pki}/sa.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--use-service-account-credentials",
        "--allocate-node-cidrs",
        "--cluster-cidr=10.244.0.0/16",
        "--service-cluster-ip-range=10.96.0.0/16",
        # It makes the folder, which is the machine's by default.
        f"--flex-volume-plugin-dir={paths.run}/upstream/flex",
        delegated=True,
    )
    yield without.CONTROLLERS, manager, ""
    for node in nodes:
        options = (
            f"--hostname-override={node}",
            "--cluster-cidr=10.244.0.0/16",
            "--conntrack-max-per-core=0",
            "--proxy-mode=iptables",
        )
        yield f"kube-proxy-{node}", start(without.KUBE_PROXY, *options), paths.netns_node(node)

"""A cluster's name is part of the folders that are removed whole."""

import os
import signal
import sys
from pathlib import Path

import pytest

from netpod.cluster import cleanup
from netpod.errors import UsageError
from netpod.linux import process
from netpod.paths import MARK

BAD = ["", ".", "..", "/", "../keep", "/run/keep", "a/b", "Upper", "a.b"]


@pytest.mark.parametrize("name", BAD)
def test_cleanup_removes_nothing_for_a_name_no_cluster_has(name: str) -> None:
    """Least of all the folder above."""
    folders = [Path("/run/netpod/other"), Path("/run/keep")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    with pytest.raises(UsageError, match="cannot use cluster name"):
        cleanup.cleanup(name)
    for folder in folders:
        assert folder.is_dir()
        folder.rmdir()


def test_only_what_may_be_a_cluster_is_listed() -> None:
    """`down --all` does not stumble over a folder of somebody else."""
    folders = [Path("/run/netpod/mine"), Path("/run/netpod/Not.Mine")]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    assert "mine" in cleanup.clusters()
    assert "Not.Mine" not in cleanup.clusters()
    for folder in folders:
        folder.rmdir()


@pytest.mark.parametrize(
    ("variable", "argument", "found"),
    [
        (MARK, "", True),
        ("NETPOD_CLUSTER", "", False),
        ("NETPOD_CLUSTER", "netpod.shim.zygote", True),
    ],
)
def test_only_the_clusters_own_processes_are_its_remains(
    variable: str, argument: str, found: bool
) -> None:
    """A script that exports NETPOD_CLUSTER chooses a cluster; an earlier netpod's programs had it for their mark."""
    argv = [sys.executable, "-S", "-c", "import time; time.sleep(60)", argument]
    pid = process.spawn(argv, env={variable: "whose"})
    try:
        assert (f"process {pid}" in cleanup.remains("whose")) == found
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

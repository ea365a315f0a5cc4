"""A cluster's name is part of the folders that are removed whole."""

from pathlib import Path

import pytest

from netpod.cluster import cleanup
from netpod.errors import UsageError

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

"""A fresh node for every test; afterwards nothing of it may be left."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from netpod.kubelet import runtime
from netpod.linux import netns
from netpod.paths import MARK
from tests.kernel.kubelet import lab as labs
from tests.support import wait


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[labs.Lab]:
    """A node that is not started yet."""
    labs.make_node_netns()
    made = labs.Lab(tmp_path)
    yield made
    made.kill("kubelet")
    runtime.shutdown(labs.PATHS.shim_socket(labs.NODE))
    made.kill("shim")
    netns.delete_netns(labs.NETNS)
    shutil.rmtree(labs.PATHS.run, ignore_errors=True)
    assert netns.list_netns(labs.PATHS.netns_prefix) == []
    # What the shim had started beside it ends when it notices that the shim is gone.
    wait.until(lambda: not _marked(), "nothing of the node is left")


def _marked() -> list[str]:
    """Processes that carry the cluster's mark."""
    found = []
    for entry in os.listdir("/proc"):
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if f"{MARK}={labs.CLUSTER}".encode() in file.read().split(b"\0"):
                    found.append(entry)
        except OSError:
            continue
    return found

"""The two commands of the README on a clean userland, as somebody has it who just installed a distribution."""

import os
import shutil
from pathlib import Path

import pytest

from netpod.linux import process

ROOT = Path(__file__).resolve().parents[2]
SUITES = os.environ.get("NETPOD_FRESH", "").split()
WHY = (
    "tier vm did not run: it bootstraps whole distributions, which takes minutes and needs their package "
    "registries; NETPOD_FRESH='bookworm trixie noble' pytest tests/vm runs it"
)


@pytest.mark.skipif(not SUITES, reason=WHY)
@pytest.mark.parametrize("suite", SUITES or ["bookworm"])
def test_demo_runs_on_a_clean_userland(suite: str) -> None:
    """provision.sh installs all that is needed, a second run changes nothing, and the demo delivers its request."""
    assert shutil.which("mmdebstrap"), "the test needs mmdebstrap: apt-get install mmdebstrap"
    argv = [str(ROOT / "vagrant" / "fresh.sh"), suite]
    said = process.run(argv, timeout=1200).stdout.decode()
    assert "libraries: all there" in said
    assert "netpod: up to date" in said
    assert "DELIVERED" in said


@pytest.mark.skipif(
    not shutil.which("vagrant"), reason="tier vm did not run: vagrant is not installed"
)
def test_the_vagrantfile_is_valid(tmp_path: Path) -> None:
    """`vagrant validate` finds nothing wrong, whatever providers are installed."""
    home = {"VAGRANT_HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")}
    env = {**os.environ, "VAGRANT_CWD": str(ROOT), **home}
    process.run(["vagrant", "validate", "--ignore-provider"], env=env, timeout=60)

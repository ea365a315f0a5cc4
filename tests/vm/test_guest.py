"""What this machine's kernel lacks, in a guest that has it: every test that is marked `needs`.

One guest and one pytest for all of them, because both take long to start there.
"""

import re
import sys

import pytest

from tests.support import guest

# Only these are collected there: importing all tests would take longer than running these.
FILES = (
    "tests/cluster/test_ipvs.py",
    "tests/kernel/linux/test_netem.py",
    "tests/kernel/proxy/test_forms.py",
    "tests/kernel/proxy/test_ipvs.py",
    "tests/kernel/proxy/test_ipvs_access.py",
    "tests/kernel/proxy/test_modes.py",
    "tests/kernel/proxy/test_sctp.py",
    "tests/kernel/proxy/test_traffic.py",
    "tests/kernel/proxy/test_truth.py",
)


@guest.needed
def test_what_this_kernel_lacks_works_in_a_guest(capfd: pytest.CaptureFixture[str]) -> None:
    """All pass and none is skipped."""
    argv = ["-q", "-p", "no:cacheprovider", "--color=no", "--tb=short", "-m", "needs"]
    done = guest.run(sys.executable, "-m", "pytest", *argv, *FILES, folder=guest.ROOT)
    said = done.stdout.decode(errors="replace")
    with capfd.disabled():
        print(f"\nin the guest: {said.splitlines()[-1] if said else 'nothing'}")
    assert done.returncode == 0, f"{said[-6000:]}\n{done.stderr.decode(errors='replace')[-4000:]}"
    assert re.search(r"\d+ passed", said), said[-2000:]
    assert "skipped" not in said.splitlines()[-1], said[-2000:]


def test_no_file_is_forgotten() -> None:
    """Of the files of this run, those that have a test marked `needs` are in the list, and the list is of files."""
    assert guest.MARKED <= set(FILES)
    assert all((guest.ROOT / name).exists() for name in FILES)

"""A guest with a kernel of its own, through vagrant/vm.sh."""

import functools
import os
import subprocess  # noqa: TID251 - both streams and the status are looked at
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
VM_SH = ROOT / "vagrant" / "vm.sh"
REQUIRED = "NETPOD_REQUIRE_VM"
"""In the environment of runs in which a missing guest is a failure."""


@functools.cache
def why_not() -> str:
    """Why this machine can start no guest in reasonable time; "" when it can."""
    done = subprocess.run([str(VM_SH), "--which"], capture_output=True, text=True)
    if done.returncode == 0 and done.stdout.strip() != "qemu":
        return ""
    if os.environ.get(REQUIRED):
        return ""  # let the test fail and say so
    lines = done.stderr.splitlines() or ["  an emulated processor would take an hour"]
    return "tier vm did not run: " + "; ".join(line.strip() for line in lines[1:] or lines)


needed = pytest.mark.skipif("NETPOD_VM" in os.environ or bool(why_not()), reason=why_not())
"""For tests that start a guest."""


def command(*argv: str, options: Sequence[str] = ()) -> list[str]:
    """The command line."""
    return [str(VM_SH), "--quiet", "--timeout", "600", *options, "--", *argv]


def run(
    *argv: str, options: Sequence[str] = (), folder: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command in a guest and wait for it."""
    return subprocess.run(command(*argv, options=options), cwd=folder, capture_output=True)


MARKED: set[str] = set()
"""Files, from the checkout on, in which this run collected a test marked `needs`."""


def needs(*features: str) -> pytest.MarkDecorator:
    """For tests of what not every kernel has; see FEATURES. Where it is missing, the tier vm runs them in a guest."""
    return pytest.mark.needs(*features)


FEATURES: dict[str, Callable[[], bool]] = {
    "ip_vs": lambda: Path("/proc/sys/net/ipv4/vs").exists(),
    "netem": lambda: _can("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"),
}
"""Whether this kernel has it; asked in the private network namespace of the tests."""


@functools.cache
def missing(feature: str) -> bool:
    """Whether this kernel lacks a feature."""
    return not FEATURES[feature]()


def _can(*argv: str) -> bool:
    done = subprocess.run(argv, capture_output=True)
    subprocess.run(["tc", "qdisc", "del", "dev", "lo", "root"], capture_output=True)
    return done.returncode == 0

"""The whole run happens in private namespaces: the host cannot be harmed and nothing outlives pytest.

The first pytest re-executes itself once under `unshare` with its own network, mounts and processes, a fresh
/run and a fresh /var/lib. Folders are tiers; each test gets its tier's marker.
"""

import ctypes
import os
import shlex
import shutil
import sys
from pathlib import Path

import pytest

from tests.support import guest

INSIDE = "NETPOD_TEST_INSIDE"
TIERS = ("unit", "kernel", "upstream", "cluster", "vm")
HERE = Path(__file__).parent
ROOT = HERE.parent
ROOT = HERE.parent


def _enter_private_namespaces() -> None:
    """Replace this process by the same pytest in private namespaces.

    The checkout is importable there under its import names, also for the programs that tests start.
    """
    user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    prepare = (
        # Clusters of the machine's would be seen to come and go: their namespaces are mounts that this one inherits.
        "{ umount -a -t nsfs 2>/dev/null || true; } && "
        "mount -t tmpfs tmpfs /run && mount -t tmpfs tmpfs /var/lib && "
        "mkdir -p /run/netns /run/lock /run/source && "
        f"ln -s {shlex.quote(str(ROOT / 'netpod'))} /run/source/netpod && "
        f"ln -s {shlex.quote(str(ROOT / 'cli'))} /run/source/netpod_cli && "
        'ip link set lo up && PYTHONPATH=/run/source exec "$@"'
    )
    argv = ["unshare", *user, "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    argv += ["sh", "-c", prepare, "sh", sys.executable, "-m", "pytest", *sys.argv[1:]]
    os.environ[INSIDE] = "1"
    sys.stdout.flush()
    sys.stderr.flush()
    os.execvp(argv[0], argv)


def pytest_configure(config: pytest.Config) -> None:
    """Move into private namespaces before anything is collected.

    Only the tier that installs distributions stays outside: it needs the machine's network, and brings namespaces of
    its own.
    """
    if os.environ.get(INSIDE) != "1" and not os.environ.get("NETPOD_FRESH"):
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.stop_global_capturing()
        _enter_private_namespaces()
    # Orphans of a killed process must come to us, not to a shell that does not reap.
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
    assert shutil.which("ip"), "the tests need iproute2; run vagrant/test.sh"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark each test with the tier its folder names."""
    for item in items:
        tier = item.path.relative_to(HERE).parts[0]
        if tier in TIERS:
            item.add_marker(getattr(pytest.mark, tier))
        if item.get_closest_marker("needs"):
            guest.MARKED.add(str(item.path.relative_to(ROOT)))
        if "NETPOD_VM" in os.environ:
            continue  # what is missing in a guest is a failure there
        for feature in [it for mark in item.iter_markers("needs") for it in mark.args]:
            if guest.missing(feature):
                where = "tests/vm/test_guest.py runs it in a guest"
                item.add_marker(pytest.mark.skip(f"this kernel has no {feature}: {where}"))

"""The parent of a cluster's processes: imports everything once, forks each role, starts again what dies.

Forked children share the imported modules' memory and start in milliseconds. The supervisor keeps nothing that it
could lose: whether a role is alive it asks the kernel (role.py), so a new supervisor adopts all roles of a killed
one. Who starts a killed supervisor again is the control plane process (guard.py).
"""

import contextlib
import gc
import importlib
import logging
import os
import select
import signal
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from netpod.cluster import config as configuration
from netpod.cluster import role
from netpod.cluster.config import ClusterConfig
from netpod.cluster.role import Role
from netpod.errors import UsageError
from netpod.linux import libc, process

log = logging.getLogger(__name__)
FIRST_PAUSE_SECONDS = 0.05
MAX_PAUSE_SECONDS = 10.0
STABLE_SECONDS = 30.0
_AUTHORITIES = "SSL_CERT_FILE"


class Supervisor:
    """Keeps every role of one cluster alive. Single-threaded: it forks."""

    def __init__(self, config: ClusterConfig) -> None:
        self._config = config
        self._paths = config.paths
        self._watched: dict[int, Role] = {}
        self._started: dict[Role, float] = {}
        self._pauses: dict[Role, float] = {}
        self._wanted: set[Role] = set()
        self._due: dict[Role, float] = {}
        self._news = libc.inotify(config.paths.state, libc.IN_MOVED_TO)

    def run(self) -> NoReturn:
        """Start what is due, watch what runs, forever."""
        poll = select.poll()
        poll.register(self._news, select.POLLIN)
        while True:
            # Before anything is started: what ended may have been told to.
            self._read_configuration()
            moment = time.monotonic()
            for item in [r for r, due in self._due.items() if due <= moment]:
                del self._due[item]
                pidfd = self._ensure(item)
                self._watched[pidfd] = item
                poll.register(pidfd, select.POLLIN)
            pause = min(self._due.values(), default=moment + 3600) - time.monotonic()
            for fd, _ in poll.poll(max(0, int(pause * 1000) + 1)):
                if fd == self._news:
                    os.read(fd, 1 << 16)
                    continue
                poll.unregister(fd)
                os.close(fd)
                self._ended(self._watched.pop(fd))
            _reap()

    def _read_configuration(self) -> None:
        """Follow the list of nodes: start those that were added, end those that shall not run."""
        try:
            self._config = configuration.load(self._config.name)
        except UsageError:
            return  # it is being taken down
        wanted = [] if self._config.stopped else list(role.roles(self._config))
        for item in wanted:
            if item not in self._wanted:
                self._due.setdefault(item, 0.0)
                self._pauses.pop(item, None)
        self._wanted = set(wanted)
        self._due = {item: due for item, due in self._due.items() if item in self._wanted}
        for pidfd, item in self._watched.items():
            if item not in self._wanted:
                process.send_signal(pidfd, signal.SIGKILL)

    def _ended(self, item: Role) -> None:
        if item not in self._wanted:
            log.info("%s ended", item)
            return
        lasted = time.monotonic() - self._started[item]
        pause = self._pauses.get(item, 0.0)
        log.warning("%s ended after %.1f s; starting it again in %.2f s", item, lasted, pause)
        self._due[item] = time.monotonic() + (0 if lasted > STABLE_SECONDS else pause)
        # The first restart is immediate; one that does not last is tried less and less often.
        longer = max(FIRST_PAUSE_SECONDS, pause * 2)
        self._pauses[item] = 0.0 if lasted > STABLE_SECONDS else min(longer, MAX_PAUSE_SECONDS)

    def _ensure(self, item: Role) -> int:
        """Return a pidfd of the role's process, forking one unless it is alive."""
        self._started[item] = time.monotonic()
        for _ in range(100):
            pid = role.holder(self._paths, item)
            if not pid:
                _components(item)  # before the fork, so that it is shared with the next one
                pid = self._fork(item)
            with contextlib.suppress(ProcessLookupError):
                return os.pidfd_open(pid)
        raise RuntimeError(f"{item} dies faster than it can be watched")

    def _fork(self, item: Role) -> int:
        pid = os.fork()
        if pid:
            return pid
        status = 1
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for fd in (self._news, *self._watched):
                os.close(fd)
            _redirect(self._paths.logs / f"{item}.log")
            if role.claim(self._paths, item):
                log.info("starting %s, pid %d", item, os.getpid())
                _components(item).main(self._config, item)
            status = 0
        except BaseException:
            log.exception("%s failed", item)
        finally:
            with contextlib.suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(status)


def _components(item: Role) -> ModuleType:
    """Import everything a role may need, once, before it is forked.

    The control plane's part comes first, and boots while the nodes' part is imported.

    aiohttp loads the machine's certificate authorities when it is imported, 50 ms and 2 MB; ours trusts its own only.
    """
    kind = "controlplane" if item.kind == "controlplane" else "processes"
    name = f"netpod.cluster.{kind}"
    if name in sys.modules:
        return sys.modules[name]
    given = os.environ.get(_AUTHORITIES)
    os.environ[_AUTHORITIES] = os.devnull
    try:
        return importlib.import_module(name)
    finally:
        del os.environ[_AUTHORITIES]
        if given is not None:
            os.environ[_AUTHORITIES] = given
        # Kept out of collections, the shared pages stay shared.
        gc.collect()
        gc.freeze()


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _redirect(path: Path) -> None:
    """Send stdout and stderr to a log file."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.close(fd)


def main(argv: list[str]) -> int:
    """Run the supervisor of the cluster named in argv[1]."""
    logging.basicConfig(
        level=os.environ.get("NETPOD_LOG_LEVEL", "INFO"),
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    config = configuration.load(argv[1])
    if config.stopped or not role.claim(config.paths, role.SUPERVISOR):
        return 0
    # No file system is kept busy by a cluster that was started from it.
    os.chdir("/")
    # A terminal that closes is no reason to end a cluster.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Supervisor(config).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv))

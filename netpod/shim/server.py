"""The shim's loop: one thread, one selector, requests from a unix socket, processes through their pidfds.

No event loop of a library and no second thread: the process forks, and what it forks must find itself whole.
"""

import fcntl
import gc
import logging
import os
import resource
import selectors
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from netpod.api import codec, cri, meta
from netpod.api.cri import Container, ContainerConfig, ExecConfig, Op, Sandbox, SandboxConfig
from netpod.api.runtime import App, Port
from netpod.errors import BadRequest, KernelError, NetpodError, NotFound
from netpod.linux import process
from netpod.paths import MARK
from netpod.shim import cgroups, container, exec, launch, logs, pidfile, records, sandbox
from netpod.shim.connection import Connection
from netpod.shim.standins import StandIns
from netpod.shim.stats import Stats
from netpod.shim.table import Table

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShimConfig:
    """What a shim is for.

    Attributes:
        cluster: Name of the cluster; every process carries it in its environment.
        node: Name of the node.
        socket: Where the kubelet and the CLI ask.
        state: Directory of the records; survives the shim, not the machine.
        apps: Built-in programs by image without tag, e.g. netpod.dev/dns.
        stand_in: What runs for every other one.
    """

    cluster: str
    node: str
    socket: Path
    state: Path
    stand_in: App
    apps: Mapping[str, App] = field(default_factory=dict)


def run(config: ShimConfig) -> None:
    """Serve until SIGTERM or `shutdown`. Containers live on after SIGTERM; the next shim adopts them.

    Raises:
        KernelError: another shim serves this state directory.
    """
    Shim(config).run()


class Shim:
    """Answers requests; see Op."""

    def __init__(self, config: ShimConfig) -> None:
        self._config = config
        self._selector = selectors.DefaultSelector()
        self._table = Table(
            config.state, self._selector, self._report, config.cluster, self._other_pids
        )
        self._stand_ins = StandIns(
            config.stand_in, self._environment({}), self._table.watch, self._table.unwatch
        )
        self._usage = Stats(config.cluster, self._table)
        self._watchers: set[Connection] = set()
        self._execs: dict[Connection, dict[int, int]] = {}
        self._stopping = False
        self._handlers: Mapping[str, Callable[[Connection, dict[str, Any]], None]] = {
            Op.RUN_SANDBOX: self._run_sandbox,
            Op.STOP_SANDBOX: self._stop_sandbox,
            Op.START_CONTAINER: self._start_container,
            Op.SIGNAL: self._signal,
            Op.REMOVE_CONTAINER: self._remove_container,
            Op.LIST: self._list,
            Op.STATS: self._stats,
            Op.WATCH: self._watch,
            Op.EXEC: self._exec,
            Op.SHUTDOWN: self._shutdown,
        }

    def run(self) -> None:
        """Adopt, listen, serve."""
        lock = self._lock()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, 1 << 20)), hard))
        gc.collect()
        gc.freeze()  # collecting what was there before the first fork would unshare it from every child
        wakeup, wakeup_write = socket.socketpair()
        wakeup.setblocking(False)
        wakeup_write.setblocking(False)
        signal.signal(signal.SIGTERM, self._terminate)
        signal.set_wakeup_fd(wakeup_write.fileno())
        self._selector.register(wakeup, selectors.EVENT_READ, lambda: wakeup.recv(64))
        self._table.adopt()
        listener = self._listen()
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._accept(listener))
        while not self._stopping:
            for key, _ in self._selector.select():
                # An earlier handler of this round may have closed this one's descriptor.
                if self._selector.get_map().get(key.fd) is not key:
                    continue
                key.data()
        signal.set_wakeup_fd(-1)
        self._stand_ins.close()
        listener.close()
        os.close(lock)

    def _terminate(self, number: int, frame: object) -> None:
        self._stopping = True

    def _lock(self) -> int:
        self._config.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._config.state / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # Not flock: a container just forked would hold that one on for a moment after our death.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise KernelError(
                f"cannot start shim of {self._config.node}: another one runs",
                errno=error.errno or 0,
            ) from error
        for directory in (records.sandboxes, records.containers):
            directory(self._config.state).mkdir(mode=0o700, exist_ok=True)
        return lock

    def _listen(self) -> socket.socket:
        path = self._config.socket
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(64)
        listener.setblocking(False)
        return listener

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        Connection(sock, self._selector, self._serve, self._closed)

    def _closed(self, connection: Connection) -> None:
        self._watchers.discard(connection)
        for pidfd, pid in self._execs.pop(connection, {}).items():
            process.send_signal(pidfd, signal.SIGKILL)
            _kill_group(pid)

    def _serve(self, connection: Connection, request: dict[str, Any]) -> None:
        handler = self._handlers.get(str(request.get("op")))
        try:
            if handler is None:
                raise BadRequest(f"cannot serve {request.get('op')!r}: no such operation")
            handler(connection, request)
        except (NetpodError, OSError) as error:
            connection.refuse(request, str(error))

    def _report(self, seen: Sandbox | Container) -> None:
        kind = "sandbox" if isinstance(seen, Sandbox) else "container"
        message = {kind: codec.encode(seen)}
        for watcher in list(self._watchers):
            watcher.send(message)

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        return {"PATH": exec.PATH, **env, MARK: self._config.cluster}

    def _run_sandbox(self, connection: Connection, request: dict[str, Any]) -> None:
        config = codec.decode(SandboxConfig, request["config"])
        known = self._table.sandboxes.get(config.id)
        if known is None:
            self._table.free_name(config)
            directory = records.sandboxes(self._config.state) / config.id
            directory.mkdir(mode=0o700, exist_ok=True)
            known = Sandbox(config=config, created_at=meta.micro_timestamp(meta.now()))
            records.write_struct(directory / "config.json", known)
            try:
                pid = sandbox.start(config, self._environment({}))
            except KernelError:
                records.forget(directory)
                raise
            pidfile.write(directory, pid)
            known = replace(known, pid=pid)
            self._table.add_sandbox(known, process.pidfd_open(pid))
        connection.answer(request, codec.encode(known))

    def _stop_sandbox(self, connection: Connection, request: dict[str, Any]) -> None:
        self._table.stop_sandbox(request["sandbox"], lambda: connection.answer(request, {}))

    def _start_container(self, connection: Connection, request: dict[str, Any]) -> None:
        config = codec.decode(ContainerConfig, request["config"])
        if config.id not in self._table.containers:
            self._fork_container(config)
        self._table.when_started(
            config.id, lambda seen: connection.answer(request, codec.encode(seen))
        )

    def _fork_container(self, config: ContainerConfig) -> None:
        pause = self._pause(config.sandbox_id)
        pod = self._table.sandboxes[config.sandbox_id].config
        directory = records.containers(self._config.state) / config.id
        directory.mkdir(mode=0o700, exist_ok=True)
        seen = Container(
            config=config,
            started_at=meta.micro_timestamp(meta.now()),
            unlimited=tuple(cgroups.missing(config.resources)),
        )
        records.write_struct(directory / "config.json", seen)
        fifos = [logs.make_fifo(directory / name) for name in ("log", "err")]
        readers = [reader for reader, _ in fifos]
        outputs = (fifos[0][1], fifos[1][1])
        if config.program is not None:
            try:
                self._launch(seen, directory, readers, outputs)
            finally:
                for writer in outputs:
                    os.close(writer)
            return
        wake, wake_writer = logs.make_fifo(directory / "wake")
        place = container.Place(
            directory=str(directory), pause=pause, outputs=outputs, wake=wake_writer
        )
        try:
            pid = self._start_app(config, pod, place)
        finally:
            for writer in (*outputs, wake_writer):
                os.close(writer)
        seen = replace(seen, pid=pid)
        pidfd = process.pidfd_open(pid)
        cgroups.add(f"{self._config.cluster}/{pod.uid}", config.id, pid, config.resources)
        self._table.add_container(seen, pidfd, readers, wake)

    def _launch(
        self,
        seen: Container,
        directory: Path,
        readers: Sequence[int],
        outputs: tuple[int, int],
    ) -> None:
        found = self._table.sandboxes[seen.config.sandbox_id]
        target = self._table.containers.get(seen.config.target)
        # A built-in container has no processes of its own to show, only the machine's.
        shows = target is not None and target.config.program is not None
        launcher = launch.start(
            replace(seen.config, env=self._environment(seen.config.env)),
            found.config,
            directory=directory,
            pause=found.pid,
            group=f"{self._config.cluster}/{found.config.uid}",
            shm=records.sandboxes(self._config.state) / found.config.id / "shm",
            outputs=outputs,
            target=target.pid if shows and target is not None else 0,
        )
        self._table.add_launch(seen, launcher, process.pidfd_open(launcher), readers)

    def _start_app(
        self, config: ContainerConfig, pod: SandboxConfig, place: container.Place
    ) -> int:
        """Fork a built-in container: a stand-in by its zygote, as soon as there is one, anything else here."""
        facts = {
            "cluster": self._config.cluster,
            "node": self._config.node,
            "namespace": pod.namespace,
            "pod": pod.name,
            "uid": pod.uid,
            "container": config.name,
            "pod_ip": config.pod_ip,
            "args": config.args,
            "env": self._environment(config.env),
        }
        ports = [(port.container_port, port.name, port.protocol) for port in config.ports]
        app = self._app(config.app)
        if app is self._config.stand_in and not pod.share_pid:
            pid = self._stand_ins.start({**facts, "ports": ports}, place, self._table.pids)
            if pid is not None:
                return pid
        known = {**facts, "ports": tuple(Port(*it) for it in ports)}
        return container.start(app, known, place, share_pid=pod.share_pid)

    def _other_pids(self) -> set[int]:
        execs = {pid for running in self._execs.values() for pid in running.values()}
        return execs | {self._stand_ins.pid}

    def _app(self, name: str) -> App:
        if name == cri.COMPLETES:
            return container.complete
        return self._config.apps.get(name, self._config.stand_in)

    def _pause(self, name: str) -> int:
        pidfd = self._table.pidfds.get(name)
        if pidfd is None:
            raise NotFound(f"cannot enter sandbox {name[:12]}: it is not running")
        return pidfd

    def _signal(self, connection: Connection, request: dict[str, Any]) -> None:
        self._table.signal(request["container"], int(request["signal"]))
        connection.answer(request, {})

    def _remove_container(self, connection: Connection, request: dict[str, Any]) -> None:
        self._table.remove_container(request["container"])
        connection.answer(request, {})

    def _list(self, connection: Connection, request: dict[str, Any]) -> None:
        connection.answer(request, self._all())

    def _stats(self, connection: Connection, request: dict[str, Any]) -> None:
        rows = [
            (seen.id, seen.cpu, seen.memory, seen.resident, seen.processes)
            for seen in self._usage.read()
        ]
        connection.answer(request, {"containers": rows})

    def _watch(self, connection: Connection, request: dict[str, Any]) -> None:
        connection.answer(request, self._all())
        self._watchers.add(connection)

    def _all(self) -> dict[str, Any]:
        return {
            "sandboxes": [codec.encode(seen) for seen in self._table.sandboxes.values()],
            "containers": [codec.encode(seen) for seen in self._table.containers.values()],
        }

    def _exec(self, connection: Connection, request: dict[str, Any]) -> None:
        fds = connection.take_fds()
        try:
            config = codec.decode(ExecConfig, request["config"])
            if len(fds) < 3 or not config.argv:
                raise BadRequest("cannot exec: it takes a program and three file descriptors")
            pid = exec.start(
                config.argv,
                self._environment(config.env),
                place=self._place(config),
                streams=fds,
                tty=config.tty,
            )
        finally:
            for fd in fds:
                os.close(fd)
        pidfd = process.pidfd_open(pid)
        self._execs.setdefault(connection, {})[pidfd] = pid

        def ended() -> None:
            self._table.unwatch(pidfd)
            os.close(pidfd)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            self._execs.get(connection, {}).pop(pidfd, None)
            connection.answer(request, {"exitCode": code if code >= 0 else 128 - code})

        self._table.watch(pidfd, ended)

    def _place(self, config: ExecConfig) -> exec.Place:
        name = config.sandbox_id
        inside = self._table.containers.get(config.container_id)
        if inside is not None:
            name = inside.config.sandbox_id
        pause = self._pause(name)
        pod = self._table.sandboxes[name].config
        if inside is not None and inside.config.program is not None:
            pidfd = self._table.pidfds.get(inside.config.id)
            if pidfd is None:
                raise NotFound(f"cannot enter container {inside.config.name}: it is not running")
            return exec.Place(pidfd=pidfd, program=inside.config.program, other_pids=True)
        etc = Path(pod.etc) if pod.etc else None
        return exec.Place(pidfd=pause, etc=etc, other_pids=pod.share_pid)

    def _shutdown(self, connection: Connection, request: dict[str, Any]) -> None:
        waiting = set(self._table.sandboxes)

        def done(name: str) -> None:
            waiting.discard(name)
            if not waiting:
                self._stand_ins.close()
                connection.answer(request, {})
                self._stopping = True

        for name in list(waiting):
            self._table.stop_sandbox(name, lambda name=name: done(name))  # type: ignore[misc]
        if not waiting and not self._stopping:
            done("")


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except ProcessLookupError:
        return

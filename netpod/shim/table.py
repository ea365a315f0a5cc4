"""The sandboxes and containers of one shim: started, adopted, followed to their end, forgotten.

Everything here runs in the shim's only thread. A process is followed by its pidfd, so that a child and an adopted
process are the same but for one thing: the exit code of somebody else's child cannot be had.
"""

import contextlib
import logging
import os
import selectors
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from netpod.api import meta
from netpod.api.cri import CANNOT_START, Container, Sandbox, SandboxConfig, State
from netpod.errors import KernelError
from netpod.linux import libc, netns
from netpod.shim import cgroups, ends, launch, logs, pidfile, records, sandbox

log = logging.getLogger(__name__)


class Table:
    """All sandboxes and containers by id.

    Args:
        state: Directory of the records.
        selector: The shim's loop; its data are callables without arguments.
        changed: Told of each sandbox or container that is new, became ready or ended.
        cluster: Its name.
        others: Children of this process that somebody else waits for.
    """

    def __init__(
        self,
        state: Path,
        selector: selectors.BaseSelector,
        changed: Callable[[Sandbox | Container], None],
        cluster: str = "",
        others: Callable[[], set[int]] = set,
    ) -> None:
        self._cluster = cluster
        self.others = others
        self.state = state
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self.pidfds: dict[str, int] = {}
        self._logs: dict[str, tuple[logs.Log, ...]] = {}
        self._files: dict[str, logs.File] = {}
        self._launchers: dict[str, tuple[int, int]] = {}
        self._started: dict[str, list[Callable[[Container], None]]] = {}
        self._wakes: dict[str, int] = {}
        self._selector = selector
        self._changed = changed
        self._gone: dict[str, list[Callable[[], None]]] = {}

    def adopt(self) -> None:
        """Take over what an earlier shim left; finish what it was killed in the middle of."""
        for directory in records.entries(records.sandboxes(self.state)):
            found = records.read_struct(directory / "config.json", Sandbox)
            process = pidfile.read(directory)
            if found is None or process is None:
                if found is not None:
                    sandbox.kill_strays(found.config)
                records.forget(directory)
                continue
            pidfd = pidfile.open_pidfd(process)
            state = State.EXITED if pidfd is None else State.RUNNING
            self.add_sandbox(replace(found, pid=process.pid, state=state), pidfd)
        for directory in records.entries(records.containers(self.state)):
            self._adopt_container(directory)

    def _adopt_container(self, directory: Path) -> None:
        ended = records.read_struct(directory / "exit.json", Container)
        if ended is not None:
            self.containers[ended.config.id] = ended
            return
        found = records.read_struct(directory / "config.json", Container)
        if found is not None and found.config.program and not (directory / "started").exists():
            self._adopt_launch(directory, found)
            return
        process = pidfile.read(directory)
        if found is None or process is None:
            records.forget(directory)
            return
        ready = found.config.program is not None or (directory / "ready").exists()
        found = replace(found, pid=process.pid, ready=ready)
        wake = None if found.ready else logs.open_reader(directory / "wake")
        pidfd = pidfile.open_pidfd(process)
        self.add_container(found, pidfd, self._readers(directory), wake)
        if pidfd is None:
            self._container_ended(found.config.id)

    def _readers(self, directory: Path) -> list[int | None]:
        return [logs.open_reader(directory / name) for name in ("log", "err")]

    def _adopt_launch(self, directory: Path, found: Container) -> None:
        """A container on its way up: its launcher goes on without the shim that forked it."""
        process = pidfile.read(directory, "launcher")
        pidfd = pidfile.open_pidfd(process) if process is not None else None
        if process is None or pidfd is None:
            self.containers[found.config.id] = found
            self._launched(found.config.id, 1)
        else:
            self.add_launch(found, process.pid, pidfd, self._readers(directory))

    def add_sandbox(self, seen: Sandbox, pidfd: int | None) -> None:
        """Follow a sandbox."""
        name = seen.config.id
        self.sandboxes[name] = seen
        if pidfd is not None:
            self.pidfds[name] = pidfd
            self.watch(pidfd, lambda: self._sandbox_ended(name))
        self._changed(seen)

    def add_container(
        self, seen: Container, pidfd: int | None, readers: Sequence[int | None], wake: int | None
    ) -> None:
        """Follow a container, what it writes and whether it is ready."""
        name = seen.config.id
        self.containers[name] = seen
        self._follow_output(seen, readers)
        if wake is not None:
            self._wakes[name] = wake
            self.watch(wake, lambda: self._woken(name))
        if pidfd is not None:
            self.pidfds[name] = pidfd
            self.watch(pidfd, lambda: self._container_ended(name))
        self._changed(seen)

    def _follow_output(self, seen: Container, readers: Sequence[int | None]) -> None:
        file = logs.File(Path(seen.config.log))
        self._files[seen.config.id] = file
        streams = zip(readers, ("stdout", "stderr"), strict=True)
        outputs = tuple(logs.Log(fd, file, stream) for fd, stream in streams if fd is not None)
        self._logs[seen.config.id] = outputs
        for output in outputs:
            self.watch(output.fifo, lambda output=output: self._written(output))  # type: ignore[misc]

    def add_launch(
        self, seen: Container, launcher: int, pidfd: int, readers: Sequence[int | None]
    ) -> None:
        """Follow a container that a launcher is starting."""
        name = seen.config.id
        libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 1)  # what the OCI runtime leaves is ours
        self.containers[name] = seen
        self._follow_output(seen, readers)
        self._launchers[name] = (launcher, pidfd)
        self.watch(pidfd, lambda: self._launched(name))

    def when_started(self, name: str, done: Callable[[Container], None]) -> None:
        """Call `done` once a container runs, or never will."""
        if name in self._launchers:
            self._started.setdefault(name, []).append(done)
        else:
            done(self.containers[name])

    def _launched(self, name: str, status: int | None = None) -> None:
        """A launcher ended."""
        launcher = self._launchers.pop(name, None)
        if launcher is not None:
            pid, pidfd = launcher
            self.unwatch(pidfd)
            os.close(pidfd)
            try:
                status = os.waitpid(pid, 0)[1]
            except ChildProcessError:
                status = 0
        directory = records.containers(self.state) / name
        process = pidfile.read(directory)
        if status == 0 and process is not None and (directory / "started").exists():
            seen = replace(
                self.containers[name],
                pid=process.pid,
                ready=True,
                started_at=meta.micro_timestamp(meta.now()),
            )
            records.write_struct(directory / "config.json", seen)
            self.containers[name] = seen
            own = ends.open_pidfd(process.pid)
            if own is not None:
                self.pidfds[name] = own
                self.watch(own, lambda: self._container_ended(name))
            self._changed(seen)
            if own is None:
                self._container_ended(name)
        else:
            ends.kill_unfinished(directory)
            self._end(
                name,
                exit_code=CANNOT_START,
                reason="StartError",
                message=launch.failure(directory),
            )
        if not self._launchers:
            libc.prctl(libc.PR_SET_CHILD_SUBREAPER, 0)
        self._sweep()
        for done in self._started.pop(name, []):
            done(self.containers.get(name, Container()))

    def _sweep(self) -> None:
        """Reap what containers of OCI runtimes left to us: children that nobody waits for.

        Not while a container is being started: its first process may have ended already, and it is not known yet.
        """
        if self._launchers:
            return
        for pid in ends.children() - self.pids() - self.others():
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)

    def pids(self) -> set[int]:
        """First processes of all sandboxes and containers."""
        containers = {seen.pid for seen in self.containers.values()}
        return containers | {seen.pid for seen in self.sandboxes.values()}

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `fd` is readable."""
        self._selector.register(fd, selectors.EVENT_READ, handler)

    def unwatch(self, fd: int) -> None:
        """Stop watching; a descriptor that was not watched is fine."""
        try:
            self._selector.unregister(fd)
        except KeyError:
            return

    def signal(self, container: str, number: int) -> None:
        """Signal a container: SIGKILL its whole session's process group, others its first process."""
        launcher = self._launchers.get(container)
        if launcher is not None and number == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(launcher[0], number)
                signal.pidfd_send_signal(launcher[1], number)
        pidfd = self.pidfds.get(container)
        if pidfd is None:
            return
        try:
            signal.pidfd_send_signal(pidfd, number)
            if number == signal.SIGKILL:
                os.killpg(self.containers[container].pid, number)
        except ProcessLookupError:
            return

    def stop_sandbox(self, name: str, done: Callable[[], None]) -> None:
        """Kill a sandbox and all in it; call `done` when nothing of it is left. Absent: at once."""
        if name not in self.sandboxes:
            done()
            return
        self._gone.setdefault(name, []).append(done)
        for container in self.inside(name):
            self.signal(container.config.id, signal.SIGKILL)
        pidfd = self.pidfds.get(name)
        if pidfd is not None:
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        self._finish(name)

    def inside(self, name: str) -> list[Container]:
        """Return the containers of a sandbox."""
        return [found for found in self.containers.values() if found.config.sandbox_id == name]

    def remove_container(self, name: str) -> None:
        """Forget a container that has ended.

        Raises:
            KernelError: it is still running.
        """
        if name in self.pidfds or name in self._launchers:
            raise KernelError(f"cannot remove container {name[:12]}: it is running")
        if self.containers.pop(name, None) is not None:
            records.forget(records.containers(self.state) / name)

    def free_name(self, config: SandboxConfig) -> None:
        """Check that no living sandbox has the network namespace's name.

        Raises:
            KernelError: EEXIST, one has.
        """
        for other in self.sandboxes.values():
            same = other.config.netns == config.netns and not other.config.host_network
            if same and not config.host_network:
                raise KernelError(
                    f"cannot create sandbox of {config.namespace}/{config.name}: "
                    f"netns {config.netns} still belongs to pod {other.config.uid}"
                )

    def _sandbox_ended(self, name: str) -> None:
        seen = replace(self.sandboxes[name], state=State.EXITED)
        self._release(name, seen.pid)
        self.sandboxes[name] = seen
        self._changed(seen)
        self._finish(name)

    def _container_ended(self, name: str) -> None:
        seen = self.containers[name]
        outcome = ends.outcome(self._release(name, seen.pid))
        pod = self.sandboxes.get(seen.config.sandbox_id, Sandbox()).config.uid
        if seen.config.resources is not None:
            if seen.config.resources.memory and cgroups.oom_killed(f"{self._cluster}/{pod}", name):
                outcome["reason"] = "OOMKilled"
            cgroups.remove(f"{self._cluster}/{pod}", name)
        self._end(name, **outcome)
        if seen.config.program is not None:
            self._sweep()

    def _end(self, name: str, **outcome: Any) -> None:
        """Remember how a container ended, and tell."""
        for output in self._logs.pop(name, ()):
            self.unwatch(output.fifo)
            output.finish()
        file = self._files.pop(name, None)
        if file is not None:
            file.close()
        self._close_wake(name)
        directory = records.containers(self.state) / name
        seen = replace(
            self.containers[name],
            state=State.EXITED,
            finished_at=meta.micro_timestamp(meta.now()),
            ready=False,
            **outcome,
        )
        if not seen.message:
            seen = replace(seen, message=ends.last_words(seen, directory))
        self.containers[name] = seen
        records.write_struct(directory / "exit.json", seen)
        records.drop_files(directory)
        self._changed(seen)
        self._finish(seen.config.sandbox_id)

    def _release(self, name: str, pid: int) -> int | None:
        """Kill what is left of the process's group, reap it, and return its wait status if it was our child."""
        pidfd = self.pidfds.pop(name, None)
        if pidfd is None:
            return None
        self.unwatch(pidfd)
        os.close(pidfd)
        try:
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            ends.kill_group_of_dead(pid)
            return None
        # Until it is reaped nobody else can have its number, so the group is still its own.
        try:
            os.killpg(pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        return os.waitpid(pid, 0)[1]

    def _finish(self, name: str) -> None:
        """When a sandbox that is to go has nothing running any more, forget it."""
        if name not in self._gone or name in self.pidfds:
            return
        inside = self.inside(name)
        if any(self._lives(found.config.id) for found in inside):
            return
        for found in inside:
            self.remove_container(found.config.id)
        config = self.sandboxes.pop(name).config
        if not config.host_network:
            netns.delete_netns(config.netns)
        cgroups.remove(f"{self._cluster}/{config.uid}")
        records.forget(records.sandboxes(self.state) / name)
        for done in self._gone.pop(name):
            done()

    def _lives(self, name: str) -> bool:
        return name in self.pidfds or name in self._launchers

    def _written(self, output: logs.Log) -> None:
        if not output.pump():
            self.unwatch(output.fifo)

    def _woken(self, name: str) -> None:
        self._close_wake(name)
        directory = records.containers(self.state) / name
        if (directory / "ready").exists():
            self.containers[name] = replace(self.containers[name], ready=True)
            self._changed(self.containers[name])

    def _close_wake(self, name: str) -> None:
        wake = self._wakes.pop(name, None)
        if wake is not None:
            self.unwatch(wake)
            os.close(wake)

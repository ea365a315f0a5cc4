"""The sandboxes and containers of one shim: started, adopted, followed to their end, forgotten.

Everything here runs in the shim's only thread. A process is followed by its pidfd, so that a child and an adopted
process are the same but for one thing: the exit code of somebody else's child cannot be had.
"""

import logging
import os
import selectors
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from netpod.api import meta
from netpod.api.cri import UNKNOWN_EXIT, Container, Sandbox, SandboxConfig, State
from netpod.errors import KernelError
from netpod.linux import netns
from netpod.shim import logs, records, sandbox

log = logging.getLogger(__name__)


class Table:
    """All sandboxes and containers by id.

    Args:
        state: Directory of the records.
        selector: The shim's loop; its data are callables without arguments.
        changed: Told of each sandbox or container that is new, became ready or ended.
    """

    def __init__(
        self,
        state: Path,
        selector: selectors.BaseSelector,
        changed: Callable[[Sandbox | Container], None],
    ) -> None:
        self.state = state
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Container] = {}
        self.pidfds: dict[str, int] = {}
        self._logs: dict[str, logs.Log] = {}
        self._wakes: dict[str, int] = {}
        self._selector = selector
        self._changed = changed
        self._gone: dict[str, list[Callable[[], None]]] = {}

    def adopt(self) -> None:
        """Take over what an earlier shim left; finish what it was killed in the middle of."""
        for directory in records.entries(records.sandboxes(self.state)):
            found = records.read_struct(directory / "config.json", Sandbox)
            process = records.read_process(directory)
            if found is None or process is None:
                if found is not None:
                    sandbox.kill_strays(found.config)
                records.forget(directory)
                continue
            pidfd = records.open_pidfd(process)
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
        process = records.read_process(directory)
        if found is None or process is None:
            records.forget(directory)
            return
        found = replace(found, pid=process.pid, ready=(directory / "ready").exists())
        reader = logs.open_reader(directory / "log")
        wake = None if found.ready else logs.open_reader(directory / "wake")
        pidfd = records.open_pidfd(process)
        self.add_container(found, pidfd, reader, wake)
        if pidfd is None:
            self._container_ended(found.config.id)

    def add_sandbox(self, seen: Sandbox, pidfd: int | None) -> None:
        """Follow a sandbox."""
        name = seen.config.id
        self.sandboxes[name] = seen
        if pidfd is not None:
            self.pidfds[name] = pidfd
            self.watch(pidfd, lambda: self._sandbox_ended(name))
        self._changed(seen)

    def add_container(
        self, seen: Container, pidfd: int | None, reader: int | None, wake: int | None
    ) -> None:
        """Follow a container, what it writes and whether it is ready."""
        name = seen.config.id
        self.containers[name] = seen
        if reader is not None:
            output = logs.Log(reader, Path(seen.config.log))
            self._logs[name] = output
            self.watch(reader, lambda: self._written(output))
        if wake is not None:
            self._wakes[name] = wake
            self.watch(wake, lambda: self._woken(name))
        if pidfd is not None:
            self.pidfds[name] = pidfd
            self.watch(pidfd, lambda: self._container_ended(name))
        self._changed(seen)

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
        if name in self.pidfds:
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
        status = self._release(name, seen.pid)
        output = self._logs.pop(name, None)
        if output is not None:
            self.unwatch(output.fifo)
            output.finish()
        self._close_wake(name)
        seen = replace(
            seen, state=State.EXITED, finished_at=meta.micro_timestamp(meta.now()), ready=False
        )
        self.containers[name] = seen = replace(seen, **_outcome(status))
        directory = records.containers(self.state) / name
        records.write_struct(directory / "exit.json", seen)
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
            _kill_group_of_dead(pid)
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
        if any(found.config.id in self.pidfds for found in inside):
            return
        for found in inside:
            self.remove_container(found.config.id)
        config = self.sandboxes.pop(name).config
        if not config.host_network:
            netns.delete_netns(config.netns)
        records.forget(records.sandboxes(self.state) / name)
        for done in self._gone.pop(name):
            done()

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


def _outcome(status: int | None) -> dict[str, Any]:
    """Exit code, signal and reason of a wait status. Source: kubelet and containerd, 128 + signal."""
    if status is None:
        return {"exit_code": UNKNOWN_EXIT, "reason": "ContainerStatusUnknown"}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return {"exit_code": 128 + number, "signal": number, "reason": "Error"}
    code = os.WEXITSTATUS(status)
    return {"exit_code": code, "reason": "Error" if code else "Completed"}


def _kill_group_of_dead(pid: int) -> None:
    """Kill the group of an adopted process that ended; its number is not reused while the group has members."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        pass
    else:
        if not _is_zombie(pid):
            return  # somebody else has the number by now, so the group was empty
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _is_zombie(pid: int) -> bool:
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return True
    return text[text.rindex(b")") + 2 :][:1] in (b"Z", b"X")

"""How containers end: exit codes, last words, and what must be killed after them."""

import contextlib
import os
import signal
import threading
from pathlib import Path
from typing import Any

from netpod.api.cri import UNKNOWN_EXIT, Container
from netpod.shim import logs

MESSAGE_LIMIT = 4096
"""Longest message of a container in bytes. Source: kubelet's MaxContainerTerminationMessageLength."""


def children() -> set[int]:
    """Children of the calling thread, those that ended and were not waited for too."""
    try:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text()
    except OSError:
        return set()
    return set(map(int, text.split()))


def open_pidfd(pid: int) -> int | None:
    """Pidfd of a child of ours, also of one that has ended; None for one that somebody else has reaped."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def outcome(status: int | None) -> dict[str, Any]:
    """Exit code, signal and reason of a wait status. Source: kubelet and containerd, 128 + signal."""
    if status is None:
        return {"exit_code": UNKNOWN_EXIT, "reason": "ContainerStatusUnknown"}
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        return {"exit_code": 128 + number, "signal": number, "reason": "Error"}
    code = os.WEXITSTATUS(status)
    return {"exit_code": code, "reason": "Error" if code else "Completed"}


def last_words(seen: Container, directory: Path) -> str:
    """What a container left in its message file, or else, if it failed and asked for it, at the end of its log."""
    program = seen.config.program
    if program is None:
        return ""
    try:
        with (directory / "termination-log").open("rb") as file:
            said = file.read(MESSAGE_LIMIT).decode(errors="replace")
    except OSError:
        said = ""
    if not said and program.message_from_log and seen.exit_code:
        said = logs.tail(Path(seen.config.log))
    return said


def kill_unfinished(directory: Path) -> None:
    """Kill a container that was created and never started; it waits for its runtime to say so."""
    try:
        pid = int((directory / "init").read_text())
        inside = str(directory).encode() in Path(f"/proc/{pid}/mountinfo").read_bytes()
    except (OSError, ValueError):
        return
    if not inside:
        return  # somebody else has the number by now
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def kill_group_of_dead(pid: int) -> None:
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

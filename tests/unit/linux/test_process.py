"""Running programs, telling processes apart, waiting for them."""

import asyncio
import os
import signal
import time
from errno import ENOENT, ESRCH, ETIMEDOUT

import pytest

from netpod.errors import CommandFailed, KernelError, Unsupported
from netpod.linux import pids, process


def test_run_gives_what_the_program_wrote() -> None:
    """Standard input, output and error are bytes; no shell reads the arguments."""
    done = process.run(["sh", "-c", 'cat; echo "$0" >&2', "$HOME"], stdin=b"\x00in")
    assert done == process.Completed(b"\x00in", b"$HOME\n")


def test_a_failing_program_is_named_with_its_status_and_last_words() -> None:
    """The command in the message can be pasted into a shell."""
    with pytest.raises(CommandFailed) as caught:
        process.run(["sh", "-c", "echo one >&2; echo two >&2; exit 7"])
    assert caught.value.status == 7
    assert caught.value.stderr == "one\ntwo\n"
    assert "cannot run sh -c 'echo one" in str(caught.value)
    assert str(caught.value).endswith("exit status 7: two")


def test_a_missing_program_names_its_package() -> None:
    """Unsupported is not retryable: trying again installs nothing."""
    path = os.environ["PATH"]
    sbin = process.SBIN
    os.environ["PATH"] = "/nonexistent"
    process.SBIN = "/nonexistent"
    try:
        with pytest.raises(Unsupported, match="apt-get install nftables"):
            process.run(["nft", "list", "ruleset"])
    finally:
        os.environ["PATH"] = path
        process.SBIN = sbin


def test_a_program_over_its_time_is_killed_and_reaped() -> None:
    """errno says why, so that a caller can tell it from an ordinary failure."""
    with pytest.raises(CommandFailed) as caught:
        process.run(["sleep", "60"], timeout=0.05)
    assert caught.value.errno == ETIMEDOUT
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_a_cancelled_run_leaves_no_process() -> None:
    """Cancelling ends the program before control comes back."""

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(process.arun(["sleep", "60"]))
            await asyncio.sleep(0.05)
            task.cancel()
        assert task.cancelled()

    started = time.monotonic()
    asyncio.run(main())
    assert time.monotonic() - started < 5
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_run_in_a_missing_netns_starts_nothing() -> None:
    """A typing error in a name must not create a namespace."""
    with pytest.raises(KernelError, match="cannot open netns no-such") as caught:
        process.run(["true"], netns="no-such")
    assert caught.value.errno == ENOENT


def test_spawn_hands_over_exactly_the_descriptors_it_was_told() -> None:
    """A descriptor that leaked into a pod's process would hold its socket open for ever."""
    read, write = os.pipe()
    extra_read, extra_write = os.pipe()
    try:
        script = f"ls /proc/$$/fd; echo said > /proc/self/fd/{extra_write}; echo err >&2"
        pid = process.spawn(
            ["sh", "-c", script], stdout=write, stderr=write, pass_fds=[extra_write], session=True
        )
        fd = process.pidfd_open(pid)
        try:
            assert process.wait(fd, 10)
        finally:
            os.close(fd)
        assert process.reap(pid) == 0
        *listed, error = os.read(read, 4096).decode().split()
        assert set(listed) == {"0", "1", "2", str(extra_write)}
        assert error == "err"
        assert os.read(extra_read, 100) == b"said\n"
    finally:
        for number in (read, write, extra_read, extra_write):
            os.close(number)


def test_a_zombie_is_not_alive() -> None:
    """A process that ended but was not yet reaped does no work any more."""
    pid = process.spawn(["sleep", "60"])
    started = pids.start_time(pid)
    fd = process.pidfd_open(pid)
    try:
        assert pids.alive(pid, started)
        assert not pids.alive(pid, started + 1), "a later process of the same number"
        assert not process.signal_process(pid, started + 1, signal.SIGKILL)
        assert process.reap(pid) is None
        assert process.signal_process(pid, started, signal.SIGKILL)
        assert asyncio.run(process.await_exit(fd, 10))
        assert not pids.alive(pid, started)
        assert process.reap(pid) == -signal.SIGKILL
        assert not process.send_signal(fd, signal.SIGTERM)
        assert not process.signal_process(pid, started, signal.SIGTERM)
    finally:
        os.close(fd)
    with pytest.raises(KernelError) as caught:
        pids.start_time(pid)
    assert caught.value.errno == ESRCH


def test_waiting_ends_at_its_deadline() -> None:
    """False means it still runs."""
    fd = process.pidfd_open(os.getpid())
    try:
        assert not process.wait(fd, 0.01)
        assert not asyncio.run(process.await_exit(fd, 0.01))
    finally:
        os.close(fd)


def test_waiting_ends_at_its_deadline_in_a_cancelled_task() -> None:
    """Whoever cleans up after a cancellation gets its answer, not another cancellation."""

    async def cleaning(fd: int, answers: list[bool]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            answers.append(await process.await_exit(fd, 0.01))

    async def check(fd: int) -> list[bool]:
        answers: list[bool] = []
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(cleaning(fd, answers))
            await asyncio.sleep(0)
            task.cancel()
        return answers

    fd = process.pidfd_open(os.getpid())
    try:
        assert asyncio.run(check(fd)) == [False]
    finally:
        os.close(fd)


def test_words_of_programs_become_errno() -> None:
    """iptables and nft give text only; this is the one place that reads it."""
    assert process.errno_in("Could not process rule: No such file or directory") == ENOENT
    assert process.errno_in("No chain/target/match by that name.") == ENOENT
    assert process.errno_in("syntax error") == 0

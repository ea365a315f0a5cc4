"""Namespaces by name, entered by threads."""

import asyncio
import errno
import os
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from netpod.errors import KernelError
from netpod.linux import netns, process, sysctl
from netpod.paths import NETNS_DIR

MakeNetns = Callable[[], str]


def test_ip_netns_sees_what_we_make_and_we_see_what_it_makes(make_netns: MakeNetns) -> None:
    """A namespace is pinned as `ip netns add` pins it."""
    name = make_netns()
    assert name in process.run(["ip", "netns"]).stdout.decode()
    process.run(["ip", "netns", "exec", name, "true"])
    process.run(["ip", "netns", "add", "netpod-test-ip"])
    try:
        assert netns.exists("netpod-test-ip")
        netns.ensure_netns("netpod-test-ip")
    finally:
        netns.delete_netns("netpod-test-ip")
    assert "netpod-test-ip" not in process.run(["ip", "netns"]).stdout.decode()


def test_creating_twice_fails_and_ensuring_twice_keeps_the_namespace(
    make_netns: MakeNetns,
) -> None:
    """`create` owns the name, `ensure_netns` shares it."""
    name = make_netns()
    before = netns.inode(name)
    with pytest.raises(KernelError, match=f"cannot create netns {name}: file exists"):
        netns.create(name)
    netns.ensure_netns(name)
    assert netns.inode(name) == before
    netns.delete_netns(name)
    netns.delete_netns(name)
    assert not netns.exists(name)


def test_a_file_left_by_a_crash_is_replaced(make_netns: MakeNetns) -> None:
    """Killed between making the file and mounting on it, the next start must not stumble."""
    make_netns()  # makes the directory
    (NETNS_DIR / "netpod-test-torn").touch()
    assert not netns.exists("netpod-test-torn")
    assert "netpod-test-torn" in netns.list_netns("netpod-test-")
    netns.ensure_netns("netpod-test-torn")
    assert netns.exists("netpod-test-torn")
    netns.delete_netns("netpod-test-torn")


def test_names_that_cannot_be_are_refused_with_their_errno() -> None:
    """Nothing outside /run/netns is ever touched, however the name looks."""
    for name, number in (("../x", errno.EINVAL), ("..", errno.EINVAL), ("x" * 256, 36)):
        with pytest.raises(KernelError) as caught:
            netns.create(name)
        assert caught.value.errno == number
    with pytest.raises(KernelError) as caught:
        netns.call_in("netpod-test-typo", os.getpid)
    assert caught.value.errno == errno.ENOENT
    assert not netns.exists("netpod-test-typo")


def test_only_the_worker_thread_moves(make_netns: MakeNetns) -> None:
    """The caller, and threads started later, stay where they are; the socket stays where it was made."""
    name = make_netns()
    own = os.stat("/proc/thread-self/ns/net").st_ino

    def where() -> tuple[int, int]:
        return os.stat("/proc/thread-self/ns/net").st_ino, threading.get_ident()

    inside, thread = netns.call_in(name, where)
    assert inside == netns.inode(name) != own
    assert thread != threading.get_ident()
    assert os.stat("/proc/thread-self/ns/net").st_ino == own
    with netns.socket_in(name, socket.AF_INET, socket.SOCK_DGRAM) as found:
        # In a fresh namespace even the loopback is down.
        with pytest.raises(OSError, match="unreachable"):
            found.connect(("127.0.0.1", 9))


def test_a_worker_thread_goes_there_and_back_even_after_an_error(make_netns: MakeNetns) -> None:
    """It saves a thread per call; what it runs next must find it at home."""
    name = make_netns()

    def where() -> int:
        return os.stat("/proc/thread-self/ns/net").st_ino

    def fail() -> None:
        raise ValueError("inside")

    def work() -> list[int]:
        found = [where(), netns.call_in(name, where), where()]
        with pytest.raises(ValueError, match="inside"):
            netns.call_in(name, fail)
        netns.create("netpod-test-made")
        netns.delete_netns("netpod-test-made")
        return [*found, where()]

    with ThreadPoolExecutor(1) as pool:
        home = where()
        assert pool.submit(work).result() == [home, netns.inode(name), home, home]


def test_the_loops_thread_never_moves(make_netns: MakeNetns) -> None:
    """Whichever thread runs an event loop, its other callbacks run there too."""
    name = make_netns()

    async def ask() -> int:
        return netns.call_in(name, threading.get_ident)

    def work() -> bool:
        return asyncio.run(ask()) == threading.get_ident()

    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(work).result()


def test_an_error_inside_reaches_the_caller(make_netns: MakeNetns) -> None:
    """With its own type and text."""
    name = make_netns()

    def fail() -> None:
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"):
        netns.call_in(name, fail)


def test_bind_pins_a_process_namespace_that_outlives_it(make_netns: MakeNetns) -> None:
    """So a pod's namespace can be had by name while its pause process holds it, and after."""
    name = make_netns()
    pid = process.spawn(["sleep", "60"], netns=name)
    fd = process.pidfd_open(pid)
    try:
        netns.bind(pid, "netpod-test-bound")
        assert netns.inode("netpod-test-bound") == netns.inode(name)
        with pytest.raises(KernelError, match="file exists"):
            netns.bind(pid, "netpod-test-bound")
    finally:
        process.send_signal(fd, 9)
        assert process.wait(fd, 5)
        os.close(fd)
        process.reap(pid)
        netns.delete_netns("netpod-test-bound")
    with pytest.raises(KernelError) as caught:
        netns.bind(pid, "netpod-test-gone")
    assert caught.value.errno == errno.ENOENT
    assert not Path(NETNS_DIR, "netpod-test-gone").exists()


def test_sysctls_are_those_of_the_namespace(make_netns: MakeNetns) -> None:
    """/proc/sys/net shows the namespace of the thread that opens the file."""
    one, other = make_netns(), make_netns()
    sysctl.write(one, "net.ipv4.ip_forward", 1)
    sysctl.write(other, "net.ipv4.ip_forward", 0)
    assert sysctl.read(one, "net.ipv4.ip_forward") == "1"
    assert sysctl.read(other, "net.ipv4.ip_forward") == "0"
    with pytest.raises(
        KernelError, match=r"cannot write sysctl net\.ipv4\.nonsense=1 in"
    ) as caught:
        sysctl.write(one, "net.ipv4.nonsense", 1)
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(KernelError) as caught:
        sysctl.write(one, "net.ipv4.ip_forward", "many")
    assert caught.value.errno == errno.EINVAL


def test_programs_run_inside(make_netns: MakeNetns) -> None:
    """The child starts in the namespace of the thread that starts it; no `ip netns exec`."""
    name = make_netns()
    found = process.run(["readlink", "/proc/self/ns/net"], netns=name).stdout.decode().strip()
    assert found == f"net:[{netns.inode(name)}]"

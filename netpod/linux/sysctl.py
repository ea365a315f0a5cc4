"""One read and one write of the kernel's settings, in any network namespace.

What /proc/sys/net shows is decided by the network namespace of the *thread that opens the file*; it stays so for
the open file. Source: kernel Documentation/admin-guide/sysctl/net.rst, net/sysctl_net.c.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from netpod.errors import KernelError
from netpod.linux import netns as namespaces

ROOT = Path("/proc/sys")

NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": 1}
"""Also sets `default`. Without it each link sends neighbour discovery and router solicitations nobody answers."""

IPV6 = {
    "net.ipv6.conf.all.disable_ipv6": 0,
    # Addresses are of use at once: no duplicate address detection. And nobody is asked for a router.
    "net.ipv6.conf.all.accept_dad": 0,
    "net.ipv6.conf.default.accept_dad": 0,
    "net.ipv6.conf.all.accept_ra": 0,
    "net.ipv6.conf.default.accept_ra": 0,
    # A router needs link-local addresses: it asks for neighbours from them.
    "net.ipv6.conf.default.addr_gen_mode": 0,
}
"""For a namespace whose links come later."""

SILENT_PORTS = {"net.ipv6.conf.default.addr_gen_mode": 1}
"""Links made from now on have no link-local address: a bridge's port would only announce it."""


def path(key: str) -> Path:
    """File of a setting: dots part the names; a slash in a link's name stands for its dot, as in sysctl(8)."""
    return ROOT / "/".join(part.replace("/", ".") for part in key.split("."))


def read(netns: str, key: str) -> str:
    """Value of a setting, e.g. `read("", "net.ipv4.ip_forward") == "1"`.

    Raises:
        KernelError: ENOENT, this kernel has no such setting.
    """
    try:
        return namespaces.call_in(netns, path(key).read_text).rstrip("\n")
    except OSError as error:
        raise KernelError(
            f"cannot read sysctl {key}", errno=error.errno or 0, netns=netns
        ) from error


def write(netns: str, key: str, value: str | int) -> None:
    """Set one setting.

    Raises:
        KernelError: ENOENT, this kernel has no such setting; EINVAL, not this value.
    """
    write_all(netns, {key: value})


def write_all(netns: str, values: Mapping[str, str | int]) -> None:
    """Set several settings in their order, entering the namespace once."""
    namespaces.call_in(netns, write_here, values, netns)


def write_here(values: Mapping[str, str | int], netns: str = "") -> None:
    """Set several settings in the calling thread's namespace; `netns` is its name for errors."""
    for key, value in values.items():
        try:
            # One write(2): the kernel parses each on its own.
            fd = os.open(path(key), os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, str(value).encode())
            finally:
                os.close(fd)
        except OSError as error:
            raise KernelError(
                f"cannot write sysctl {key}={value}", errno=error.errno or 0, netns=netns
            ) from error

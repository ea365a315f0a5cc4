"""Worse wires: delay, loss and rate of what a link sends, by the kernel's network emulator.

Sources: tc-netem(8); kernel net/sched/sch_netem.c.
"""

import errno
from dataclasses import dataclass

from pyroute2.netlink.rtnl.tcmsg import tcmsg
from pyroute2.netlink.rtnl.tcmsg.common import time2tick

from netpod.errors import KernelError, Unsupported
from netpod.linux import link, netlink

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
_ROOT = 0xFFFFFFFF
_HANDLE = 0x6E650000
_LIMIT = 1000
_ALL = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class Netem:
    """What is done to each packet.

    Attributes:
        delay: Seconds.
        jitter: Seconds by which the delay varies, either way.
        loss: Part of the packets that is dropped, 0 to 1.
        rate: Bytes per second; 0: no limit.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    rate: int = 0


def apply(netns: str, dev: str, wanted: Netem) -> None:
    """Let a link do this to what it sends; what was set before is replaced.

    Raises:
        KernelError: ENODEV, there is no such link.
        Unsupported: this kernel has no netem.
    """
    options = {
        "delay": time2tick(round(wanted.delay * 1e6)),
        "jitter": time2tick(round(wanted.jitter * 1e6)),
        "limit": _LIMIT,
        "loss": round(wanted.loss * _ALL),
        "gap": 0,
        "duplicate": 0,
        "attrs": [("TCA_NETEM_RATE", {"rate": wanted.rate})] if wanted.rate else [],
    }
    message = _message(netns, dev)
    message["handle"] = _HANDLE
    message["attrs"] = [("TCA_KIND", "netem"), ("TCA_OPTIONS", options)]
    flags = netlink.NLM_F_CREATE | netlink.NLM_F_REPLACE
    try:
        netlink.send(netns, [netlink.encode(message, RTM_NEWQDISC, flags, f"set netem of {dev}")])
    except KernelError as error:
        if error.errno != errno.ENOENT:
            raise
        raise Unsupported(
            f"cannot worsen link {dev}: this kernel has no netem "
            "(modprobe sch_netem, or a kernel with CONFIG_NET_SCH_NETEM)"
        ) from error


def clear(netns: str, dev: str) -> None:
    """Let a link send as it is again; fine when it does."""
    message = _message(netns, dev)
    message["handle"] = _HANDLE
    what = f"clear netem of {dev}"
    # Only a netem of ours has this handle.
    expected = [errno.ENOENT, errno.EINVAL]
    netlink.send(netns, [netlink.encode(message, RTM_DELQDISC, 0, what, expected)])


def observe(netns: str, dev: str) -> bool:
    """Whether a link is worsened."""
    message = tcmsg()
    message["index"] = link.index(netns, dev)
    request = netlink.encode(message, RTM_GETQDISC, netlink.NLM_F_DUMP, "list queues")
    found = netlink.dump(netns, request, tcmsg)
    return any(it["index"] == message["index"] and it["handle"] == _HANDLE for it in found)


def _message(netns: str, dev: str) -> tcmsg:
    message = tcmsg()
    message["index"] = link.index(netns, dev)
    message["parent"] = _ROOT
    return message

"""Short questions to nftables without nft(8), which reads every chain and set of the kernel before it answers.

Sources: kernel uapi linux/netfilter/nf_tables.h, linux/netlink.h.
"""

import socket
import struct
from errno import ENOENT

from netpod.errors import KernelError
from netpod.ip import Family
from netpod.linux import netns as namespaces
from netpod.linux.nftchannel import NETLINK_NETFILTER, answers
from netpod.linux.nftmessage import SUBSYSTEM, message, of_family, text

_ACK, _DUMP = 0x4, 0x300
_NEWRULE, _GETTABLE, _GETCHAIN, _GETRULE = 6, 1, 4, 7
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RECEIVE = 1 << 16
_TIMEOUT = 30.0


def exists(netns: str, table: str, chain: str = "", family: Family = Family.IPV4) -> bool:
    """Whether there is a table of a family, or a chain in it.

    Raises:
        KernelError: the kernel cannot say.
    """
    kind, body = (
        (_GETCHAIN, text(1, table) + text(3, chain)) if chain else (_GETTABLE, text(1, table))
    )
    with _opened(netns) as channel:
        try:
            channel.send(of_family(message(kind, _ACK, body), family))
            failed = answers(channel, 0)
        except OSError as error:
            raise _cannot(error, netns) from error
    if failed and failed != ENOENT:
        raise KernelError("cannot read nftables", errno=failed, netns=netns)
    return not failed


def rule_count(netns: str, table: str, chain: str, family: Family = Family.IPV4) -> int:
    """How many rules a chain of a table has; 0 where there is no such chain.

    Raises:
        KernelError: the kernel cannot say.
    """
    wanted = message(_GETRULE, _DUMP, text(1, table) + text(2, chain))
    with _opened(netns) as channel:
        try:
            channel.send(of_family(wanted, family))
            return _counted(channel)
        except OSError as error:
            raise _cannot(error, netns) from error


def _counted(channel: socket.socket) -> int:
    found = 0
    while True:
        try:
            data = channel.recv(_RECEIVE)
        except InterruptedError:
            continue
        offset = 0
        while offset < len(data):
            length, kind = struct.unpack_from("=IH", data, offset)
            if kind == _NLMSG_DONE:
                return found
            if kind == _NLMSG_ERROR:
                code = -struct.unpack_from("=i", data, offset + 16)[0]
                if code == ENOENT:
                    return 0
                raise OSError(code, "a dump of rules failed")
            found += kind == SUBSYSTEM << 8 | _NEWRULE
            offset += (length + 3) & ~3


def _opened(netns: str) -> socket.socket:
    channel = namespaces.socket_in(netns, socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER)
    channel.settimeout(_TIMEOUT)
    return channel


def _cannot(error: OSError, netns: str) -> KernelError:
    return KernelError("cannot read nftables", errno=error.errno or 0, netns=netns)

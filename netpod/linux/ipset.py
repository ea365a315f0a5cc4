"""ipsets: make, fill, list and destroy the sets of a network namespace.

Types and members are written as ipset(8) prints them: "hash:ip,port family inet hashsize 1024 maxelem 65536",
"10.96.0.1,tcp:80", "10.96.0.1,tcp:80,192.0.2.0/24", "31080". Known are the dimensions ip, port and net, of one family.

Sources: ipset(8); kernel net/netfilter/ipset/ip_set_core.c, uapi linux/netfilter/ipset/ip_set.h.
"""

import errno
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink.nfnetlink import ipset as wire

from netpod.errors import KernelError, Unsupported
from netpod.linux import netlink

NETLINK_NETFILTER = 12
ADVICE = "modprobe ip_set ip_set_hash_ip xt_set, or a kernel with CONFIG_IP_SET"

_SUBSYSTEM = 6 << 8
_PROTOCOL = 6
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_NAMES = {number: name for name, number in _PROTOCOLS.items()}
_CHUNK = 40
"""Members in one message: 64 messages go in one hand-over, which must fit a socket's buffer (208 KiB)."""
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}
_WHOLE = {socket.AF_INET: 32, socket.AF_INET6: 128}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ipset:
    """A set as the kernel has it; `kind` is the type without options, e.g. "hash:ip,port"."""

    kind: str
    family: str
    members: frozenset[str]


def observe(netns: str) -> dict[str, Ipset]:
    """Every set by name.

    Raises:
        Unsupported: this kernel has no sets.
    """
    request = _message(wire.IPSET_CMD_LIST)
    message = netlink.encode(
        request, _SUBSYSTEM | wire.IPSET_CMD_LIST, netlink.NLM_F_DUMP, "list ipsets"
    )
    found: dict[str, Ipset] = {}
    with _socket(netns) as channel:
        for reply in _dump(channel, message):
            name = reply.get_attr("IPSET_ATTR_SETNAME")
            if name is None:
                continue
            # A large set comes in several messages; only the first says its type.
            kind = reply.get_attr("IPSET_ATTR_TYPENAME") or found[name].kind
            number = reply.get_attr("IPSET_ATTR_FAMILY")
            family = "inet6" if number == socket.AF_INET6 else "inet"
            old = found.get(name, Ipset(kind=kind, family=family, members=frozenset()))
            members = frozenset(_members(reply, kind))
            found[name] = Ipset(kind=kind, family=old.family, members=old.members | members)
    return found


def create(netns: str, sets: Mapping[str, str]) -> None:
    """Make sets, `{name: type and options}`; one that is there with the same type and options is fine.

    Raises:
        KernelError: one is there as something else.
        Unsupported: this kernel has no sets, or not of that type.
    """
    with _socket(netns) as channel:
        revisions: dict[str, int] = {}
        messages = []
        for name, definition in sets.items():
            kind, *options = definition.split(" ")
            if kind not in revisions:
                revisions[kind] = _revision(channel, kind)
            messages.append(_create_message(name, kind, options, revisions[kind]))
        channel.send(messages)


def change(
    netns: str,
    sets: Mapping[str, str],
    *,
    add: Mapping[str, Iterable[str]] | None = None,
    remove: Mapping[str, Iterable[str]] | None = None,
) -> None:
    """Add members, then remove others; those that are there, or gone, already are fine.

    Args:
        netns: Where.
        sets: Type by name, as in `create`; sets that are not named elsewhere may be left out.
        add: Members by set.
        remove: Members by set.
    """
    messages = [
        *_change_messages(wire.IPSET_CMD_ADD, sets, add or {}),
        *_change_messages(wire.IPSET_CMD_DEL, sets, remove or {}),
    ]
    if messages:
        with _socket(netns) as channel:
            channel.send(messages)


def destroy(netns: str, names: Iterable[str]) -> None:
    """Destroy sets; absent is fine.

    Raises:
        KernelError: a rule still names one.
    """
    messages = []
    for name in names:
        request = _message(wire.IPSET_CMD_DESTROY, ("IPSET_ATTR_SETNAME", name))
        kind = _SUBSYSTEM | wire.IPSET_CMD_DESTROY
        messages.append(netlink.encode(request, kind, 0, f"destroy ipset {name}", [errno.ENOENT]))
    with _socket(netns) as channel:
        channel.send(messages)


def _socket(netns: str) -> netlink.Socket:
    return netlink.Socket(netns, NETLINK_NETFILTER)


def _message(command: int, *attributes: Any) -> Any:
    message = wire.ipset_msg()
    message["nfgen_family"], message["version"], message["res_id"] = socket.AF_INET, 0, 0
    # Attributes' types depend on it.
    message["header"]["type"] = _SUBSYSTEM | command
    message["attrs"] = [("IPSET_ATTR_PROTOCOL", _PROTOCOL), *attributes]
    return message


def _dump(channel: netlink.Socket, message: netlink.Message) -> list[Any]:
    try:
        return channel.dump(message, wire.ipset_msg)
    except KernelError as error:
        if error.errno != errno.EINVAL:
            raise
        raise Unsupported(f"this kernel has no ipsets ({ADVICE})", netns=channel.netns) from error


def _revision(channel: netlink.Socket, kind: str) -> int:
    """The newest revision of a type that the kernel knows; asking loads its module."""
    request = _message(
        wire.IPSET_CMD_TYPE,
        ("IPSET_ATTR_TYPENAME", kind),
        ("IPSET_ATTR_FAMILY", int(socket.AF_INET)),
    )
    what = f"find ipset type {kind}"
    message = netlink.encode(request, _SUBSYSTEM | wire.IPSET_CMD_TYPE, netlink.NLM_F_ACK, what)
    try:
        (reply,) = _dump(channel, message)
    except Unsupported:
        raise
    except KernelError as error:
        raise Unsupported(
            f"this kernel has no ipsets of type {kind} ({ADVICE})", netns=channel.netns
        ) from error
    return int(reply.get_attr("IPSET_ATTR_REVISION"))


def _create_message(name: str, kind: str, options: list[str], revision: int) -> netlink.Message:
    family = socket.AF_UNSPEC
    data: list[Any] = []
    words = iter(options)
    for option in words:
        value = next(words)
        if option == "family":
            family = _FAMILIES[value]
        elif option == "range":
            first, _, last = value.partition("-")
            data += [("IPSET_ATTR_PORT_FROM", int(first)), ("IPSET_ATTR_PORT_TO", int(last))]
        else:
            data.append((f"IPSET_ATTR_{option.upper()}", int(value)))
    request = _message(
        wire.IPSET_CMD_CREATE,
        ("IPSET_ATTR_SETNAME", name),
        ("IPSET_ATTR_TYPENAME", kind),
        ("IPSET_ATTR_REVISION", revision),
        ("IPSET_ATTR_FAMILY", int(family)),
        ("IPSET_ATTR_DATA", {"attrs": data}),
    )
    return netlink.encode(
        request, _SUBSYSTEM | wire.IPSET_CMD_CREATE, 0, f"create ipset {name} {kind}"
    )


def _change_messages(
    command: int, sets: Mapping[str, str], members: Mapping[str, Iterable[str]]
) -> Iterator[netlink.Message]:
    """Many members in one message; without NLM_F_EXCL those that are so already are no error."""
    verb = "add to" if command == wire.IPSET_CMD_ADD else "remove from"
    for name, wanted in members.items():
        kind = sets[name].split(" ")[0]
        several = list(wanted)
        for start in range(0, len(several), _CHUNK):
            chunk = several[start : start + _CHUNK]
            data = [("IPSET_ATTR_DATA", {"attrs": _encode(member, kind)}) for member in chunk]
            request = _message(
                command,
                ("IPSET_ATTR_SETNAME", name),
                ("IPSET_ATTR_LINENO", start),
                ("IPSET_ATTR_ADT", {"attrs": data}),
            )
            what = f"{verb} ipset {name} {chunk[0]}{' ...' if len(chunk) > 1 else ''}"
            yield netlink.encode(request, _SUBSYSTEM | command, 0, what)


def _encode(member: str, kind: str) -> list[Any]:
    out: list[Any] = []
    addresses = 0
    for dimension, part in zip(kind.partition(":")[2].split(","), member.split(","), strict=True):
        if dimension == "port":
            protocol, colon, number = part.rpartition(":")
            out.append(("IPSET_ATTR_PORT", int(number)))
            if colon:
                out.append(("IPSET_ATTR_PROTO", _PROTOCOLS[protocol]))
            continue
        addresses += 1
        suffix = "" if addresses == 1 else str(addresses)
        address, slash, bits = part.partition("/")
        version = "6" if ":" in address else "4"
        value = {"attrs": [(f"IPSET_ATTR_IPADDR_IPV{version}", address)]}
        out.append((f"IPSET_ATTR_IP{suffix}", value))
        if slash:
            out.append((f"IPSET_ATTR_CIDR{suffix}", int(bits)))
    # Where the kernel stops is told by line.
    out.append(("IPSET_ATTR_CADT_LINENO", 1))
    return out


def _members(reply: Any, kind: str) -> Iterator[str]:
    adt = reply.get_attr("IPSET_ATTR_ADT")
    for data in adt.get_attrs("IPSET_ATTR_DATA") if adt else ():
        found = dict(data["attrs"])
        parts: list[str] = []
        addresses = 0
        for dimension in kind.partition(":")[2].split(","):
            if dimension == "port":
                number = found.get("IPSET_ATTR_PORT", found.get("IPSET_ATTR_PORT_FROM"))
                protocol = _NAMES.get(found.get("IPSET_ATTR_PROTO", 0), "")
                parts.append(f"{protocol}:{number}" if protocol else str(number))
                continue
            addresses += 1
            suffix = "" if addresses == 1 else str(addresses)
            key = f"IPSET_ATTR_IP{suffix}"
            address = dict(found[key if key in found else f"{key}_FROM"]["attrs"])
            text = address.get("IPSET_ATTR_IPADDR_IPV4") or address["IPSET_ATTR_IPADDR_IPV6"]
            bits = found.get(f"IPSET_ATTR_CIDR{suffix}")
            whole = 128 if ":" in text else 32
            parts.append(f"{text}/{bits}" if bits not in (None, whole) else text)
        yield ",".join(parts)

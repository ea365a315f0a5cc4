"""nft commands without nft(8): the few forms that change often, as netlink messages of one transaction.

nft(8) reads every chain and set of the kernel before it does anything: with 20,000 chains that is 100 ms to change
two of them. The kernel needs none of it. `apply` takes the same text as `nft.apply`; a command it does not know makes
it hand nothing over and say so, and the caller asks nft.

Sources: kernel uapi linux/netfilter/nf_tables.h, nfnetlink.h; `nft --debug=netlink` shows a rule's expressions.
"""

import re
import secrets
import socket
import struct

from netpod.errors import KernelError
from netpod.ip import Family
from netpod.linux import nftchannel
from netpod.linux.nftchannel import answers
from netpod.linux.nftmessage import REQUEST, SUBSYSTEM, of_family
from netpod.linux.nftmessage import attribute as _attribute
from netpod.linux.nftmessage import header as _header
from netpod.linux.nftmessage import message as _message
from netpod.linux.nftmessage import nested as _nested
from netpod.linux.nftmessage import number as _number
from netpod.linux.nftmessage import text as _text

_ACK, _CREATE, _APPEND = 0x4, 0x400, 0x800
_BATCH_BEGIN, _BATCH_END = 16, 17
_NEWCHAIN, _DELCHAIN, _NEWRULE, _DELRULE, _NEWSET, _DELSET = 3, 5, 6, 8, 9, 11
_NEWSETELEM, _DELSETELEM = 12, 14
_VERDICTS = {"drop": 0, "jump": -3, "goto": -4, "return": -5}
_PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
_FIELDS = {"ip": {"saddr": 12, "daddr": 16}, "ip6": {"saddr": 8, "daddr": 24}}
_BYTES = {"ip": 4, "ip6": 16}
_ADDRESS_TYPES = {"ipv4_addr": (7, 4), "ipv6_addr": (8, 16)}
_VERDICT_TYPE = 0xFFFFFF00
_RTN_LOCAL = 2
_COMMAND = re.compile(
    r"(add|delete|flush) (chain|rule|element|set) (ip6?) (\S+) (\S+)(?: \{ (.*) \}| (.*))?$"
)
_AFFINITY = re.compile(
    r"type (ipv[46]_addr) ; size (\d+) ; flags dynamic,timeout ; timeout (\d+)s ;$"
)
_ELEMENT = re.compile(r'(\S+(?: \. \S+)*)(?: comment "([^"]*)")?(?: : (.+))?$')
_NUMGEN = re.compile(r"numgen random mod (\d+) vmap \{ (.*) \}$")
MAX_BYTES = 150_000
"""A longer text is nft's: the socket's buffer has an end, and then the time of nft's own start is small."""


class _Unknown(Exception):
    """A command this module has no messages for."""


def apply(netns: str, text: str) -> bool:
    """Carry out nft commands in one transaction, if all of them are of the forms known here.

    Returns:
        False when one is not: nothing was done.

    Raises:
        KernelError: the kernel refused, and changed nothing.
    """
    if len(text) > MAX_BYTES:
        return False
    try:
        messages = encode(text)
    except _Unknown:
        return False
    if messages:
        _send(netns, messages)
    return True


def encode(text: str) -> list[bytes]:
    """Messages of the commands, each with sequence number 0."""
    messages: list[bytes] = []
    sets = 0
    for line in text.splitlines():
        match = _COMMAND.match(line)
        if match is None:
            raise _Unknown(line)
        action, what, ip, table, name, inside, rest = match.groups()
        before = len(messages)
        key = f"{action} {what}"
        head = _text(1, table)
        if key == "add rule" and rest:
            sets += 1
            messages += _rule(head, name, rest, sets)
        elif key == "add chain" and inside is None:
            messages.append(_message(_NEWCHAIN, _CREATE, head + _text(3, name)))
        elif key == "flush chain":
            messages.append(_message(_DELRULE, 0, head + _text(2, name)))
        elif key == "delete chain":
            messages.append(_message(_DELCHAIN, 0, head + _text(3, name)))
        elif key == "delete set":
            messages.append(_message(_DELSET, 0, head + _text(2, name)))
        elif key == "add set" and inside is None and rest is None:
            raise _Unknown(line)
        elif key == "add set":
            messages.append(_affinity(head, name, inside or ""))
        elif key in ("add element", "delete element") and inside:
            messages.append(_element(head, name, inside, add=action == "add"))
        else:
            raise _Unknown(line)
        if ip == "ip6":
            fresh = messages[before:]
            messages[before:] = [of_family(message, Family.IPV6) for message in fresh]
    return messages


def _send(netns: str, messages: list[bytes]) -> None:
    last = len(messages)
    blob = bytearray(_header(_BATCH_BEGIN, REQUEST, 0, SUBSYSTEM, family=0))
    for number, message in enumerate(messages, 1):
        piece = bytearray(message)
        struct.pack_into("=I", piece, 8, number)
        if number == last:
            struct.pack_into("=H", piece, 6, struct.unpack_from("=H", piece, 6)[0] | _ACK)
        blob += piece
    blob += _header(_BATCH_END, REQUEST, last + 1, SUBSYSTEM, family=0)
    try:
        with nftchannel.opened(netns) as channel:
            channel.send(blob)
            failed = answers(channel, last)
            if failed:
                raise KernelError("cannot change nftables", errno=failed, netns=netns)
    except OSError as error:
        number = error.errno or 0
        raise KernelError("cannot change nftables", errno=number, netns=netns) from error


def _rule(head: bytes, chain: str, rule: str, number: int) -> list[bytes]:
    before: list[bytes] = []
    comment = b""
    if rule.endswith('"') and ' comment "' in rule:
        rule, said = rule[:-1].split(' comment "', 1)
        comment = _attribute(7, _userdata(0, said.encode() + b"\0"))
    match = _NUMGEN.match(rule)
    if match:
        before, expressions = _numgen(head, int(match[1]), match[2].split(", "), number)
    else:
        expressions = _expressions(rule.split(" "))
    body = head + _text(2, chain) + _nested(4, *expressions) + comment
    return [*before, _message(_NEWRULE, _CREATE | _APPEND, body)]


def _expressions(words: list[str]) -> list[bytes]:
    out: list[bytes] = []
    while words:
        match words:
            case [("ip" | "ip6") as ip, ("saddr" | "daddr") as field, "!=", value, *rest]:
                out += _compare(ip, field, value, 1)
            case [("ip" | "ip6") as ip, "saddr", value, *rest] if value.startswith("@"):
                out += [_load(ip, "saddr", _BYTES[ip]), _lookup(value[1:])]
            case [("ip" | "ip6") as ip, ("saddr" | "daddr") as field, value, *rest]:
                out += _compare(ip, field, value, 0)
            case [("jump" | "goto") as word, target, *rest]:
                out.append(_immediate(0, _verdict(word, target)))
            case ["drop", *rest]:
                out.append(_immediate(0, _verdict("drop", "")))
            case ["fib", "saddr", "type", "local", *rest]:
                fib = _number(3, 1) + _number(2, 3) + _number(1, 1)
                out += [_expression("fib", fib), _cmp(0, struct.pack("=I", _RTN_LOCAL))]
            case ["update", name, "{", ("ip" | "ip6") as ip, "saddr", "}", *rest] if name[0] == "@":
                update = _number(4, 1) + _number(3, 1) + _text(1, name[1:])
                out += [_load(ip, "saddr", _BYTES[ip]), _expression("dynset", update)]
            case ["meta", "l4proto", protocol, "dnat", "to", target, *rest]:
                out += _dnat(protocol, target)
            case _:
                raise _Unknown(" ".join(words))
        words = rest
    return out


def _dnat(protocol: str, target: str) -> list[bytes]:
    address, _, port = target.rpartition(":")
    data = _packed(address.strip("[]"))
    family = socket.AF_INET if len(data) == 4 else socket.AF_INET6
    nat = _number(1, 1) + _number(2, family) + _number(3, 1) + _number(5, 2) + _number(7, 2)
    return [
        _expression("meta", _number(2, 16) + _number(1, 1)),
        _cmp(0, bytes([_protocol(protocol)])),
        _immediate(1, _attribute(1, data)),
        _immediate(2, _attribute(1, struct.pack("!H", int(port)))),
        _expression("nat", nat),
    ]


def _numgen(
    head: bytes, count: int, choices: list[str], number: int
) -> tuple[list[bytes], list[bytes]]:
    # The kernel finds a number for "__map%d" by reading the names of all sets; one nobody else has costs it less.
    own = f"__map-{secrets.token_hex(8)}"
    name = _text(2, own)
    userdata = bytes.fromhex("00040100000001040000000004080004010000000100060400000000")
    made = (
        name
        + _number(3, 0x0B)  # anonymous, constant, map
        + _number(4, 4)
        + _number(5, 4)
        + _number(6, _VERDICT_TYPE)
        + _number(7, 0)
        + _number(10, number)
        + _nested(9, _number(1, count))
        + _attribute(13, userdata)
    )
    elements = []
    for choice in choices:
        index, _, verdict = choice.split(" ", 2)
        key = _nested(1, _attribute(1, struct.pack("=I", int(index))))
        elements.append(_nested(1, key, _nested(2, _verdict(*verdict.split(" ")))))
    fill = name + _number(4, number) + _nested(3, *elements)
    expressions = [
        _expression("numgen", _number(1, 1) + _number(2, count) + _number(3, 1) + _number(4, 0)),
        _expression("lookup", _number(2, 1) + _number(3, 0) + _text(1, own) + _number(4, number)),
    ]
    create = [
        _message(_NEWSET, _CREATE, head + made),
        _message(_NEWSETELEM, _CREATE, head + fill),
    ]
    return create, expressions


def _affinity(head: bytes, name: str, definition: str) -> bytes:
    match = _AFFINITY.match(definition)
    if match is None:
        raise _Unknown(definition)
    (type_, length), size, seconds = _ADDRESS_TYPES[match[1]], int(match[2]), int(match[3])
    body = (
        head
        + _text(2, name)
        + _number(3, 0x30)  # timeout, evaluated
        + _number(4, type_)
        + _number(5, length)
        + _number(10, 1)
        + _nested(9, _number(1, size))
        + _attribute(11, struct.pack("!Q", seconds * 1000))
        + _attribute(13, bytes.fromhex("000402000000"))
    )
    return _message(_NEWSET, _CREATE, body)


def _element(head: bytes, name: str, text: str, *, add: bool) -> bytes:
    match = _ELEMENT.match(text)
    if match is None:
        raise _Unknown(text)
    key, comment, verdict = match.groups()
    pieces = [_nested(1, _attribute(1, b"".join(map(_part, key.split(" . ")))))]
    if verdict and add:
        word, _, target = verdict.partition(" ")
        pieces.append(_nested(2, _verdict(word, target)))
    if comment and add:
        pieces.append(_attribute(6, _userdata(0, comment.encode() + b"\0")))
    body = head + _text(2, name) + _nested(3, _nested(1, *pieces))
    return _message(_NEWSETELEM if add else _DELSETELEM, _CREATE if add else 0, body)


def _part(word: str) -> bytes:
    """One part of a concatenated key; each fills whole words of four bytes."""
    if word.isdigit():
        return struct.pack("!H2x", int(word))
    if word in _PROTOCOLS:
        return bytes([_PROTOCOLS[word], 0, 0, 0])
    return _packed(word)


def _packed(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        return socket.inet_pton(family, address)
    except OSError:
        raise _Unknown(address) from None


def _compare(ip: str, field: str, value: str, operator: int) -> list[bytes]:
    address, _, prefix = value.partition("/")
    data = _packed(address)
    bits = int(prefix or len(data) * 8)
    if bits % 8 or not bits or len(data) != _BYTES[ip]:
        raise _Unknown(value)
    size = bits // 8
    return [_load(ip, field, size), _cmp(operator, data[:size])]


def _load(ip: str, field: str, size: int) -> bytes:
    offset = _FIELDS[ip][field]
    payload = _number(1, 1) + _number(2, 1) + _number(3, offset) + _number(4, size)
    return _expression("payload", payload)


def _cmp(operator: int, data: bytes) -> bytes:
    return _expression(
        "cmp", _number(1, 1) + _number(2, operator) + _nested(3, _attribute(1, data))
    )


def _lookup(name: str) -> bytes:
    return _expression("lookup", _number(2, 1) + _text(1, name))


def _immediate(register: int, data: bytes) -> bytes:
    return _expression("immediate", _number(1, register) + _nested(2, data))


def _verdict(word: str, chain: str = "") -> bytes:
    if word not in _VERDICTS:
        raise _Unknown(word)
    code = _number(1, _VERDICTS[word] & 0xFFFFFFFF)
    return _nested(2, code + (_text(2, chain) if chain else b""))


def _protocol(word: str) -> int:
    if word not in _PROTOCOLS:
        raise _Unknown(word)
    return _PROTOCOLS[word]


def _userdata(kind: int, data: bytes) -> bytes:
    if len(data) > 255:
        raise _Unknown("a comment that long")
    return bytes([kind, len(data)]) + data


def _expression(name: str, data: bytes) -> bytes:
    return _nested(1, _text(1, name), _nested(2, data))

"""Bytes <-> questions and answers, through dnspython (pure).

Queries, names and records' data are dnspython's. A response is put together from bytes it made before: its own
messages cost three times as much, and every change of the cluster makes some answers new.

Source: RFC 1035; RFC 6891 (EDNS); RFC 2181, section 9 (truncation).
"""

import struct
from dataclasses import dataclass
from functools import lru_cache

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype

from netpod.dns.records import Answer, Rcode, Record

UDP_PAYLOAD = 1232
"""Largest UDP answer in bytes: what crosses every network without fragments."""
PLAIN_UDP = 512
TCP_PAYLOAD = 65535
HEADER = 12
_ASKED = b"\xc0\x0c"
"""Points to the name in the question. Source: RFC 1035, section 4.1.4."""
_OPT = struct.pack("!BHHIH", 0, dns.rdatatype.OPT, UDP_PAYLOAD, 0, 0)
"""Says what we take over UDP. Source: RFC 6891, section 6.1.2."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One question. `name` in lower case without the last dot, `type` and `class_` as text."""

    name: str
    type: str
    class_: str
    message: dns.message.Message
    """The query it stands in, which the response repeats in its own spelling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unanswerable(Exception):
    """A message that gets a bare response, or none at all when `response` is empty."""

    response: bytes = b""


def read(data: bytes) -> Question:
    """Read a query.

    Raises:
        Unanswerable: it is no query, or one that gets FORMERR, NOTIMP or BADVERS.
    """
    if len(data) < HEADER or data[2] & 0x80:
        raise Unanswerable
    opcode = data[2] >> 3 & 0xF
    if opcode != dns.opcode.QUERY:
        raise Unanswerable(response=_bare(data, dns.rcode.NOTIMP))
    try:
        message = dns.message.from_wire(data, ignore_trailing=True)
    except (dns.exception.DNSException, ValueError) as error:
        raise Unanswerable(response=_bare(data, dns.rcode.FORMERR)) from error
    if len(message.question) != 1:
        raise Unanswerable(response=_bare(data, dns.rcode.FORMERR))
    if message.edns > 0:
        response = dns.message.make_response(message)
        response.set_rcode(dns.rcode.BADVERS)
        raise Unanswerable(response=response.to_wire())
    asked = message.question[0]
    return Question(
        name=asked.name.to_text(omit_final_dot=True).lower() if len(asked.name) > 1 else "",
        type=dns.rdatatype.to_text(asked.rdtype),
        class_=dns.rdataclass.to_text(asked.rdclass),
        message=message,
    )


def write(question: Question, answer: Answer, *, tcp: bool) -> bytes:
    """Write a response: without the additional section, then truncated (TC), when it does not fit."""
    query = question.message
    asked = query.question[0]
    flags = dns.flags.QR | dns.flags.RA | (query.flags & dns.flags.RD)
    if answer.authoritative:
        flags |= dns.flags.AA
    flags |= dns.rcode.from_text(answer.rcode)
    name = asked.name.to_wire() or b""
    opt = _OPT if query.edns >= 0 else b""
    limit = TCP_PAYLOAD if tcp else _udp_limit(query)
    room = limit - HEADER - len(name) - 4 - len(opt)
    answered = _section(answer.records, question)
    authority = _section(answer.authority, question)
    more = _section(answer.additional, question)
    if len(answered.data) + len(authority.data) + len(more.data) > room:
        more = _NOTHING
    if len(answered.data) + len(authority.data) > room:
        answered = authority = _NOTHING
        flags |= dns.flags.TC
    counts = (1, answered.count, authority.count, more.count + bool(opt))
    return b"".join(
        (
            struct.pack("!HHHHHH", query.id, flags, *counts),
            name,
            struct.pack("!HH", asked.rdtype, asked.rdclass),
            answered.data,
            authority.data,
            more.data,
            opt,
        )
    )


def _udp_limit(query: dns.message.Message) -> int:
    if query.edns < 0:
        return PLAIN_UDP
    return max(PLAIN_UDP, min(query.payload, UDP_PAYLOAD))


@dataclass(frozen=True, slots=True)
class _Section:
    """Records of a section as bytes."""

    data: bytes
    count: int


_NOTHING = _Section(b"", 0)


def _section(records: tuple[Record, ...], question: Question) -> _Section:
    """Records of the same name and type stand together; a name asked for points to the question, in its spelling."""
    if not records:
        return _NOTHING
    groups: dict[tuple[str, str], dict[bytes, None]] = {}
    for record in records:
        owner = _ASKED if record.name == question.name else _owner(record.name)
        data = owner + _rest(record.type, record.ttl, record.data)
        groups.setdefault((record.name, record.type), {})[data] = None
    parts = [data for members in groups.values() for data in members]
    return _Section(b"".join(parts), len(parts))


@lru_cache(maxsize=1024)
def _owner(name: str) -> bytes:
    return dns.name.from_text(name + ".").to_wire() or b""


@lru_cache(maxsize=4096)
def _rest(rtype: str, ttl: int, text: str) -> bytes:
    """A record behind its name: type, class, TTL, length and data. Reading text costs most of an answer's time."""
    kind = dns.rdatatype.from_text(rtype)
    data = dns.rdata.from_text(dns.rdataclass.IN, kind, text).to_wire() or b""
    return struct.pack("!HHIH", kind, dns.rdataclass.IN, ttl, len(data)) + data


def _bare(data: bytes, rcode: int) -> bytes:
    """A header alone: the query's id and opcode, and a response code."""
    flags = bytes((0x80 | data[2] & 0x79, 0x80 | rcode))
    return data[:2] + flags + bytes(8)


def refused() -> Answer:
    """What is not for everybody: zone transfers, other classes."""
    return Answer(rcode=Rcode.REFUSED, authoritative=False)

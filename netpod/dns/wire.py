"""Bytes <-> questions and answers, through dnspython (pure).

Source: RFC 1035; RFC 6891 (EDNS); RFC 2181, section 9 (truncation).
"""

from dataclasses import dataclass

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rrset

from netpod.dns.records import Answer, Rcode, Record

UDP_PAYLOAD = 1232
"""Largest UDP answer in bytes: what crosses every network without fragments."""
PLAIN_UDP = 512
TCP_PAYLOAD = 65535
HEADER = 12


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
    response = dns.message.make_response(query, recursion_available=True, our_payload=UDP_PAYLOAD)
    if answer.authoritative:
        response.flags |= dns.flags.AA
    response.set_rcode(dns.rcode.from_text(answer.rcode))
    response.answer = _rrsets(answer.records, question)
    response.authority = _rrsets(answer.authority, question)
    response.additional = _rrsets(answer.additional, question)
    limit = TCP_PAYLOAD if tcp else _udp_limit(query)
    try:
        return response.to_wire(max_size=limit, want_shuffle=False)
    except dns.exception.TooBig:
        response.additional = []
    try:
        return response.to_wire(max_size=limit, want_shuffle=False)
    except dns.exception.TooBig:
        response.answer = []
        response.authority = []
        response.flags |= dns.flags.TC
        return response.to_wire(max_size=limit, want_shuffle=False)


def _udp_limit(query: dns.message.Message) -> int:
    if query.edns < 0:
        return PLAIN_UDP
    return max(PLAIN_UDP, min(query.payload, UDP_PAYLOAD))


def _rrsets(records: tuple[Record, ...], question: Question) -> list[dns.rrset.RRset]:
    """Group records of the same name and type; a name asked for keeps the spelling it was asked in."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record.name, record.type), []).append(record)
    rrsets = []
    for (name, rtype), members in groups.items():
        owner = (
            question.message.question[0].name
            if name == question.name
            else dns.name.from_text(name + ".")
        )
        data = [record.data for record in members]
        rrsets.append(dns.rrset.from_text(owner, members[0].ttl, "IN", rtype, *data))
    return rrsets


def _bare(data: bytes, rcode: int) -> bytes:
    """A header alone: the query's id and opcode, and a response code."""
    flags = bytes((0x80 | data[2] & 0x79, 0x80 | rcode))
    return data[:2] + flags + bytes(8)


def refused() -> Answer:
    """What is not for everybody: zone transfers, other classes."""
    return Answer(rcode=Rcode.REFUSED, authoritative=False)

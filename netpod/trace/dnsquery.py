"""One DNS question and what its answer says (pure but for the question's random id)."""

import dns.exception
import dns.message
import dns.rcode
import dns.rdatatype

from netpod.errors import UsageError
from netpod.trace.model import Answer


def record_type(text: str) -> str:
    """Return a record type as DNS writes it.

    Raises:
        UsageError: there is no such type.
    """
    try:
        return str(dns.rdatatype.to_text(dns.rdatatype.from_text(text)))
    except dns.exception.DNSException:
        raise UsageError(f"cannot ask for {text} records: there is no such type") from None


def question(name: str, kind: str = "A") -> bytes:
    """Return a query for a name's records of a type, to be answered by a server that recurses."""
    return dns.message.make_query(name, kind).to_wire()


def answer(asked: bytes, got: bytes) -> Answer:
    """Read a server's answer: `reason` is its code, e.g. "NOERROR", the body one record per line.

    A name that does not exist, or has no address, is an answer with an `error`.
    """
    try:
        message = dns.message.from_wire(got)
        name = dns.message.from_wire(asked).question[0].name
    except dns.exception.DNSException as unreadable:
        return Answer(error=f"the answer is not DNS: {type(unreadable).__name__}")
    code = dns.rcode.to_text(message.rcode())
    records = [record.to_text() for record in message.answer]
    error = ""
    if code != "NOERROR":
        words = {"NXDOMAIN": "does not exist"}.get(code, "was not looked up")
        error = f"{name} {words} ({code})"
    elif not records:
        error = f"{name} has no record of this type (NOERROR, no data)"
    return Answer(reason=code, body="\n".join(records).encode(), error=error)


def addresses(got: bytes) -> tuple[str, ...]:
    """Return the addresses in an answer, in its order; none when it is an error or no DNS."""
    try:
        message = dns.message.from_wire(got)
    except dns.exception.DNSException:
        return ()
    return tuple(
        item.address
        for record in message.answer
        if record.rdtype in (dns.rdatatype.A, dns.rdatatype.AAAA)
        for item in record
    )

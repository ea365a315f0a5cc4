"""One target -> its `backend` section in HAProxy's configuration (pure).

What annotations say has been matched against a narrow grammar (options.py); the rest is quoted.
"""

import re
from collections.abc import Iterable

from netpod.ingress.model import H2C, Address, Options
from netpod.ingress.quoting import formatted, word

_PLAIN = re.compile(r"[A-Za-z0-9/_~-]")
_WORDS = 32
"""Networks a line; HAProxy reads at most 64 words of one."""
_TABLE_SIZE = 10_000
"""Client addresses that are counted at a time, about 100 bytes each, taken when they come."""


def server(number: int) -> str:
    """Name of a backend's server by its place."""
    return f"s{number}"


def backend(
    target: str, addresses: Iterable[Address | None], options: Options, *, twin: str, source: str
) -> str:
    """Return a section.

    Args:
        target: The target's id.
        addresses: Its servers' addresses; None is a server in maintenance.
        options: What the Ingress's annotations ask for.
        twin: Lines that only the twin for traced requests has; "" for the section of all others.
        source: Words after each server's address.
    """
    lines = [
        f"backend {'trace' if twin else 'svc'}-{target}\n{twin}",
        *_lines(target, options, twin),
    ]
    proto = " proto h2" if H2C in target.split(":")[3:] else ""
    for number, address in enumerate(addresses):
        # A server needs some address to be given another one later.
        where = str(address) if address is not None else "127.0.0.1:1 disabled"
        lines.append(f"    server {server(number)} {where}{proto}{source}\n")
    return "".join(lines)


def userlists(options: Iterable[Options]) -> str:
    """Return the sections of users that backends name."""
    lines = []
    for each in sorted(set(options)):
        if each.users:
            lines.append(f"userlist users-{each.digest}\n")
            lines += [f"    user {name} password {digest}\n" for name, digest in each.users]
    return "".join(lines)


def _lines(target: str, options: Options, twin: str) -> Iterable[str]:
    if options == Options():
        return
    for field, keyword in (
        ("connect_ms", "connect"),
        ("read_ms", "server"),
        ("tunnel_ms", "tunnel"),
    ):
        if value := getattr(options, field):
            yield f"    timeout {keyword} {value}ms\n"
    if options.refuse:
        yield page(503, f"503: nobody is let in: {options.refuse}", "")
    for first in range(0, len(options.sources), _WORDS):
        yield f"    acl admitted src {' '.join(options.sources[first : first + _WORDS])}\n"
    if options.sources:
        yield page(
            403,
            "403: Ingress %[var(txn.rule),field(3,|)] lets nobody in from %[src]",
            "unless admitted",
        )
    if options.redirect:
        yield (
            "    http-request redirect location https://%[var(txn.host)]%[pathq] code 308 "
            "if !{ ssl_fc } { var(txn.host) -m len gt 0 }\n"
        )
    if options.rate:
        if not twin:
            yield f"    stick-table type ipv6 size {_TABLE_SIZE} expire 10s store http_req_rate(1s)\n"
        yield f"    http-request track-sc0 src table svc-{target}\n"
        said = f"429: more than {options.rate} requests per second from %[src]"
        yield page(429, said, f"if {{ sc_http_req_rate(0) gt {options.rate} }}")
    if options.users:
        allowed = f"{{ http_auth(users-{options.digest}) }}"
        yield f"    http-request auth realm {options.realm} unless {allowed}\n"
    if options.rewrite:
        yield rewrite(*options.rewrite)
    if options.full_path:
        yield f"    http-request set-path {formatted(options.full_path)}\n"
    if options.host:
        yield f"    http-request set-header Host {formatted(options.host)}\n"
    yield from header_lines("http-request", options.request_headers)
    yield from header_lines("http-after-response", options.response_headers)
    if options.cookie:
        # The value is made of the server's address, so it stays with a pod whose place changes.
        yield f"    cookie {options.cookie} insert indirect nocache httponly dynamic\n"
        yield "    dynamic-cookie-key netpod\n"


def page(status: int, text: str, condition: str) -> str:
    """Return the line that answers with a status and a sentence, in log format."""
    words = f'content-type text/plain hdr X-Content-Type-Options nosniff lf-string "{text}\\n"'
    return f"    http-request return status {status} {words} {condition}".rstrip() + "\n"


def header_lines(
    rules: str, headers: Iterable[tuple[str, str, str]], condition: str = ""
) -> Iterable[str]:
    """Return lines that change headers, each (set, add or del; name; value)."""
    for verb, name, value in headers:
        what = word(name) if verb == "del" else f"{word(name)} {formatted(value)}"
        yield f"    {rules} {verb}-header {what} {condition}".rstrip() + "\n"


def rewrite(before: str, after: str, condition: str = "") -> str:
    """Put another path for the one that the rule has matched; what follows it is kept."""
    pattern = "".join(
        chr(byte) if _PLAIN.fullmatch(chr(byte)) else f"\\x{byte:02x}" for byte in before.encode()
    )
    if after.rstrip("/"):
        words = f"'^{pattern}(/.*)?$' {formatted(after.rstrip('/'))}'\\1'"
    else:
        words = f"'^{pattern}/?(.*)$' '/\\1'"
    return f"    http-request replace-path {words} {condition}".rstrip() + "\n"

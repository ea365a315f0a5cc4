"""How little must change in a running HAProxy (pure): runtime API commands, or a reload.

New targets, more addresses than a target has servers, and other frontends of Gateways need a reload. Everything
else, also a target nobody names any more, is carried by the runtime API: such a target stays, without address, until
the next reload.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from netpod.ingress import haproxy, sections
from netpod.ingress.gateway import frontend
from netpod.ingress.gateway.model import Frontend
from netpod.ingress.haproxy import Config, Maps, Slots
from netpod.ingress.model import ENDPOINTS, Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do. `config` is what runs afterwards; `commands` is empty when `reload`."""

    config: Config
    reload: bool = False
    commands: tuple[str, ...] = ()


def plan(running: Config | None, wanted: Config) -> Plan:
    """Compare what runs with what `haproxy.compile` wants.

    Commands are in an order in which no request meets a half-made change: servers get their addresses before
    rules name them, and rules go before servers lose theirs.
    """
    if (
        running is None
        or not _fits(running.slots, wanted.slots)
        or _shape(running.frontends) != _shape(wanted.frontends)
    ):
        slots = {target: _roomy(target, addresses) for target, addresses in wanted.slots.items()}
        return Plan(config=replace(wanted, slots=slots), reload=True)
    slots = {t: assign(old, wanted.slots.get(t, ())) for t, old in running.slots.items()}
    commands = (
        *_certificates(running.certificates, wanted.certificates),
        *_contents(running.frontends, wanted.frontends),
        *_servers(running.slots, slots, giving=True),
        *_maps(running.maps, wanted.maps),
        *_servers(running.slots, slots, giving=False),
    )
    config = replace(wanted, slots=slots, options={**running.options, **wanted.options})
    return Plan(config=config, commands=commands)


def assign(
    slots: Sequence[Address | None], wanted: Iterable[Address | None]
) -> tuple[Address | None, ...]:
    """Place addresses in servers: those that are there stay where they are, new ones fill what is free.

    `wanted` must not hold more addresses than there are slots.
    """
    addresses = [address for address in wanted if address is not None]
    keep = set(addresses)
    placed = [slot if slot in keep else None for slot in slots]
    new = iter(address for address in addresses if address not in set(placed))
    return tuple(slot if slot is not None else next(new, None) for slot in placed)


def _fits(running: Slots, wanted: Slots) -> bool:
    return all(len(addresses) <= len(running.get(t, ())) for t, addresses in wanted.items()) and (
        wanted.keys() <= running.keys()
    )


def _roomy(target: str, addresses: Sequence[Address | None]) -> tuple[Address | None, ...]:
    """Add free servers up to a power of two, so that a pod more needs no reload; a cluster IP stays one."""
    room = 4 if ENDPOINTS in target.split(":")[3:] else 1
    while room < len(addresses):
        room *= 2
    return (*addresses, *([None] * (room - len(addresses))))


def _servers(old: Slots, new: Slots, *, giving: bool) -> Iterable[str]:
    for target, slots in sorted(new.items()):
        for number, (before, after) in enumerate(zip(old[target], slots, strict=True)):
            if before == after or giving != (after is not None):
                continue
            for name in (f"svc-{target}", f"trace-{target}"):
                server = f"{name}/{sections.server(number)}"
                if after is None:
                    yield f"set server {server} state maint"
                    continue
                yield f"set server {server} addr {after.ip} port {after.port}"
                if before is None:
                    yield f"set server {server} state ready"


def _certificates(old: Mapping[str, str], new: Mapping[str, str]) -> Iterable[str]:
    """Certificates are changed in one transaction each; a payload ends with an empty line.

    Source: HAProxy management guide, "set ssl cert", "add ssl crt-list".
    """
    for host, pem in sorted(new.items()):
        file = haproxy.certificate_file(host)
        if old.get(host) == pem:
            continue
        if host not in old:
            yield f"new ssl cert {file}"
        yield f"set ssl cert {file} <<\n{pem}"
        yield f"commit ssl cert {file}"
        if host not in old:
            yield f"add ssl crt-list {haproxy.CERTIFICATES} <<\n{file} {host}\n"
    for host in sorted(old.keys() - new.keys()):
        file = haproxy.certificate_file(host)
        yield f"del ssl crt-list {haproxy.CERTIFICATES} {file}"
        yield f"del ssl cert {file}"


def _shape(frontends: Iterable[Frontend]) -> list[Frontend]:
    """What of Gateways is configuration: all but what is in their certificates' files."""
    return [replace(each, pems=dict.fromkeys(each.pems, "")) for each in frontends]


def _contents(old: Iterable[Frontend], new: Iterable[Frontend]) -> Iterable[str]:
    before = {file: pem for each in old for file, pem in each.pems.items()}
    for each in new:
        for file, pem in sorted(each.pems.items()):
            if before.get(file) != pem:
                yield f"set ssl cert {file} <<\n{pem}"
                yield f"commit ssl cert {file}"


def _maps(old: Maps, new: Maps) -> Iterable[str]:
    """Additions and changes of hosts.map last, so that a site is never found before its rules are there."""
    order = (haproxy.WHY, frontend.ROUTES, haproxy.EXACT, haproxy.PREFIX, haproxy.HOSTS)
    for name in order:
        for key, value in sorted(new[name].items()):
            before = old[name].get(key)
            if before is None:
                yield f"add map {name} {_escape(key)} {_escape(value)}"
            elif before != value:
                yield f"set map {name} {_escape(key)} {_escape(value)}"
    for name in reversed(order):
        for key in sorted(old[name].keys() - new[name].keys()):
            yield f"del map {name} {_escape(key)}"


def _escape(word: str) -> str:
    r"""Make a word of a runtime API command: `\`, blank and `;` separate words or commands.

    Source: HAProxy management guide, section 9.3.
    """
    return word.replace("\\", "\\\\").replace(" ", "\\ ").replace(";", "\\;")

"""`spec.tls` of all Ingresses -> one certificate per host (pure).

The oldest Ingress keeps a host. A host whose Secret cannot be served gets the default certificate, and an event.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from netpod.api.core import Secret
from netpod.api.meta import Key, key_of
from netpod.api.networking import Ingress
from netpod.ingress import certificate
from netpod.ingress.certificate import UnusableError
from netpod.ingress.model import wildcard_of

Warn = Callable[[Key, str, str], None]
_HOST = re.compile(r"(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(slots=True)
class Served:
    """Certificates by host, as PEM; the Secrets they depend on; when the next of them begins or ends."""

    by_host: dict[str, str] = field(default_factory=dict)
    secrets: set[Key] = field(default_factory=set)
    changes: datetime | None = None


def certificates(
    ingresses: Iterable[Ingress], secrets: Mapping[Key, Secret], now: datetime, warn: Warn
) -> Served:
    """Choose a certificate for each TLS host of the Ingresses, which come oldest first."""
    served = Served()
    owners: dict[str, tuple[Key, Key]] = {}
    for ingress in ingresses:
        about = key_of(ingress)
        for entry in ingress.spec.tls:
            if not entry.secret_name:
                continue
            key = Key(about.namespace, entry.secret_name)
            served.secrets.add(key)
            for host in _unclaimed(ingress, entry.hosts, key, owners, warn):
                try:
                    _serve(served, host, secrets.get(key), now)
                except UnusableError as error:
                    what = f"Secret {key} {error}; {host} is served with the default certificate"
                    warn(about, "InvalidCertificate", what)
    return served


def secured(ingress: Ingress, host: str) -> bool:
    """Whether an Ingress names a host, or all of its hosts, in spec.tls."""
    return any(
        not entry.hosts or {host, wildcard_of(host)} & {h.lower() for h in entry.hosts}
        for entry in ingress.spec.tls
    )


def _unclaimed(
    ingress: Ingress,
    hosts: Iterable[str],
    secret: Key,
    owners: dict[str, tuple[Key, Key]],
    warn: Warn,
) -> Iterable[str]:
    """Yield hosts that nobody older has; without hosts, those of the Ingress's rules."""
    about = key_of(ingress)
    wanted = [h.lower() for h in hosts] or [r.host.lower() for r in ingress.spec.rules if r.host]
    for host in dict.fromkeys(wanted):
        if not _HOST.fullmatch(host):
            warn(about, "InvalidHost", f"TLS host {host!r} can never be asked for")
            continue
        first, its = owners.setdefault(host, (about, secret))
        if its != secret:
            warn(
                about,
                "DuplicateTLSHost",
                f"TLS host {host} already has Secret {its} by the older Ingress {first}",
            )
        elif first == about:
            yield host


def _serve(served: Served, host: str, secret: Secret | None, now: datetime) -> None:
    found = certificate.of(secret)
    for moment in (found.begins, found.ends):
        if moment > now and (served.changes is None or moment < served.changes):
            served.changes = moment
    found.check(now)
    if not found.covers(host):
        names = ", ".join(found.names[:3]) or "no name"
        raise UnusableError(f"holds a certificate for {names}, not for {host}")
    served.by_host[host] = found.pem

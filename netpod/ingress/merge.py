"""Ingress objects -> one Routing (pure).

Ingresses are read oldest first (creationTimestamp, then namespace and name): on the same host and path the
oldest wins, so nobody takes a path away from somebody who has it.
"""

import string
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from netpod.api import meta
from netpod.api.core import Secret
from netpod.api.discovery import EndpointSlice
from netpod.api.meta import Key, key_of
from netpod.api.networking import HTTPIngressPath, Ingress, IngressBackend, IngressClass
from netpod.api.service import Service
from netpod.ingress import classes as ingress_classes
from netpod.ingress import options, tls, upstream
from netpod.ingress.model import (
    DEFAULT_BACKEND,
    Backend,
    Problem,
    Routing,
    Rule,
    Site,
    Target,
    prefix_key,
)

_PRINTABLE = frozenset(string.printable) - frozenset(string.whitespace)


def merge(
    ingresses: Iterable[Ingress],
    classes: Iterable[IngressClass],
    services: Iterable[Service],
    slices: Iterable[EndpointSlice],
    secrets: Iterable[Secret] = (),
    now: datetime | None = None,
) -> Routing:
    """Merge the Ingresses that are ours into what is served, and say what is wrong with them.

    Certificates that are not valid `now` (UTC; by default the present moment) are not served.
    """
    known = list(classes)
    ours = [i for i in ingresses if ingress_classes.served(i, known)]
    ours.sort(key=lambda i: (i.metadata.creation_timestamp, key_of(i)))
    secret_by_key = {key_of(s): s for s in secrets}
    merging = _Merging(secret_by_key)
    for ingress in ours:
        merging.add(ingress)
    service_by_key = {key_of(s): s for s in services}
    slices_by_service = upstream.by_service(slices)
    backends: dict[Target, Backend] = {}
    for rule in merging.rules():
        if rule.target not in backends:
            backends[rule.target] = upstream.resolve(rule.target, service_by_key, slices_by_service)
    for key, target in merging.named:
        backend = backends.get(target)
        if backend is not None and backend.why and not backend.addresses:
            merging.warn(key, "BackendNotFound", backend.why)
    served = tls.certificates(ours, secret_by_key, now or meta.now(), merging.warn)
    return Routing(
        sites={
            host: Site(exact=site.exact, prefix=site.prefix, default=site.default)
            for host, site in sorted(merging.hosts.items())
        },
        default=merging.default,
        backends={target: backends[target] for target in sorted(backends)},
        problems=tuple(dict.fromkeys(merging.problems)),
        certificates=served.by_host,
        secrets=frozenset(served.secrets | set(filter(None, map(options.auth_secret, ours)))),
        changes=served.changes,
    )


@dataclass(slots=True)
class _Host:
    """One host's rules in the making."""

    exact: dict[str, Rule] = field(default_factory=dict)
    prefix: dict[str, Rule] = field(default_factory=dict)
    default: Rule | None = None


class _Merging:
    """Routing in the making: rules by host, each place taken by the first who came."""

    def __init__(self, secrets: Mapping[Key, Secret]) -> None:
        self._secrets = secrets
        self.hosts: dict[str, _Host] = {}
        self.problems: list[Problem] = []
        self.named: list[tuple[Key, Target]] = []
        self._without_rules: Rule | None = None
        self._with_rules: Rule | None = None

    @property
    def default(self) -> Rule | None:
        """Default backend of the oldest Ingress that has nothing else, then of any."""
        return self._without_rules or self._with_rules

    def warn(self, ingress: Key, reason: str, message: str) -> None:
        self.problems.append(Problem(ingress=ingress, reason=reason, message=message))

    def add(self, ingress: Ingress) -> None:
        default: Rule | None = None
        if ingress.spec.default_backend is not None:
            default = self._rule(ingress, "", "", DEFAULT_BACKEND, ingress.spec.default_backend)
        if default is not None and not ingress.spec.rules:
            self._without_rules = self._without_rules or default
        elif default is not None:
            self._with_rules = self._with_rules or default
        for rule in ingress.spec.rules:
            host = rule.host.lower()
            site = self.hosts.setdefault(host, _Host())
            site.default = site.default or default
            for path in rule.http.paths if rule.http is not None else ():
                self._path(ingress, site, host, path)

    def _path(self, ingress: Ingress, site: "_Host", host: str, path: HTTPIngressPath) -> None:
        key = key_of(ingress)
        text = path.path or "/"
        if not text.startswith("/") or not _PRINTABLE.issuperset(text):
            self.warn(key, "InvalidPath", f"path {text!r} of host {host or '*'} can never match")
            return
        kind = path.path_type or "ImplementationSpecific"
        made = self._rule(ingress, host, text, kind, path.backend)
        if made is None:
            return
        if kind == "Exact":
            first = site.exact.setdefault(text, made)
        else:
            first = site.prefix.setdefault(prefix_key(text), made)
        if first is not made:
            self.warn(
                key,
                "DuplicatePath",
                f"{kind} path {text} of host {host or '*'} is already served by the older Ingress "
                f"{first.ingress}; this rule is ignored",
            )

    def _rule(
        self, ingress: Ingress, host: str, path: str, kind: str, backend: IngressBackend
    ) -> Rule | None:
        key = key_of(ingress)
        service = backend.service
        if service is None:
            where = f"{host or '*'}{path}" if path else "the default backend"
            self.warn(key, "UnsupportedBackend", f"{where} names no Service; it is ignored")
            return None
        chosen, asked = options.of(
            ingress, host, path, kind, self._secrets, partial(self.warn, key, "InvalidAnnotation")
        )
        target = Target(
            namespace=key.namespace,
            service=service.name,
            port=service.port.name or str(service.port.number),
            upstream=chosen,
            options=asked,
        )
        self.named.append((key, target))
        return Rule(host=host, path=path, path_type=kind, ingress=key, target=target)

    def rules(self) -> Iterator[Rule]:
        for site in self.hosts.values():
            yield from site.exact.values()
            yield from site.prefix.values()
            if site.default is not None:
                yield site.default
        if self.default is not None:
            yield self.default

"""What HAProxy refuses is left out, so that one object never keeps the others from being served.

What is compiled is meant to be read by every HAProxy. Where it is not, for once, the objects are searched by halves
with `haproxy -c`: the guilty ones are left out until what is made of them changes, and everybody is told why.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import NamedTuple

from netpod.api.meta import Key, key_of
from netpod.api.networking import Ingress
from netpod.errors import CommandFailed
from netpod.ingress import haproxy as compiler
from netpod.ingress.gateway.model import Frontend
from netpod.ingress.haproxy import Config
from netpod.ingress.model import Backend, Problem, Routing, Target
from netpod.ingress.reload import Haproxy

log = logging.getLogger(__name__)
REASON = "ConfigurationRefused"
"""Reason of the event that an Ingress gets."""
_PLACE = re.compile(r"^config : (parsing \[[^]]*\] ?: )?")


class Kind(StrEnum):
    """What can be left out, in the order in which it is searched."""

    GATEWAY = "Gateway"
    ROUTE = "HTTPRoute"
    INGRESS = "Ingress"


class Part(NamedTuple):
    """An object that configuration is made of."""

    kind: Kind
    key: Key


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What there is to serve.

    Attributes:
        ingresses: All of them.
        routing: Made of all of them.
        merge: Makes one of some of them.
        frontends: Of Gateways.
        backends: Where the frontends' requests go.
    """

    ingresses: Sequence[Ingress]
    routing: Routing
    merge: Callable[[Iterable[Ingress]], Routing]
    frontends: Sequence[Frontend] = ()
    backends: Mapping[Target, Backend] = field(default_factory=dict)

    def parts(self, kind: Kind) -> list[Part]:
        """All of a kind, each once."""
        if kind is Kind.INGRESS:
            return [Part(kind, key_of(ingress)) for ingress in self.ingresses]
        if kind is Kind.GATEWAY:
            return list(dict.fromkeys(Part(kind, each.gateway) for each in self.frontends))
        routes = (
            Part(kind, match.route)
            for each in self.frontends
            for site in each.sites
            for match in site.matches
        )
        return list(dict.fromkeys(routes))

    def serve(self, wanted: Callable[[Part], bool]) -> Config:
        """Compile the parts that are wanted."""
        kept = [i for i in self.ingresses if wanted(Part(Kind.INGRESS, key_of(i)))]
        frontends = [
            _restrict(each, wanted)
            for each in self.frontends
            if wanted(Part(Kind.GATEWAY, each.gateway))
        ]
        named = {target for each in frontends for target in each.targets}
        backends = {t: backend for t, backend in self.backends.items() if t in named}
        routing = self.routing if len(kept) == len(self.ingresses) else self.merge(kept)
        return compiler.compile(routing, frontends, backends)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Refused:
    """Why, and what was made of the part alone; None when it was refused only together with others."""

    why: str
    alone: Config | None


class Refusals:
    """Applies configurations to a HAProxy, without the parts that it refuses.

    Args:
        haproxy: What to configure.
    """

    def __init__(self, haproxy: Haproxy) -> None:
        self._haproxy = haproxy
        self._refused: dict[Part, _Refused] = {}

    def why(self, kind: Kind) -> Mapping[Key, str]:
        """What HAProxy says of the parts of a kind that it refuses."""
        return {part.key: it.why for part, it in self._refused.items() if part.kind is kind}

    @property
    def problems(self) -> list[Problem]:
        """What the refused Ingresses are told."""
        return [
            Problem(ingress=key, reason=REASON, message=f"not served, HAProxy refuses it: {why}")
            for key, why in sorted(self.why(Kind.INGRESS).items())
        ]

    async def apply(self, sources: Sources) -> None:
        """Make HAProxy serve all that it does not refuse.

        Raises:
            CommandFailed: it refuses what it is not known to refuse for any part; what ran goes on.
            KernelError: it cannot be started.
        """
        self._forget(sources)
        try:
            await self._haproxy.apply(self._accepted(sources))
        except CommandFailed:
            if not await self._search(sources):
                raise
            await self._haproxy.apply(self._accepted(sources))

    def _accepted(self, sources: Sources) -> Config:
        return sources.serve(lambda part: part not in self._refused)

    def _forget(self, sources: Sources) -> None:
        """Give those another chance that are not what they were."""
        for part, refused in list(self._refused.items()):
            if refused.alone is None or refused.alone != _alone(sources, [part], self._refused):
                del self._refused[part]

    async def _search(self, sources: Sources) -> bool:
        """Find the parts that are refused; say whether there are any that were not known."""
        before = set(self._refused)
        for kind in Kind:
            parts = [part for part in sources.parts(kind) if part not in self._refused]
            self._refused |= await self._find(sources, parts)
        if why := await self._haproxy.check(self._accepted(sources)):
            # Each is right alone. Ingresses are what all other things here wait for.
            for part in sources.parts(Kind.GATEWAY):
                self._refused.setdefault(part, _Refused(why=_plain(why), alone=None))
        for part in self._refused.keys() - before:
            kind, key = part
            log.error("HAProxy refuses %s %s: %s", kind, key, self._refused[part].why)
        return self._refused.keys() > before

    async def _find(self, sources: Sources, parts: Sequence[Part]) -> dict[Part, _Refused]:
        if not parts:
            return {}
        alone = _alone(sources, parts, self._refused)
        why = await self._haproxy.check(alone)
        if not why:
            return {}
        if len(parts) == 1:
            return {parts[0]: _Refused(why=_plain(why), alone=alone)}
        half = len(parts) // 2
        found = await self._find(sources, parts[:half])
        return found | await self._find(sources, parts[half:])


def _alone(sources: Sources, parts: Iterable[Part], refused: Mapping[Part, _Refused]) -> Config:
    """What is made of some parts of one kind; routes need their Gateways."""
    chosen = set(parts)
    routes = any(part.kind is Kind.ROUTE for part in chosen)

    def wanted(part: Part) -> bool:
        return part in chosen or (routes and part.kind is Kind.GATEWAY and part not in refused)

    return sources.serve(wanted)


def _restrict(frontend: Frontend, wanted: Callable[[Part], bool]) -> Frontend:
    sites = tuple(
        replace(site, matches=tuple(m for m in site.matches if wanted(Part(Kind.ROUTE, m.route))))
        for site in frontend.sites
    )
    return replace(frontend, sites=sites)


def _plain(said: str) -> str:
    """Leave out the place in a file that nobody can look at."""
    return _PLACE.sub("", said).strip()

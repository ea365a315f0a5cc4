"""Who is asking: the unix socket, a client certificate, or a bearer token. Nobody else gets in.

Source: kubernetes authentication reference: CN is the user, each O a group; token file.
"""

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from netpod import errors

MASTERS = "system:masters"
AUTHENTICATED = "system:authenticated"


@dataclass(frozen=True, slots=True, kw_only=True)
class User:
    """An authenticated name and its groups; `extra` is what else is known, by key.

    `actor` is who really asks, when it is on behalf of this user.
    """

    name: str
    groups: frozenset[str] = field(default_factory=frozenset)
    uid: str = ""
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    actor: "User | None" = field(default=None, compare=False)

    @property
    def listed(self) -> list[str]:
        """Its groups as they are told: what every user is comes last, as upstream adds it last."""
        return sorted(self.groups, key=lambda it: (it == AUTHENTICATED, it))


TRUSTED = User(name="system:admin", groups=frozenset({MASTERS, AUTHENTICATED}))
"""Whoever may open the unix socket: its mode lets only root."""

Certificate = Mapping[str, Sequence[Sequence[tuple[str, str]]]]
"""What `ssl` tells of a verified peer; only "subject" is read."""


def of_certificate(certificate: Certificate) -> User | None:
    """The user a verified client certificate names, None when it has no common name."""
    name, groups = "", {AUTHENTICATED}
    for part in certificate.get("subject", ()):
        for attribute, value in part:
            if attribute == "commonName":
                name = value
            elif attribute == "organizationName":
                groups.add(value)
    return User(name=name, groups=frozenset(groups)) if name else None


def of_token(header: str, tokens: Mapping[str, User]) -> User:
    """The user of an `Authorization: Bearer TOKEN` header.

    Raises:
        Unauthorized: the scheme is another, or nobody issued the token.
    """
    scheme, _, token = header.partition(" ")
    if scheme.lower() == "bearer":
        found: User | None = None
        for known, user in tokens.items():
            # Compare with every token in constant time: how long a refusal takes tells nothing.
            if hmac.compare_digest(known.encode(), token.strip().encode()):
                found = user
        if found is not None:
            return User(name=found.name, groups=found.groups | {AUTHENTICATED})
    raise errors.Unauthorized("Unauthorized")


def authenticate(
    *,
    certificate: Certificate | None,
    authorization: str,
    tokens: Mapping[str, User],
) -> User:
    """The user of a request.

    Raises:
        Unauthorized: no credentials, or none that we issued.
    """
    if certificate:
        user = of_certificate(certificate)
        if user is not None:
            return user
    if authorization:
        return of_token(authorization, tokens)
    raise errors.Unauthorized("Unauthorized")

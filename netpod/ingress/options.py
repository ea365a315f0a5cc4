"""Annotations of an Ingress -> Options of its rules (pure).

    netpod.dev/upstream            service | endpoints: to the cluster IP, or past kube-proxy to the pods
    netpod.dev/ssl-redirect        "true": HTTP requests for hosts in spec.tls get 308 to HTTPS
    netpod.dev/rewrite-target      /PATH: stands in for the path that the rule names, the rest is kept
    netpod.dev/connect-timeout     5s: how long a connection to the server may take; units ms, s, m, h; at most 24h
    netpod.dev/read-timeout        30s: how long the server may say nothing
    netpod.dev/tunnel-timeout      1h: how long both may say nothing once it is a WebSocket
    netpod.dev/session-cookie      NAME: a client comes back to the pod that this cookie says; past kube-proxy
    netpod.dev/limit-rps           10: requests per second of one client address to one rule's Service; else 429
    netpod.dev/auth-secret         SECRET: users and their hashes in its key `auth`, as htpasswd -B or -5 writes them
    netpod.dev/allow-source        10.0.0.0/8,192.0.2.7: who else asks gets 403

What cannot be read is left aside with an event, but never opens a door: without a readable Secret, or without one
readable network, nobody is let in.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping
from ipaddress import ip_network

from netpod.api.core import Secret
from netpod.api.meta import Key, key_of
from netpod.api.networking import Ingress
from netpod.ingress import tls
from netpod.ingress.model import DEFAULT_BACKEND, Options, Upstream

PREFIX = "netpod.dev/"
UPSTREAM = f"{PREFIX}upstream"
LONGEST_MS = 24 * 3600 * 1000
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_TIME = re.compile(r"([1-9][0-9]{0,8})(ms|s|m|h)")
_PATH = re.compile(r"/[A-Za-z0-9/._~-]*")
_COOKIE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_RATE = re.compile(r"[1-9][0-9]{0,5}")
_USER = re.compile(r"([A-Za-z0-9._@+-]+):(\$(?:1|5|6|2[aby])\$[A-Za-z0-9$./=]+)")

Warn = Callable[[str], None]


def of(
    ingress: Ingress, host: str, path: str, kind: str, secrets: Mapping[Key, Secret], warn: Warn
) -> tuple[Upstream, Options]:
    """Read what the annotations say about one rule.

    Args:
        ingress: Whose annotations.
        host: The rule's host, "" for all.
        path: The rule's path, "" for a default backend.
        kind: The rule's path type.
        secrets: All that may be named.
        warn: Told of each annotation that cannot be read.
    """
    said = ingress.metadata.annotations
    if not any(name.startswith(PREFIX) for name in said):
        return Upstream.SERVICE, Options()

    def known(name: str, form: re.Pattern[str], example: str) -> str:
        text = said.get(PREFIX + name, "")
        if text and not form.fullmatch(text):
            warn(f"{PREFIX}{name}: {text!r} cannot be read; write it like {example}")
            return ""
        return text

    def milliseconds(name: str) -> int:
        text = known(name, _TIME, "30s")
        found = _TIME.fullmatch(text)
        value = int(found[1]) * _UNITS[found[2]] if found else 0
        if value > LONGEST_MS:
            warn(f"{PREFIX}{name}: {text} is longer than 24h")
            return 0
        return value

    cookie = known("session-cookie", _COOKIE, "route")
    upstream = _upstream(said, cookie, warn)
    target = known("rewrite-target", _PATH, "/new")
    realm, users, refuse = _users(ingress, secrets, warn)
    sources, nobody = _sources(said.get(f"{PREFIX}allow-source", ""), warn)
    return upstream, Options(
        redirect=_redirects(ingress, host, warn),
        rewrite=(_from(path, kind), target) if target and kind != DEFAULT_BACKEND else (),
        connect_ms=milliseconds("connect-timeout"),
        read_ms=milliseconds("read-timeout"),
        tunnel_ms=milliseconds("tunnel-timeout"),
        cookie=cookie if upstream is Upstream.ENDPOINTS else "",
        rate=int(known("limit-rps", _RATE, "10") or 0),
        realm=realm,
        users=users,
        sources=sources,
        refuse=refuse or nobody,
    )


def auth_secret(ingress: Ingress) -> Key | None:
    """Return the Secret with an Ingress's users, if it names one."""
    name = ingress.metadata.annotations.get(f"{PREFIX}auth-secret", "")
    return Key(ingress.metadata.namespace, name) if name else None


def _upstream(said: Mapping[str, str], cookie: str, warn: Warn) -> Upstream:
    default = Upstream.ENDPOINTS if cookie else Upstream.SERVICE
    text = said.get(UPSTREAM, default)
    if text not in tuple(Upstream):
        warn(f"{UPSTREAM}: {text!r} is neither service nor endpoints")
        return default
    if cookie and text == Upstream.SERVICE:
        warn(
            f"{PREFIX}session-cookie: needs {UPSTREAM}: endpoints; kube-proxy chooses the pod here"
        )
    return Upstream(text)


def _redirects(ingress: Ingress, host: str, warn: Warn) -> bool:
    text = ingress.metadata.annotations.get(f"{PREFIX}ssl-redirect", "false")
    if text not in ("true", "false"):
        warn(f'{PREFIX}ssl-redirect: {text!r} is neither "true" nor "false"')
    return text == "true" and tls.secured(ingress, host)


def _from(path: str, kind: str) -> str:
    return path if kind == "Exact" else path.rstrip("/")


def _users(
    ingress: Ingress, secrets: Mapping[Key, Secret], warn: Warn
) -> tuple[str, tuple[tuple[str, str], ...], str]:
    """Return realm, users and, when nobody can be let in, why."""
    key = auth_secret(ingress)
    if key is None:
        return "", (), ""
    if not _NAME.fullmatch(key.name):
        refuse = f"{PREFIX}auth-secret names no Secret"
        warn(f"{PREFIX}auth-secret: {key.name!r} can be no Secret's name")
        return "", (), refuse
    secret = secrets.get(key)
    if secret is None:
        refuse = f"Secret {key} with its users does not exist"
        warn(f"{PREFIX}auth-secret: {refuse}")
        return "", (), refuse
    try:
        text = base64.b64decode(secret.data.get("auth", "")).decode()
    except (binascii.Error, UnicodeDecodeError):
        text = ""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [(number, _USER.fullmatch(line)) for number, line in enumerate(lines, 1)]
    for number, match in found:
        if match is None:
            warn(
                f"{PREFIX}auth-secret: line {number} of key auth in Secret {key} is no USER:HASH with a hash "
                "of crypt(3): bcrypt, SHA-512, SHA-256 or MD5; htpasswd -B writes one"
            )
    users = tuple(sorted({match[1]: match[2] for _, match in found if match}.items()))
    refuse = "" if users else f"Secret {key} holds no users in its key auth"
    if not lines:
        warn(f"{PREFIX}auth-secret: {refuse}")
    return str(key_of(ingress)), users, refuse


def _sources(text: str, warn: Warn) -> tuple[tuple[str, ...], str]:
    """Return networks and, when annotations leave none, why nobody is let in."""
    found = []
    for word in filter(None, (word.strip() for word in text.split(","))):
        try:
            found.append(str(ip_network(word, strict=False)))
        except ValueError:
            warn(f"{PREFIX}allow-source: {word!r} is no address or network")
    refuse = f"no readable network stands in {PREFIX}allow-source" if text and not found else ""
    if refuse:
        warn(refuse)
    return tuple(sorted(set(found))), refuse

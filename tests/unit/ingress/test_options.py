"""What annotations become, and that nothing unread opens a door or gets into HAProxy's configuration."""

import base64
from dataclasses import replace

import pytest

from netpod.api.core import Secret
from netpod.api.meta import Key, ObjectMeta
from netpod.api.networking import IngressTLS
from netpod.ingress import options, sections
from netpod.ingress.model import Options, Upstream
from tests.unit.ingress.builders import make_ingress

HASH = "$5$salt$Gcm6FsVtF/Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1"


def _read(
    path: str = "/a", kind: str = "Prefix", users: str | None = None, **said: str
) -> tuple[Upstream, Options, list[str]]:
    annotations = {f"netpod.dev/{name.replace('_', '-')}": text for name, text in said.items()}
    ingress = make_ingress(("a.com", kind, path, "web"), annotations=annotations)
    ingress = replace(ingress, spec=replace(ingress.spec, tls=(IngressTLS(hosts=("a.com",)),)))
    secrets = {}
    if users is not None:
        data = {"auth": base64.b64encode(users.encode()).decode()}
        about = ObjectMeta(name="users", namespace="default")
        secrets[Key("default", "users")] = Secret(metadata=about, data=data)
    warned: list[str] = []
    upstream, found = options.of(ingress, "a.com", path, kind, secrets, warned.append)
    return upstream, found, warned


def test_without_annotations_nothing_is_asked_for() -> None:
    """An Ingress without annotations of ours has no options, and shares its section."""
    assert _read() == (Upstream.SERVICE, Options(), [])


def test_every_annotation_is_read() -> None:
    """Times become milliseconds, a cookie goes past kube-proxy, networks are sorted."""
    upstream, found, warned = _read(
        users=f"ann:{HASH}\n",
        ssl_redirect="true",
        rewrite_target="/new",
        connect_timeout="500ms",
        read_timeout="2m",
        tunnel_timeout="3h",
        session_cookie="route",
        limit_rps="10",
        auth_secret="users",
        allow_source="192.0.2.7, 10.0.0.0/8",
    )
    assert not warned
    assert upstream is Upstream.ENDPOINTS
    assert found == Options(
        redirect=True,
        rewrite=("/a", "/new"),
        connect_ms=500,
        read_ms=120_000,
        tunnel_ms=10_800_000,
        cookie="route",
        rate=10,
        realm="default/site",
        users=(("ann", HASH),),
        sources=("10.0.0.0/8", "192.0.2.7/32"),
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rewrite_target", "/a' b"),
        ("rewrite_target", "new"),
        ("connect_timeout", "5"),
        ("connect_timeout", "25h"),
        ("read_timeout", "0s"),
        ("session_cookie", "a b"),
        ("limit_rps", "-1"),
        ("ssl_redirect", "yes"),
        ("upstream", "pods"),
    ],
)
def test_unreadable_annotation_is_left_aside_with_an_event(name: str, text: str) -> None:
    """Nothing that is not understood reaches the configuration."""
    upstream, found, (warning,) = _read(**{name: text})
    assert (upstream, found) == (Upstream.SERVICE, Options())
    assert f"netpod.dev/{name.replace('_', '-')}" in warning


@pytest.mark.parametrize(
    "said",
    [
        {"auth_secret": "users"},
        {"auth_secret": "users", "users": ""},
        {"auth_secret": "users", "users": "ann:plain"},
        {"auth_secret": 'x" if TRUE\n use_backend'},
        {"allow_source": "10.0.0.300"},
        {"allow_source": ","},
    ],
)
def test_unreadable_protection_lets_nobody_in(said: dict[str, str]) -> None:
    """Without a readable list of users or networks the answer is 503, never an open door."""
    _, found, warned = _read(**said)
    assert found.refuse
    assert warned
    text = sections.backend("d:web:80", (), found, twin="", source="")
    assert "http-request return status 503" in text
    assert "TRUE" not in text


def test_rewritten_path_is_quoted() -> None:
    """Characters with a meaning in an expression or in HAProxy's configuration stand as numbers."""
    _, found, _ = _read(path="/a.b'(c", rewrite_target="/new")
    text = sections.backend("d:web:80", (), found, twin="", source="")
    assert r"replace-path '^/a\x2eb\x27\x28c(/.*)?$' /new'\1'" in text

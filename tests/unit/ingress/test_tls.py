"""Which host gets which certificate, and what is said of those that cannot be served."""

from dataclasses import replace
from datetime import timedelta

import pytest

from netpod.api.core import Secret
from netpod.api.networking import Ingress, IngressTLS
from netpod.ingress import merge, tls
from netpod.ingress.model import Routing
from tests.unit.ingress.builders import make_class, make_ingress
from tests.unit.ingress.certificates import NOW, make_pair, make_secret

PAIR = make_pair("a.com", "*.b.com")


def secure(ingress: Ingress, secret: str, *hosts: str) -> Ingress:
    """Add an entry to spec.tls."""
    entry = IngressTLS(hosts=hosts, secret_name=secret)
    return replace(ingress, spec=replace(ingress.spec, tls=(*ingress.spec.tls, entry)))


def _merge(ingresses: list[Ingress], *secrets: Secret) -> Routing:
    return merge.merge(ingresses, [make_class()], [], [], secrets, NOW)


def _site(**fields: str) -> Ingress:
    return make_ingress(("a.com", "Prefix", "/", "web"), **fields)


def test_tls_hosts_get_the_secrets_certificate() -> None:
    """Each host of spec.tls is served with the certificate of its Secret; a wildcard is a host like another."""
    site = secure(_site(), "cert", "A.com", "*.b.com", "x.b.com")
    routing = _merge([site], make_secret("cert", *PAIR))
    assert set(routing.certificates) == {"a.com", "*.b.com", "x.b.com"}
    assert not [p for p in routing.problems if p.reason == "InvalidCertificate"]
    assert "\n\n" not in routing.certificates["a.com"]


def test_tls_without_hosts_is_for_the_rules_hosts() -> None:
    """An entry without hosts secures the hosts of the Ingress."""
    routing = _merge([secure(_site(), "cert")], make_secret("cert", *PAIR))
    assert set(routing.certificates) == {"a.com"}


_OTHER = make_pair("a.com")
_OLD = make_pair("a.com", ends=NOW - timedelta(hours=1))
_EARLY = make_pair("a.com", begins=NOW + timedelta(hours=1))


@pytest.mark.parametrize(
    ("secret", "says"),
    [
        (None, "does not exist"),
        (make_secret("cert", *PAIR, type="Opaque"), "is of type Opaque"),
        (make_secret("cert", "rubbish", PAIR[1]), "holds no certificate in tls.crt"),
        (make_secret("cert", PAIR[0], "rubbish"), "holds no key that can be read"),
        (make_secret("cert", PAIR[0], _OTHER[1]), "does not belong to the certificate"),
        (make_secret("cert", *_OLD), "expired at"),
        (make_secret("cert", *_EARLY), "is not valid before"),
        (make_secret("cert", *make_pair("z.com")), "a certificate for z.com, not for a.com"),
    ],
)
def test_unusable_secret_leaves_the_default_certificate_and_says_why(
    secret: Secret | None, says: str
) -> None:
    """A certificate that cannot be served takes away neither the route nor the others' certificates."""
    site = secure(secure(_site(), "good", "x.b.com"), "cert", "a.com")
    good = make_secret("good", *PAIR)
    routing = _merge([site], *filter(None, (good, secret)))
    assert set(routing.certificates) == {"x.b.com"}
    assert "a.com" in routing.sites
    (problem,) = [p for p in routing.problems if p.reason == "InvalidCertificate"]
    assert says in problem.message


def test_certificate_is_looked_at_again_when_it_ends() -> None:
    """The routing says when a certificate begins or ends to be valid."""
    secret = make_secret("cert", *make_pair("a.com", ends=NOW + timedelta(hours=2)))
    changes = _merge([secure(_site(), "cert", "a.com")], secret).changes
    assert changes is not None
    assert abs(changes - NOW - timedelta(hours=2)) < timedelta(seconds=2)


def test_oldest_ingress_keeps_a_tls_host() -> None:
    """Another Secret for a host that has one is refused with an event; the same one is no conflict."""
    old = secure(_site(), "cert", "a.com")
    new = secure(_site(name="new", created="2026-02-01T00:00:00Z"), "other", "a.com")
    routing = _merge([new, old], make_secret("cert", *PAIR), make_secret("other", *_OTHER))
    assert [p.ingress.name for p in routing.problems if p.reason == "DuplicateTLSHost"] == ["new"]
    assert routing.certificates["a.com"].startswith(PAIR[0])


def test_secured_hosts() -> None:
    """A host is secured by its name, by a wildcard of one label, or by an entry without hosts."""
    site = secure(_site(), "cert", "*.b.com")
    assert tls.secured(site, "x.b.com")
    assert not tls.secured(site, "a.com")
    assert tls.secured(secure(site, "cert"), "a.com")

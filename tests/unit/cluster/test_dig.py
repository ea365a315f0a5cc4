"""Which names a resolver asks for, and how a question is read."""

import pytest

from netpod.cluster import dig
from netpod.cluster.dig import Resolver
from netpod.errors import UsageError

POD = Resolver(servers=("10.96.0.10",), search=("a.svc.x", "svc.x", "x"), ndots=5)


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("web", ["web.a.svc.x", "web.svc.x", "web.x", "web"]),
        ("web.b", ["web.b.a.svc.x", "web.b.svc.x", "web.b.x", "web.b"]),
        ("web.", ["web"]),
        (
            "a.b.c.d.e.f",
            ["a.b.c.d.e.f", "a.b.c.d.e.f.a.svc.x", "a.b.c.d.e.f.svc.x", "a.b.c.d.e.f.x"],
        ),
    ],
)
def test_search_list(name: str, asked: list[str]) -> None:
    """Names with fewer than ndots dots go through the list first; a last dot leaves it aside."""
    assert list(dig.names(name, POD)) == asked


def test_address_asks_for_its_name() -> None:
    """An address is turned round; any other word is a name, of type A unless said otherwise."""
    assert dig.question("10.96.0.10", "") == ("10.0.96.10.in-addr.arpa.", "PTR")
    assert dig.question("fd00::1", "")[0].endswith(".0.0.d.f.ip6.arpa.")
    assert dig.question("web", "") == ("web", "A")
    assert dig.question("web", "srv") == ("web", "SRV")


@pytest.mark.parametrize(("name", "kind"), [("web", "NOPE"), ("a..b", "A"), ("x" * 64, "A")])
def test_what_nobody_can_ask(name: str, kind: str) -> None:
    """A type that is none and a name that cannot be are refused."""
    with pytest.raises(UsageError, match="cannot ask for"):
        dig.question(name, kind)

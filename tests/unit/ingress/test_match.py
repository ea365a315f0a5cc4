"""The tables of kubenet-facts F.1 and F.2, on the model."""

from collections.abc import Callable
from typing import Any

import pytest

from netpod.ingress import merge
from netpod.ingress.model import match
from tests.unit.ingress.tables import HOSTS, PATHS

Build = Callable[..., Any]


@pytest.mark.parametrize(("rules", "path", "answers"), PATHS)
def test_path_match_table(
    ingress: Build, ingress_class: Build, rules: list[str], path: str, answers: str
) -> None:
    """A path is matched by element, the longest wins, Exact before Prefix."""
    one = ingress(*(("a.com", *rule.split(" "), "web") for rule in rules))
    rule = match(merge.merge([one], [ingress_class()], [], []), "a.com", path)
    assert (f"{rule.path_type} {rule.path}" if rule else "") == answers


@pytest.mark.parametrize(("hosts", "header", "answers"), HOSTS)
def test_host_match_table(
    ingress: Build, ingress_class: Build, hosts: list[str], header: str, answers: str | None
) -> None:
    """An exact host comes before a wildcard of one label, and that before rules without host."""
    one = ingress(*((host, "Prefix", "/", "web") for host in hosts))
    rule = match(merge.merge([one], [ingress_class()], [], []), header, "/")
    assert (rule.host if rule else None) == answers


def test_known_host_never_falls_back_to_another(ingress: Build, ingress_class: Build) -> None:
    """A path miss under an exact host is a 404, though a rule without host would match."""
    one = ingress(("a.com", "Prefix", "/x", "web"), ("", "Prefix", "/", "all"))
    routing = merge.merge([one], [ingress_class()], [], [])
    assert match(routing, "a.com", "/y") is None
    assert match(routing, "b.com", "/y") is not None


def test_default_backend_of_the_host_before_that_of_the_controller(
    ingress: Build, ingress_class: Build
) -> None:
    """A path miss goes to the Ingress's own default backend, a host miss to that of the Ingress without rules."""
    shop = ingress(
        ("a.com", "Prefix", "/x", "web"), ("c.com", "", "", ""), name="a", default="shop"
    )
    other = ingress(("b.com", "Prefix", "/x", "web"), name="b")
    everything = ingress(name="c", default="everything")
    routing = merge.merge([shop, other, everything], [ingress_class()], [], [])

    def service(host: str, path: str) -> str:
        rule = match(routing, host, path)
        return rule.target.service if rule else ""

    assert service("a.com", "/x") == "web"
    assert service("a.com", "/y") == "shop"
    assert service("c.com", "/") == "shop"
    assert service("b.com", "/y") == "everything"
    assert service("z.com", "/") == "everything"


def test_default_backend_beside_rules_takes_unknown_hosts(
    ingress: Build, ingress_class: Build
) -> None:
    """Without an Ingress that has no rules, the oldest default backend takes what nothing matches."""
    one = ingress(("a.com", "Prefix", "/", "web"), default="rest")
    rule = match(merge.merge([one], [ingress_class()], [], []), "z.com", "/")
    assert rule is not None
    assert rule.target.service == "rest"

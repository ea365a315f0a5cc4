"""Whatever a valid HTTPRoute says, HAProxy can read the configuration made of it: one route never stops the others."""

import random
from pathlib import Path
from typing import Any

import yaml

from netpod.api import validation
from netpod.ingress import haproxy as compiler
from netpod.ingress.model import Routing
from netpod.linux import process
from tests.unit.ingress.builders import make_service
from tests.unit.ingress.gateways import GATEWAY, objects, planned, route

PATH = "abc/._~!$&'()*+,;=:@%-"
TOKEN = "abZ09!#$%&'*+-.^_`|~"
VALUE = "aZ0 \"'\\%{}[]()#$;:,\t|<>=~é\u2028-"
REGEX = (
    "a|b",
    "(?:x)+",
    "[^/]*$",
    "\\d{2,3}",
    "^/'\"#",
    "a{",
    "(?=x)",
    "*",
    "\\",
    "}",
    "%[src]",
    "\\1(",
)


def _text(pick: random.Random, letters: str, least: int = 1) -> str:
    return "".join(pick.choice(letters) for _ in range(pick.randint(least, 12)))


def _path(pick: random.Random) -> str:
    text = "/" + _text(pick, PATH, 0).replace("%", "%2e")
    return text.replace("//", "/a/").replace("//", "/a/")


def _value(pick: random.Random, letters: str) -> dict[str, Any]:
    if pick.random() < 0.3:
        return {
            "type": "RegularExpression",
            "name": _text(pick, letters),
            "value": pick.choice(REGEX),
        }
    return {"name": _text(pick, letters), "value": _text(pick, VALUE)}


def _headers(pick: random.Random) -> dict[str, Any]:
    return {
        "set": [{"name": _text(pick, TOKEN), "value": _text(pick, VALUE.replace("\t", ""), 0)}],
        "add": [{"name": _text(pick, TOKEN), "value": _text(pick, VALUE)}],
        "remove": [_text(pick, TOKEN)],
    }


def _rule(pick: random.Random) -> dict[str, Any]:
    kind = pick.choice(("Exact", "PathPrefix", "RegularExpression"))
    value = pick.choice(REGEX) if kind == "RegularExpression" else _path(pick)
    match: dict[str, Any] = {"path": {"type": kind, "value": value}}
    if pick.random() < 0.5:
        match["headers"] = [_value(pick, pick.choice((TOKEN, "aZ0_-.")))]
    if pick.random() < 0.5:
        match["queryParams"] = [_value(pick, "aZ0._~-")]
    filters: list[dict[str, Any]] = [
        {"type": "RequestHeaderModifier", "requestHeaderModifier": _headers(pick)},
        {"type": "ResponseHeaderModifier", "responseHeaderModifier": _headers(pick)},
    ]
    full = {"type": "ReplaceFullPath", "replaceFullPath": _path(pick)}
    prefix = {"type": "ReplacePrefixMatch", "replacePrefixMatch": _path(pick)}
    changed = {"path": prefix if kind == "PathPrefix" and pick.random() < 0.5 else full}
    if pick.random() < 0.3:
        filters.append({"type": "RequestRedirect", "requestRedirect": changed})
        return {"matches": [match], "filters": filters}
    filters.append({"type": "URLRewrite", "urlRewrite": changed})
    return {"matches": [match], "filters": filters, "backendRefs": [{"name": "a", "port": 80}]}


def test_no_valid_route_breaks_the_configuration(tmp_path: Path) -> None:
    """Paths, header names, values and expressions of every kind are read as what they are, or dropped with a reason."""
    pick = random.Random(7)
    texts: list[str] = []
    while len(texts) < 60:
        rules = [yaml.safe_dump(_rule(pick)) for _ in range(3)]
        text = route(f"r{len(texts)}", *rules, hostnames=["a.com"])
        found = objects(text)
        if not validation.validate_create(found[0]):
            texts.append(text)
    plan = planned(GATEWAY, *texts, services=[make_service("a", cluster_ip="127.0.0.1")])
    assert len(plan.frontends[0].sites[0].matches) > 60
    config = compiler.compile(Routing(), plan.frontends, plan.backends)
    settings = compiler.Settings(
        bind=("127.0.0.1:80",), sources=("127.0.0.1",), socket=str(tmp_path / "haproxy.sock")
    )
    (tmp_path / "haproxy.cfg").write_text(compiler.text(config, settings))
    for name, entries in config.maps.items():
        (tmp_path / name).write_text(compiler.map_text(entries))
    process.run(["haproxy", "-c", "-f", str(tmp_path / "haproxy.cfg")])

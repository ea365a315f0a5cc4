"""What of a cluster is reachable on this machine's 127.0.0.1, as options and files say it, and where it leads (pure).

[127.0.0.1:]PORT=ingress[:80|:443]        8080=ingress,8443=ingress:443
[127.0.0.1:]PORT=svc/[NAMESPACE/]NAME:PORT
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from netpod.api.meta import Key
from netpod.errors import UsageError
from netpod.paths import Paths

if TYPE_CHECKING:
    from netpod.api.service import Service

ADDRESS = "127.0.0.1"
DEFAULT = "8080=ingress:80,8443=ingress:443"
INGRESS = Key("kube-system", "ingress")
_FORM = re.compile(
    r"(?:(?P<host>[^=:]+):)?(?P<listen>[0-9]{1,5})="
    r"(?P<what>ingress|(?:svc|service)/(?:(?P<namespace>[-a-z0-9]+)/)?(?P<name>[-a-z0-9]+))"
    r"(?::(?P<port>[-a-z0-9]+))?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A port of 127.0.0.1, 0 for any that is free, and the Service's port (number or name) it leads to."""

    listen: int
    service: Key
    port: str

    @property
    def target(self) -> str:
        """As one writes it: `ingress:80`, `svc/NAMESPACE/NAME:PORT`."""
        what = "ingress" if self.service == INGRESS else f"svc/{self.service}"
        return f"{what}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What became of a publication; `error` says why nobody listens, "" when somebody does."""

    listen: int
    target: str
    error: str = ""

    @property
    def said(self) -> str:
        """One line for people."""
        if self.error:
            return f"{ADDRESS}:{self.listen} is not {self.target}: {self.error}"
        scheme = {"ingress:80": "http://", "ingress:443": "https://"}.get(self.target, "")
        return f"{scheme}{ADDRESS}:{self.listen} is {self.target}"


def parse(text: str) -> tuple[Publication, ...]:
    """Read publications, separated by commas.

    Raises:
        UsageError: one has another form, or an address that is not this machine's alone.
    """
    found = tuple(_parse(word.strip()) for word in text.split(",") if word.strip())
    ports = [each.listen for each in found if each.listen]
    if len(ports) != len(set(ports)):
        raise UsageError(f"cannot publish {text}: one port cannot lead to two places")
    return found


def _parse(word: str) -> Publication:
    match = _FORM.fullmatch(word)
    if match is None or int(match["listen"]) > 65535 or (match["name"] and not match["port"]):
        raise UsageError(
            f"cannot publish {word!r}: write [127.0.0.1:]PORT=ingress[:443] or PORT=svc/NAME:PORT"
        )
    if match["host"] not in (None, ADDRESS, "localhost"):
        raise UsageError(
            f"cannot publish {word!r}: only {ADDRESS}; what others reach is for this machine's owner to open"
        )
    service = Key(match["namespace"] or "default", match["name"]) if match["name"] else INGRESS
    return Publication(listen=int(match["listen"]), service=service, port=match["port"] or "80")


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """An address to connect to, from the client outside the cluster or, `inside`, from the control plane's node."""

    ip: str
    port: int
    inside: bool = False


def ways(service: "Service | None", port: str, nodes: Sequence[str]) -> Iterator[Way]:
    """Yield how a Service's port can be reached, the best first: load balancer, node ports, cluster IP.

    Args:
        service: What is published; None while there is none.
        port: The port's number or name.
        nodes: Addresses of nodes whose node ports may be tried, in that order.
    """
    for each in service.spec.ports if service is not None else ():
        if (
            service is None
            or each.protocol not in ("", "TCP")
            or port not in (str(each.port), each.name)
        ):
            continue
        for place in service.status.load_balancer.ingress:
            if place.ip:
                yield Way(ip=place.ip, port=each.port)
                return
        if each.node_port:
            yield from (Way(ip=node, port=each.node_port) for node in nodes)
            return
        if service.spec.cluster_ip not in ("", "None"):
            yield Way(ip=service.spec.cluster_ip, port=each.port, inside=True)


def save(paths: Paths, published: Sequence[Published]) -> None:
    """Write what became of the publications, in one step."""
    target = _file(paths)
    fresh = target.with_suffix(".new")
    rows = [{"listen": p.listen, "target": p.target, "error": p.error} for p in published]
    fresh.write_bytes(orjson.dumps(rows))
    fresh.replace(target)


def load(paths: Paths) -> tuple[Published, ...]:
    """Read what became of the publications; nothing when nothing is written yet."""
    try:
        rows: list[dict[str, Any]] = orjson.loads(_file(paths).read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return ()
    return tuple(Published(**row) for row in rows)


def _file(paths: Paths) -> Path:
    return paths.run / "published.json"

"""The same lab and tests in IPv6: an address is written in IPv4, and told to the kernel in the family of now.

10.244.1.5 is fd00::10.244.1.5 there, 10.244.0.0/16 is fd00::10.244.0.0/112; what sockets see is translated back.
"""

import contextlib
import dataclasses
import ipaddress
import re
from collections.abc import Iterator
from typing import Any, TypeVar

import orjson

from netpod.api import codec
from netpod.api.discovery import EndpointSlice
from netpod.api.service import Service
from netpod.ip import Family
from netpod.proxy.config import ProxyConfig

_ADDRESS = re.compile(r"\b(\d+\.\d+\.\d+\.\d+)(?:/(\d+))?")
_EMBEDDED = re.compile(r"^fd00::([0-9a-f]+):([0-9a-f]+)$")
_family = Family.IPV4
T = TypeVar("T", Service, EndpointSlice)


@contextlib.contextmanager
def speaking(family: Family) -> Iterator[None]:
    """Until the block ends, addresses are of this family."""
    global _family
    before, _family = _family, family
    try:
        yield
    finally:
        _family = before


def family() -> Family:
    """The family of now."""
    return _family


def told(text: str) -> str:
    """Every IPv4 address and network in a text, in the family of now."""
    return _ADDRESS.sub(_embed, text) if _family is Family.IPV6 else text


def heard(text: str) -> str:
    """An address that a socket saw, in IPv4 again."""
    match = _EMBEDDED.match(text)
    if match is None:
        return text
    return str(ipaddress.IPv4Address(int(match[1], 16) << 16 | int(match[2], 16)))


def told_object(obj: T) -> T:
    """An object with its addresses in the family of now."""
    if _family is Family.IPV4:
        return obj
    text = told(orjson.dumps(codec.encode(obj)).decode())
    return codec.decode(type(obj), orjson.loads(text.replace('"IPv4"', '"IPv6"')))


def told_config(config: ProxyConfig) -> ProxyConfig:
    """A proxy's settings with their addresses in the family of now."""
    if _family is Family.IPV4:
        return config
    changed: dict[str, Any] = {"node_ip": ipaddress.ip_address(told(str(config.node_ip)))}
    if config.cluster_cidr is not None:
        changed["cluster_cidr"] = ipaddress.ip_network(told(str(config.cluster_cidr)))
    for field in ("service_cidrs", "nodeport_addresses"):
        found = getattr(config, field)
        changed[field] = tuple(ipaddress.ip_network(told(str(it))) for it in found)
    return dataclasses.replace(config, **changed)


def _embed(match: re.Match[str]) -> str:
    address = str(ipaddress.IPv6Address(f"fd00::{match[1]}"))
    return f"{address}/{96 + int(match[2])}" if match[2] else address

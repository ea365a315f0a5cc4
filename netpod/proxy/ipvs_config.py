"""What kube-proxy's configuration says about IPVS mode: the section `ipvs` of KubeProxyConfiguration (pure)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from ipaddress import ip_network
from typing import Any

from netpod.errors import UsageError
from netpod.ip import Network


class Scheduler(StrEnum):
    """How a virtual server chooses. Source: ipvsadm(8)."""

    RR = "rr"
    WRR = "wrr"
    LC = "lc"
    WLC = "wlc"
    LBLC = "lblc"
    LBLCR = "lblcr"
    SH = "sh"
    DH = "dh"
    SED = "sed"
    NQ = "nq"
    MH = "mh"
    FO = "fo"
    OVF = "ovf"


@dataclass(frozen=True, slots=True, kw_only=True)
class IpvsConfig:
    """Settings of IPVS mode.

    Attributes:
        scheduler: Of every virtual server.
        exclude_cidrs: Virtual servers with these addresses are somebody else's and stay.
        strict_arp: Answer ARP only on the link that has the address (arp_ignore 1, arp_announce 2).
        tcp_timeout: Seconds an idle TCP connection is remembered; 0 leaves the kernel's.
        tcp_fin_timeout: The same after a FIN.
        udp_timeout: The same for UDP.
        drain_period: Seconds between looks at real servers that wait for their last connection to end.

    Source: kubernetes pkg/proxy/apis/config/types.go KubeProxyIPVSConfiguration.
    """

    scheduler: Scheduler = Scheduler.RR
    exclude_cidrs: tuple[Network, ...] = ()
    strict_arp: bool = False
    tcp_timeout: int = 0
    tcp_fin_timeout: int = 0
    udp_timeout: int = 0
    drain_period: float = 60.0


def scheduler_of(text: str) -> Scheduler:
    """The scheduler of that name; "" is rr.

    Raises:
        UsageError: there is none.
    """
    try:
        return Scheduler(text or Scheduler.RR)
    except ValueError:
        known = ", ".join(Scheduler)
        raise UsageError(f"cannot use IPVS scheduler {text!r}: there are {known}") from None


_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|us|µs|ns|m|s)")


def parse(section: Mapping[str, Any], default: IpvsConfig) -> IpvsConfig:
    """The section `ipvs` of a KubeProxyConfiguration over the defaults; other fields of it have no effect here.

    Raises:
        UsageError: a field says something that cannot be; says which, what was found, what is allowed.
    """
    if not isinstance(section, Mapping):
        raise UsageError(f"ipvs: {section!r} is no mapping")
    out = default
    if section.get("scheduler"):
        out = replace(out, scheduler=scheduler_of(str(section["scheduler"])))
    if "strictARP" in section:
        if not isinstance(section["strictARP"], bool):
            raise UsageError(f"ipvs.strictARP: {section['strictARP']!r} is not true or false")
        out = replace(out, strict_arp=section["strictARP"])
    if section.get("excludeCIDRs"):
        out = replace(out, exclude_cidrs=_networks(section["excludeCIDRs"]))
    return replace(
        out,
        tcp_timeout=_seconds("tcpTimeout", section, out.tcp_timeout),
        tcp_fin_timeout=_seconds("tcpFinTimeout", section, out.tcp_fin_timeout),
        udp_timeout=_seconds("udpTimeout", section, out.udp_timeout),
    )


def _networks(found: Any) -> tuple[Network, ...]:
    if not isinstance(found, list):
        raise UsageError(f"ipvs.excludeCIDRs: {found!r} is no list of networks")
    networks: list[Network] = []
    for text in found:
        try:
            networks.append(ip_network(str(text)))
        except ValueError as error:
            raise UsageError(f"ipvs.excludeCIDRs: {error}") from None
    return tuple(networks)


def _seconds(field: str, section: Mapping[str, Any], default: int) -> int:
    """Whole seconds of a duration as Go writes it: 15m, 1m30s."""
    text = str(section.get(field) or "")
    if not text:
        return default
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise UsageError(f"ipvs.{field}: {text!r} is no duration like 15m or 1m30s")
    return int(sum(float(number) * _UNITS[unit] for number, unit in parts))

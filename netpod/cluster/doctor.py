"""Does this machine have what netpod needs? Each check tries the thing itself and says how to get it."""

import os
import platform
import socket
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from netpod.errors import KernelError, Unsupported
from netpod.ip import Family
from netpod.linux import iptables, link, netns, nft, process
from netpod.linux.link import End
from netpod.proxy.config import Mode, Variant
from netpod.proxy.ipvs_config import Scheduler

SCRATCH = "netpod-doctor"
LEGACY = "iptables-legacy"
_NF_TABLES = ("iptables matches", "nftables")
WITHOUT_NFTABLES = (
    "without it: iptables variant legacy, no proxy mode nftables, no NetworkPolicies enforced"
)
NO_NFTABLES = "this kernel has no nf_tables for IP addresses (modprobe nf_tables)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at. `advice` says what to do when it is not `ok`."""

    name: str
    ok: bool
    found: str
    advice: str = ""
    essential: bool = True


_PROGRAMS = (
    ("iptables-restore", "iptables", True),
    ("iptables-save", "iptables", True),
    ("nft", "nftables", True),
    ("catatonit", "catatonit", True),
    ("haproxy", "haproxy", True),
    ("ip", "iproute2", False),
    ("conntrack", "conntrack", False),
    ("curl", "curl", False),
    ("ping", "iputils-ping", False),
)


def require_essentials() -> None:
    """Raise unless a cluster can be made; the quick part of the examination.

    Raises:
        Unsupported: not root, or a program is missing; says how to get it.
    """
    for check in (_root(), *_programs(essential_only=True)):
        if not check.ok:
            raise Unsupported(f"cannot start: {check.name}: {check.found}; {check.advice}")


def require_ipv6() -> None:
    """Raise unless this kernel speaks IPv6.

    Raises:
        Unsupported: it does not; says how to get it.
    """
    if not socket.has_ipv6 or not os.path.isdir("/proc/sys/net/ipv6"):
        raise Unsupported(
            "cannot use IPv6: this kernel has none, or was started with ipv6.disable=1; "
            "start it without that, or choose --ip-family ipv4"
        )


def require_mode(mode: Mode, scheduler: Scheduler = Scheduler.RR) -> None:
    """Raise unless this kernel can do a proxy mode; tried in a namespace of its own.

    Raises:
        Unsupported: what is missing, how to get it, which modes work.
    """
    if mode is Mode.NFTABLES and not nft.supported():
        raise Unsupported(
            f"cannot use proxy mode nftables: {NO_NFTABLES}; iptables mode with --iptables-variant legacy does "
            "not need it"
        )
    if mode is not Mode.IPVS:
        return
    from netpod.proxy import ipvs_kernel

    netns.ensure_netns(SCRATCH)
    try:
        ipvs_kernel.require(SCRATCH, scheduler)
    finally:
        netns.delete_netns(SCRATCH)


def choose_variant(wanted: str, families: Iterable[Family]) -> Variant:
    """Which iptables a cluster gets: what is wanted, else the distribution's where this kernel has nf_tables.

    Raises:
        Unsupported: the variant that was asked for, or either, cannot be used on this kernel; says why.
    """
    if wanted == Variant.LEGACY:
        return Variant.LEGACY
    if nft.supported("", families):
        return Variant.NFT
    if wanted == Variant.NFT:
        raise Unsupported(
            f"cannot use iptables variant nft: {NO_NFTABLES}; --iptables-variant legacy does not need it"
        )
    return Variant.LEGACY


def examine() -> list[Check]:
    """Look at everything; kernel features by using them in a namespace of their own."""
    checks = [_root(), _python(), _kernel(), *_programs()]
    if checks[0].ok:
        checks += _kernel_features()
    return checks


def _root() -> Check:
    ok = os.geteuid() == 0
    return Check(
        name="root",
        ok=ok,
        found="yes" if ok else f"user id {os.geteuid()}",
        advice="run with sudo: network namespaces need root",
    )


def _python() -> Check:
    ok = sys.version_info >= (3, 11)
    return Check(name="python", ok=ok, found=platform.python_version(), advice="3.11 or later")


def _kernel() -> Check:
    ok = sys.platform == "linux"
    return Check(name="kernel", ok=ok, found=platform.release(), advice="netpod needs Linux")


def _programs(*, essential_only: bool = False) -> list[Check]:
    checks = []
    for program, package, essential in _PROGRAMS:
        if essential_only and not essential:
            continue
        try:
            found = process.find(program)
        except Unsupported:
            found = ""
        checks.append(
            Check(
                name=program,
                ok=bool(found),
                found=found or "not installed",
                advice=f"apt-get install {package}",
                essential=essential,
            )
        )
    return checks


def _kernel_features() -> list[Check]:
    try:
        netns.ensure_netns(SCRATCH)
    except KernelError as error:
        return [
            Check(
                name="network namespaces",
                ok=False,
                found=str(error),
                advice="a kernel with CONFIG_NET_NS, and root outside of a restricted container",
            )
        ]
    try:
        return [
            Check(name="network namespaces", ok=True, found="yes"),
            *_variants([_try(*feature) for feature in _FEATURES]),
        ]
    finally:
        netns.delete_netns(SCRATCH)


def _variants(checks: list[Check]) -> list[Check]:
    """The same checks; where legacy iptables works, a cluster can do without nf_tables."""
    if not any(check.name == LEGACY and check.ok for check in checks):
        return checks
    return [
        replace(check, essential=False, advice=f"{check.advice}; {WITHOUT_NFTABLES}")
        if check.name in _NF_TABLES
        else check
        for check in checks
    ]


def _veth() -> None:
    link.create_veth(SCRATCH, End(name="a"), SCRATCH, End(name="b"))


def _bridge() -> None:
    link.ensure_bridge(SCRATCH, "br0")


def _iptables() -> None:
    iptables.restore(SCRATCH, _IPTABLES_PROBE)


def _iptables_legacy() -> None:
    iptables.restore(SCRATCH, _IPTABLES_PROBE, legacy=True)


def _nft() -> None:
    nft.apply(
        SCRATCH,
        "table ip netpod-doctor { chain c { numgen random mod 2 vmap { 0 : accept, 1 : accept }; }; }",
    )


def _vxlan() -> None:
    from netpod.linux import vxlan

    local, mac = IPv4Address("192.0.2.1"), "02:00:00:00:00:01"
    vxlan.ensure(SCRATCH, "v", vni=1, local=local, dev="lo", port=8472, mac=mac, mtu=1450)


def _bridge_netfilter() -> None:
    key = "/proc/sys/net/bridge/bridge-nf-call-iptables"
    if not netns.call_in(SCRATCH, os.path.exists, key):
        raise KernelError("cannot filter bridged frames: br_netfilter is not loaded")


def _packet_socket() -> None:
    netns.socket_in(SCRATCH, socket.AF_PACKET, socket.SOCK_RAW).close()


def _ipvs() -> None:
    from netpod.proxy import ipvs_kernel

    ipvs_kernel.require(SCRATCH)


def _netem() -> None:
    from netpod.linux import netem
    from netpod.linux.netem import Netem

    netem.apply(SCRATCH, "lo", Netem(delay=0.001))


_IPTABLES_PROBE = """*nat
:P - [0:0]
-A P -m comment --comment x -m statistic --mode random --probability 0.5 -j RETURN
-A P -m addrtype --dst-type LOCAL -m mark --mark 0x4000/0x4000 -j RETURN
-A P -j MASQUERADE --random-fully
COMMIT
*filter
:P - [0:0]
-A P -m conntrack --ctstate NEW -j REJECT
COMMIT
"""

_FEATURES: tuple[tuple[str, Callable[[], None], str, bool], ...] = (
    ("veth", _veth, "modprobe veth", True),
    ("bridge", _bridge, "modprobe bridge", True),
    ("br_netfilter", _bridge_netfilter, "modprobe br_netfilter", True),
    (
        "iptables matches",
        _iptables,
        "modprobe nf_tables nft_compat xt_comment xt_statistic xt_addrtype",
        True,
    ),
    ("nftables", _nft, "modprobe nf_tables", True),
    (
        LEGACY,
        _iptables_legacy,
        "modprobe iptable_nat iptable_filter; only --iptables-variant legacy needs it",
        False,
    ),
    ("packet sockets", _packet_socket, "modprobe af_packet", True),
    ("vxlan", _vxlan, "modprobe vxlan; only --pod-network vxlan needs it", False),
    ("ipvs", _ipvs, "only --proxy-mode ipvs needs it", False),
    ("netem", _netem, "only netpod netem needs it", False),
)


def _try(name: str, feature: Callable[[], None], advice: str, essential: bool) -> Check:
    try:
        feature()
    except (KernelError, OSError) as error:
        return Check(name=name, ok=False, found=str(error), advice=advice, essential=essential)
    return Check(name=name, ok=True, found="yes", essential=essential)

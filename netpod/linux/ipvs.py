"""IPVS, the kernel's load balancer: virtual servers and the real servers behind them, of one network namespace.

A virtual server is told by its address, port and protocol, a real server by its address and port. Forwarding is
masquerading (NAT), always. What this module does not set (thresholds, tunnels, firewall marks) is left out.

Sources: ipvsadm(8); kernel net/netfilter/ipvs/ip_vs_ctl.c, uapi linux/ip_vs.h.
"""

import errno
import ipaddress
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyroute2.netlink import CTRL_CMD_GETFAMILY, GENL_ID_CTRL, ctrlmsg, genlmsg
from pyroute2.netlink.generic import ipvs as wire

from netpod.errors import KernelError, Unsupported
from netpod.ip import Address, family_of
from netpod.linux import netlink
from netpod.linux import netns as namespaces

NETLINK_GENERIC = 16
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
SYSCTLS = "/proc/sys/net/ipv4/vs"
ADVICE = "modprobe ip_vs, or a kernel with CONFIG_IP_VS"

_PERSISTENT, _HASH_PORT = 0x1, 0x10
_HASHED, _ALL = 0x2, 0xFFFFFFFF
_MASQUERADE = 0
_NAMES = {number: name for name, number in PROTOCOLS.items()}

Place = tuple[Address, int, str]
"""Address, port, protocol ("tcp", "udp" or "sctp")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A virtual server.

    Attributes:
        place: Where clients connect to.
        scheduler: "rr", "wrr", ...
        persistent: Seconds a client keeps its real server; 0: it does not.
        hash_port: A hashing scheduler takes the client's port in.
    """

    place: Place
    scheduler: str
    persistent: int = 0
    hash_port: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """A real server; the numbers are what the kernel counts, of no meaning when it is made.

    Attributes:
        address: Where it is.
        port: Where it is.
        weight: Its share of new connections; 0: none.
        active: Connections that are established.
        inactive: Connections that begin or end, and those of UDP.
        persistent: Clients that come back to it, by persistence.
        packets: That went to it.
        bytes: Of those packets.
    """

    address: Address
    port: int
    weight: int = 1
    active: int = 0
    inactive: int = 0
    persistent: int = 0
    packets: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds after which an idle connection is forgotten."""

    tcp: int
    tcp_fin: int
    udp: int


class _Config(genlmsg):  # type: ignore[misc]
    """The same message for GET_CONFIG and SET_CONFIG; pyroute2 leaves these attributes undecoded."""

    prefix = "IPVS_CMD_ATTR_"
    nla_map = (
        ("IPVS_CMD_ATTR_UNSPEC", "none"),
        ("IPVS_CMD_ATTR_SERVICE", "none"),
        ("IPVS_CMD_ATTR_DEST", "none"),
        ("IPVS_CMD_ATTR_DAEMON", "none"),
        ("IPVS_CMD_ATTR_TIMEOUT_TCP", "uint32"),
        ("IPVS_CMD_ATTR_TIMEOUT_TCP_FIN", "uint32"),
        ("IPVS_CMD_ATTR_TIMEOUT_UDP", "uint32"),
    )


def present(netns: str) -> bool:
    """Whether ip_vs is there already; asking does not load it."""
    return namespaces.call_in(netns, os.path.exists, SYSCTLS)


class Ipvs:
    """IPVS of one network namespace; for one thread at a time; close it, or use `with`.

    Raises from every method:
        KernelError: the kernel refused; messages before and after the refused one were carried out.
        Unsupported: this kernel has no ip_vs, or not that scheduler.
    """

    def __init__(self, netns: str) -> None:
        self._netns = netns
        self._socket = netlink.Socket(netns, NETLINK_GENERIC)
        try:
            self._family = _family(self._socket)
        except BaseException:
            self._socket.close()
            raise

    def __enter__(self) -> "Ipvs":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def services(self) -> list[Service]:
        """Every virtual server but those of firewall marks."""
        request = self._message(wire.IPVS_CMD_GET_SERVICE)
        found = self._dump(request, "list virtual servers")
        return [
            service for it in found if (service := _service(it.get_attr("IPVS_CMD_ATTR_SERVICE")))
        ]

    def destinations(self, place: Place) -> list[Destination]:
        """Real servers of a virtual server; none when it is gone."""
        request = self._message(wire.IPVS_CMD_GET_DEST)
        request["attrs"] = [("IPVS_CMD_ATTR_SERVICE", {"attrs": _place_attributes(place)})]
        found = self._dump(request, f"list real servers of {place_text(place)}", [errno.ESRCH])
        return [_destination(it.get_attr("IPVS_CMD_ATTR_DEST")) for it in found]

    def timeouts(self) -> Timeouts:
        """The timeouts of connections."""
        request = _Config()
        request["cmd"], request["version"] = wire.IPVS_CMD_GET_CONFIG, wire.GENL_VERSION
        message = netlink.encode(request, self._family, netlink.NLM_F_ACK, "read IPVS timeouts")
        (found,) = self._socket.dump(message, _Config)
        return Timeouts(
            tcp=found.get_attr("IPVS_CMD_ATTR_TIMEOUT_TCP"),
            tcp_fin=found.get_attr("IPVS_CMD_ATTR_TIMEOUT_TCP_FIN"),
            udp=found.get_attr("IPVS_CMD_ATTR_TIMEOUT_UDP"),
        )

    def set_timeouts(self, timeouts: Timeouts) -> None:
        """Set them; 0 leaves one as it is."""
        request = _Config()
        request["cmd"], request["version"] = wire.IPVS_CMD_SET_CONFIG, wire.GENL_VERSION
        request["attrs"] = [
            ("IPVS_CMD_ATTR_TIMEOUT_TCP", timeouts.tcp),
            ("IPVS_CMD_ATTR_TIMEOUT_TCP_FIN", timeouts.tcp_fin),
            ("IPVS_CMD_ATTR_TIMEOUT_UDP", timeouts.udp),
        ]
        self._socket.send([netlink.encode(request, self._family, 0, "set IPVS timeouts")])

    def send(self, messages: Iterable[netlink.Message]) -> None:
        """Hand over messages of `add`, `change`, `delete`, `add_to`, `set_in` and `delete_from`, in order."""
        try:
            self._socket.send(list(messages))
        except KernelError as error:
            if error.errno == errno.ENOENT and "virtual server" in str(error):
                raise Unsupported(f"{error}: this kernel lacks the scheduler") from error
            raise

    def add(self, service: Service) -> netlink.Message:
        """Make a virtual server; fine when it is there already, but then it stays as it was."""
        what = f"add virtual server {place_text(service.place)} with scheduler {service.scheduler}"
        return self._of_service(
            wire.IPVS_CMD_NEW_SERVICE, _service_attributes(service), what, [errno.EEXIST]
        )

    def change(self, service: Service) -> netlink.Message:
        """Change scheduler, persistence and flags of a virtual server; its connections stay."""
        what = f"change virtual server {place_text(service.place)} to scheduler {service.scheduler}"
        return self._of_service(wire.IPVS_CMD_SET_SERVICE, _service_attributes(service), what)

    def delete(self, place: Place) -> netlink.Message:
        """Delete a virtual server with its real servers; absent is fine."""
        what = f"delete virtual server {place_text(place)}"
        return self._of_service(
            wire.IPVS_CMD_DEL_SERVICE, _place_attributes(place), what, [errno.ESRCH]
        )

    def add_to(self, place: Place, real: Destination) -> netlink.Message:
        """Add a real server; fine when it is there, but then its weight stays."""
        what = f"add real server {_real_text(real)} to {place_text(place)}"
        return self._of_real(wire.IPVS_CMD_NEW_DEST, place, real, what, [errno.EEXIST])

    def set_in(self, place: Place, real: Destination) -> netlink.Message:
        """Set a real server's weight: 0 takes no new connections."""
        what = f"set weight of real server {_real_text(real)} of {place_text(place)}"
        return self._of_real(wire.IPVS_CMD_SET_DEST, place, real, what)

    def delete_from(self, place: Place, real: Destination) -> netlink.Message:
        """Delete a real server; absent is fine, and so is a virtual server that is."""
        what = f"delete real server {_real_text(real)} of {place_text(place)}"
        ignore = [errno.ENOENT, errno.ESRCH]
        return self._of_real(wire.IPVS_CMD_DEL_DEST, place, real, what, ignore)

    def _of_service(
        self, command: int, attributes: list[Any], what: str, ignore: Iterable[int] = ()
    ) -> netlink.Message:
        request = self._message(command)
        request["attrs"] = [("IPVS_CMD_ATTR_SERVICE", {"attrs": attributes})]
        return netlink.encode(request, self._family, 0, what, ignore)

    def _of_real(
        self, command: int, place: Place, real: Destination, what: str, ignore: Iterable[int] = ()
    ) -> netlink.Message:
        request = self._message(command)
        request["attrs"] = [
            ("IPVS_CMD_ATTR_SERVICE", {"attrs": _place_attributes(place)}),
            ("IPVS_CMD_ATTR_DEST", {"attrs": _real_attributes(real)}),
        ]
        return netlink.encode(request, self._family, 0, what, ignore)

    def _dump(self, request: Any, what: str, ignore: Iterable[int] = ()) -> list[Any]:
        message = netlink.encode(request, self._family, netlink.NLM_F_DUMP, what, ignore)
        return self._socket.dump(message, wire.ipvsmsg)

    @staticmethod
    def _message(command: int) -> Any:
        message = wire.ipvsmsg()
        message["cmd"], message["version"] = command, wire.GENL_VERSION
        return message


def place_text(place: Place) -> str:
    """`10.96.0.1:443/tcp`."""
    address, port, protocol = place
    return f"{_bracketed(address)}:{port}/{protocol}"


def _real_text(real: Destination) -> str:
    return f"{_bracketed(real.address)}:{real.port}"


def _bracketed(address: Address) -> str:
    return str(address) if address.version == 4 else f"[{address}]"


_KNOWN: dict[str, int] = {}


def _family(channel: netlink.Socket) -> int:
    """Number of IPVS' family of generic netlink, the same in every namespace; asking may load the module."""
    if "IPVS" not in _KNOWN:
        request = ctrlmsg()
        request["cmd"], request["version"] = CTRL_CMD_GETFAMILY, 1
        request["attrs"] = [("CTRL_ATTR_FAMILY_NAME", wire.GENL_NAME)]
        message = netlink.encode(request, GENL_ID_CTRL, netlink.NLM_F_ACK, "find IPVS")
        try:
            (answer,) = channel.dump(message, ctrlmsg)
        except KernelError as error:
            if error.errno != errno.ENOENT:
                raise
            raise Unsupported(f"this kernel has no ip_vs ({ADVICE})") from error
        _KNOWN["IPVS"] = int(answer.get_attr("CTRL_ATTR_FAMILY_ID"))
    return _KNOWN["IPVS"]


def _place_attributes(place: Place) -> list[Any]:
    address, port, protocol = place
    return [
        ("IPVS_SVC_ATTR_AF", family_of(address).af),
        ("IPVS_SVC_ATTR_PROTOCOL", PROTOCOLS[protocol]),
        ("IPVS_SVC_ATTR_ADDR", str(address)),
        ("IPVS_SVC_ATTR_PORT", port),
    ]


def _service_attributes(service: Service) -> list[Any]:
    flags = _PERSISTENT if service.persistent else 0
    flags |= _HASH_PORT if service.hash_port else 0
    # The kernel wants an IPv6 mask as a number of bits, in the machine's order; the attribute's type is an address.
    whole = "255.255.255.255"
    if service.place[0].version == 6:
        whole = str(ipaddress.IPv4Address(struct.pack("=I", 128)))
    return [
        *_place_attributes(service.place),
        ("IPVS_SVC_ATTR_SCHED_NAME", service.scheduler),
        ("IPVS_SVC_ATTR_FLAGS", {"flags": flags, "mask": _ALL}),
        ("IPVS_SVC_ATTR_TIMEOUT", service.persistent),
        ("IPVS_SVC_ATTR_NETMASK", whole),
    ]


def _real_attributes(real: Destination) -> list[Any]:
    return [
        ("IPVS_DEST_ATTR_ADDR_FAMILY", family_of(real.address).af),
        ("IPVS_DEST_ATTR_ADDR", str(real.address)),
        ("IPVS_DEST_ATTR_PORT", real.port),
        ("IPVS_DEST_ATTR_FWD_METHOD", _MASQUERADE),
        ("IPVS_DEST_ATTR_WEIGHT", real.weight),
        ("IPVS_DEST_ATTR_U_THRESH", 0),
        ("IPVS_DEST_ATTR_L_THRESH", 0),
    ]


def _service(found: Any) -> Service | None:
    if found.get_attr("IPVS_SVC_ATTR_FWMARK"):
        return None
    flags = found.get_attr("IPVS_SVC_ATTR_FLAGS")["flags"]
    persistent = found.get_attr("IPVS_SVC_ATTR_TIMEOUT") if flags & _PERSISTENT else 0
    place = (
        ipaddress.ip_address(found.get_attr("IPVS_SVC_ATTR_ADDR")),
        found.get_attr("IPVS_SVC_ATTR_PORT"),
        _NAMES.get(found.get_attr("IPVS_SVC_ATTR_PROTOCOL"), "?"),
    )
    return Service(
        place=place,
        scheduler=found.get_attr("IPVS_SVC_ATTR_SCHED_NAME"),
        persistent=persistent,
        hash_port=bool(flags & _HASH_PORT),
    )


def _destination(found: Any) -> Destination:
    stats = found.get_attr("IPVS_DEST_ATTR_STATS64") or found.get_attr("IPVS_DEST_ATTR_STATS")
    return Destination(
        address=ipaddress.ip_address(found.get_attr("IPVS_DEST_ATTR_ADDR")),
        port=found.get_attr("IPVS_DEST_ATTR_PORT"),
        weight=found.get_attr("IPVS_DEST_ATTR_WEIGHT"),
        active=found.get_attr("IPVS_DEST_ATTR_ACTIVE_CONNS") or 0,
        inactive=found.get_attr("IPVS_DEST_ATTR_INACT_CONNS") or 0,
        persistent=found.get_attr("IPVS_DEST_ATTR_PERSIST_CONNS") or 0,
        packets=(stats.get_attr("IPVS_STATS_ATTR_INPKTS") or 0) if stats else 0,
        bytes=(stats.get_attr("IPVS_STATS_ATTR_INBYTES") or 0) if stats else 0,
    )

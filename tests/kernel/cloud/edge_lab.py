"""The edge between a client outside and two nodes on the wire inside.

outside 203.0.113.10 --- out 203.0.113.1 [edge] in 172.18.0.1 --- 172.18.0.3 [node3], 172.18.0.4 [node4]
"""

from netpod.linux import netns, sysctl
from tests.kernel.proxy.lab import ip

OUTSIDE, EDGE, NODE3, NODE4 = "npe-outside", "npe-edge", "npe-node3", "npe-node4"
ALL = (OUTSIDE, EDGE, NODE3, NODE4)
CLIENT_IP = "203.0.113.10"


def build() -> None:
    """Make the namespaces and the wires."""
    for name in ALL:
        netns.create(name)
        ip(name, "link set lo up")
    ip(
        EDGE,
        f"link add out type veth peer name eth0 netns {OUTSIDE}",
        "address add 203.0.113.1/24 dev out",
        "link set out up",
        "link add in type bridge",
        "address add 172.18.0.1/16 dev in",
        "link set in up",
        "route add 198.51.100.0/24 dev in",
    )
    sysctl.write(EDGE, "net.ipv4.ip_forward", 1)
    ip(
        OUTSIDE,
        "link set eth0 up",
        f"address add {CLIENT_IP}/24 dev eth0",
        "route add default via 203.0.113.1",
    )
    for number, name in ((3, NODE3), (4, NODE4)):
        ip(
            EDGE,
            f"link add port{number} type veth peer name eth0 netns {name}",
            f"link set port{number} master in",
            f"link set port{number} up",
        )
        ip(
            name,
            "link set eth0 up",
            f"address add 172.18.0.{number}/16 dev eth0",
            "route add default via 172.18.0.1",
        )


def destroy() -> None:
    """Delete the namespaces."""
    for name in ALL:
        netns.delete_netns(name)

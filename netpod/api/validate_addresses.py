"""What an address or a CIDR may be where traffic can be sent to it or come from it.

Source: k8s.io/apimachinery pkg/util/validation/ip.go; pkg/apis/core/validation/endpoints.go.
"""

from ipaddress import ip_address, ip_network

BAD_ADDRESS = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
BAD_CIDR = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


def is_ip(text: str) -> bool:
    """Whether the text is one IPv4 or IPv6 address, without a zone."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def is_cidr(text: str) -> bool:
    """Whether the text is an address and a prefix length; bits behind the prefix may be set."""
    address, slash, length = text.partition("/")
    if not slash or not length.isascii() or not length.isdigit():
        return False
    try:
        ip_network(text, strict=False)
    except ValueError:
        return False
    return is_ip(address)


def address(text: str) -> list[str]:
    """Complaints about an address."""
    return [] if is_ip(text) else [BAD_ADDRESS]


def destination(text: str) -> list[str]:
    """Complaints about an address that packets of a Service go to: it must not be special."""
    if not is_ip(text):
        return [BAD_ADDRESS]
    ip = ip_address(text)
    problems = []
    if ip.is_unspecified:
        problems.append("may not be unspecified (0.0.0.0 or ::)")
    if ip.is_loopback:
        problems.append("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if ip.is_link_local:
        problems.append("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    if str(ip).startswith("224.0.0.") or (
        ip.version == 6 and ip.is_multicast and _link_scope(text)
    ):
        problems.append("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    return problems


def _link_scope(text: str) -> bool:
    return ip_address(text).packed[1] & 0x0F == 2

"""A trace's client is ready before the clock of its request runs."""

import sys
from pathlib import Path

import netpod
from netpod.linux import process

_PROGRAM = """
import sys
from ipaddress import ip_address
from netpod.trace.model import Address
from netpod.trace.probe import Probe
from netpod.trace.request import Kind, TraceRequest
Probe(TraceRequest(id="a", url="u", host="h", path="/", connect=Address(ip_address("127.0.0.1"), 53),
                   netns="", kind=Kind.DNS, query="a.example"))
print("dns.message" in sys.modules)
"""


def test_what_makes_a_dns_query_is_loaded_before_it_is_sent() -> None:
    """Else its loading is part of the way: tens of times of what the network takes."""
    path = f"import sys; sys.path.insert(0, {str(Path(netpod.__file__).parent.parent)!r})"
    done = process.run([sys.executable, "-P", "-c", path + _PROGRAM])
    assert done.stdout.split() == [b"True"], done.stderr

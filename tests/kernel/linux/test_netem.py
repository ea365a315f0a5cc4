"""The kernel's network emulator on one link."""

import pytest

from netpod.errors import KernelError
from netpod.linux import link, netem, netns, process
from netpod.linux.netem import Netem
from tests.support.guest import needs

pytestmark = needs("netem")


def test_a_link_is_worsened_and_sends_as_before_again(pair: tuple[str, str]) -> None:
    """tc(8) prints what was asked for; another one replaces it; cleared twice is fine."""
    here, _ = pair
    netem.clear(here, "eth0")
    netem.apply(here, "eth0", Netem(delay=0.05, jitter=0.01, loss=0.015, rate=1_250_000))
    said = process.run(["tc", "qdisc", "show", "dev", "eth0"], netns=here).stdout.decode()
    for words in ("netem", "delay 50ms  10ms", "loss 1.5%", "rate 10Mbit"):
        assert words in said, said
    assert netem.observe(here, "eth0")
    netem.apply(here, "eth0", Netem(loss=1.0))
    said = process.run(["tc", "qdisc", "show", "dev", "eth0"], netns=here).stdout.decode()
    assert "loss 100%" in said
    assert "delay" not in said
    with pytest.raises(KernelError):
        process.run(["ping", "-c1", "-W1", "10.0.0.2"], netns=here)
    netem.clear(here, "eth0")
    netem.clear(here, "eth0")
    assert not netem.observe(here, "eth0")
    process.run(["ping", "-c1", "-W5", "10.0.0.2"], netns=here)


def test_no_such_link_is_an_error(pair: tuple[str, str]) -> None:
    """And not silently nothing."""
    with pytest.raises(KernelError, match="nolink"):
        netem.apply(pair[0], "nolink", Netem(loss=1.0))
    assert netns.exists(pair[0])
    assert link.observe_link(pair[0], "eth0")

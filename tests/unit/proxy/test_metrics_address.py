"""Where a proxy answers /metrics, as ConfigMap kube-system/kube-proxy says."""

import pytest

from netpod.api.core import ConfigMap
from netpod.errors import BadRequest
from netpod.proxy import configmap


def _config(text: str) -> ConfigMap:
    return ConfigMap(data={configmap.KEY: f"metricsBindAddress: {text}\n"})


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", ("127.0.0.1", 10249)),
        ('""', ("127.0.0.1", 10249)),
        ("0.0.0.0:10249", ("0.0.0.0", 10249)),
        ("0.0.0.0", ("0.0.0.0", 10249)),
        ("172.18.0.3:9000", ("172.18.0.3", 9000)),
        ('"[::]:10249"', ("::", 10249)),
        ('"::1"', ("::1", 10249)),
    ],
)
def test_an_address_is_taken_with_and_without_a_port(text: str, found: tuple[str, int]) -> None:
    """As upstream; without the field, or without the ConfigMap, it is loopback."""
    assert configmap.metrics_address(_config(text), "worker", 10249) == found
    assert configmap.metrics_address(None, "worker", 10249) == ("127.0.0.1", 10249)


@pytest.mark.parametrize("text", ["somewhere:1", "10.0.0.1:x", "10.0.0.1:70000", "10.0.0"])
def test_what_is_no_address_is_refused(text: str) -> None:
    """The message names the field and what was found."""
    with pytest.raises(BadRequest, match=f"metricsBindAddress '{text}'"):
        configmap.metrics_address(_config(text), "worker", 10249)

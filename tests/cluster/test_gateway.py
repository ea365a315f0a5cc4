"""Gateways in a whole cluster: an address of their own, TLS, and traces."""

import base64
import json
from pathlib import Path

from tests.support.cluster import Cluster
from tests.support.wait import until
from tests.unit.ingress.certificates import make_pair

EXAMPLE = Path(__file__).parents[2] / "examples/gateway.yaml"


def _programmed(cluster: Cluster, name: str) -> str:
    found = cluster.get(f"/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways/{name}")
    status = found.get("status", {})
    good = {c["type"] for c in status.get("conditions", ()) if c["status"] == "True"}
    return status["addresses"][0]["value"] if good >= {"Accepted", "Programmed"} else ""


def test_a_gateway_comes_serves_and_goes(cluster: Cluster) -> None:
    """The example is programmed, answers, is traced by its route, and leaves no Service behind."""
    cluster.ok("apply", "-f", str(EXAMPLE))
    try:
        cluster.ok("wait", "--for=condition=Available", "deploy/shop", "deploy/shop-next")
        address = until(lambda: _programmed(cluster, "shop"), "the Gateway is programmed")
        until(lambda: cluster.curl("http://shop.example/").stdout.startswith("{"), "a pod answers")
        moved = cluster.curl("http://shop.example/old/x?q=1", "-i")
        assert "301" in moved.stdout.splitlines()[0]
        assert "location: http://shop.example/new/x?q=1" in moved.stdout
        following = cluster.curl("http://shop.example/", "-H", "X-Version: next", "-w", "")
        assert following.json["pod"].startswith("shop-next-")
        trace = cluster.ok("trace", "http://shop.example/", "-o", "json").json
        assert trace["verdict"] == "DELIVERED"
        assert "HTTPRoute default/shop" in trace["steps"][3]["sentence"]
        assert "PathPrefix / of HTTPRoute default/shop" in trace["sentence"]
        assert address in trace["steps"][0]["sentence"]
        told = " ".join(cluster.ok("explain", "http://shop.example/", "--check").stdout.split())
        assert "HTTPRoute default/shop, rule shop.example" in told
        assert "possible: DELIVERED" in told
        assert "the trace agrees" in told
        moved_on = " ".join(cluster.ok("explain", "http://shop.example/old/x").stdout.split())
        assert "301 itself, a redirect" in moved_on
    finally:
        cluster.ok("delete", "-f", str(EXAMPLE))
    pods = "/api/v1/namespaces/default/pods"
    until(
        lambda: not cluster.get(pods, labelSelector="app in (shop, shop-next)")["items"],
        "the pods are gone",
        30,
    )
    path = "/api/v1/namespaces/kube-system/services/gateway-default-shop"
    until(lambda: cluster.try_get(path) is None, "the Service is gone")


def test_a_gateway_ends_tls_with_its_own_certificate(cluster: Cluster, tmp_path: Path) -> None:
    """curl trusts the listener's certificate, and no handshake happens for other names."""
    certificate, key = make_pair("tls.example")
    (tmp_path / "ca.crt").write_text(certificate)
    data = {"tls.crt": certificate, "tls.key": key}
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    api = "gateway.networking.k8s.io/v1"
    listener = {
        "name": "https",
        "port": 443,
        "protocol": "HTTPS",
        "hostname": "tls.example",
        "tls": {"certificateRefs": [{"name": "tls-example"}]},
    }
    items = [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "tls-example"},
            "type": "kubernetes.io/tls",
            "data": encoded,
        },
        {
            "apiVersion": api,
            "kind": "Gateway",
            "metadata": {"name": "tls"},
            "spec": {"gatewayClassName": "netpod", "listeners": [listener]},
        },
        {
            "apiVersion": api,
            "kind": "HTTPRoute",
            "metadata": {"name": "tls"},
            "spec": {
                "parentRefs": [{"name": "tls"}],
                "hostnames": ["tls.example"],
                "rules": [{"backendRefs": [{"name": "example-service", "port": 80}]}],
            },
        },
    ]
    manifest = tmp_path / "tls.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    cluster.ok("apply", "-f", str(manifest))
    try:
        address = until(lambda: _programmed(cluster, "tls"), "the Gateway is programmed")
        url = "https://tls.example/"
        said = until(
            lambda: (
                cluster.curl(url, "--cacert", str(tmp_path / "ca.crt")).stdout.startswith("{")
                and cluster.curl(url, "--cacert", str(tmp_path / "ca.crt"), "--http2", "-w", "")
            ),
            "a pod answers",
        )
        assert said.json["headers"]["x-forwarded-proto"] == "https"
        other = cluster.curl(
            "https://other.example/", "-k", "--resolve", f"other.example:443:{address}"
        )
        assert other.code == 35, other
    finally:
        cluster.ok("delete", "-f", str(manifest))
    path = "/api/v1/namespaces/kube-system/services/gateway-default-tls"
    until(lambda: cluster.try_get(path) is None, "the Service is gone")

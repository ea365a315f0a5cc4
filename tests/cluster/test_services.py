"""What a user sees of Services, DNS and the ingress in a running cluster."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.support import traffic, wait
from tests.support.cluster import Cluster


def body(text: str) -> Any:
    """The stand-in's JSON answer, with the status code after it."""
    return json.loads(text.rpartition("\n")[0])


def test_the_service_spreads_over_all_its_pods(cluster: Cluster) -> None:
    """Requests through the ingress reach every ready pod: each new connection draws an endpoint."""
    names = {pod["metadata"]["name"] for pod in cluster.pods()}
    seen: Counter[str] = Counter()
    for _ in range(200):
        status, text = traffic.request(cluster.paths.netns_outside, path="/hostname")
        assert status == 200, text
        seen[text.strip()] += 1
        if len(seen) == len(names):
            break
    assert set(seen) == names
    assert len(names) == 3


def test_pods_run_on_more_than_one_node(cluster: Cluster) -> None:
    """The scheduler spreads replicas, and keeps them off the control plane."""
    nodes = {pod["spec"]["nodeName"] for pod in cluster.pods()}
    assert nodes == {"worker", "worker2"}


@pytest.mark.parametrize("origin", ["outside", "node/worker", "pod"])
def test_curl_reaches_the_application(cluster: Cluster, origin: str) -> None:
    """`netpod curl` leads an Ingress host to the load balancer from the world, a node and a pod."""
    if origin == "pod":
        origin = f"pod/{cluster.pods()[0]['metadata']['name']}"
    result = cluster.curl("http://example.com/", origin=origin)
    assert result.code == 0, result
    assert result.stdout.endswith("200"), result
    assert body(result.stdout)["host"] == "example.com"


def test_the_application_sees_the_ingress_pod_as_its_client(cluster: Cluster) -> None:
    """The proxy opens the connection that the pod sees; whom it serves it says in X-Forwarded-For."""
    ingress = cluster.pods("app.kubernetes.io/name=ingress", "kube-system")[0]
    _, text = traffic.request(cluster.paths.netns_outside)
    answer = json.loads(text)
    assert answer["client"] == ingress["status"]["podIP"]
    # externalTrafficPolicy Cluster masquerades: the proxy saw a node, not 203.0.113.10.
    assert answer["headers"]["x-forwarded-for"].startswith(("10.244.", "172.18."))


def test_the_service_sees_the_pod_that_asks_it(cluster: Cluster) -> None:
    """Within the cluster nothing masquerades: the client address is the asking pod's."""
    pod = cluster.pods()[0]
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    others = [p for p in cluster.pods() if p is not pod]
    for other in others:
        url = f"http://{other['status']['podIP']}:8080/"
        result = cluster.curl(url, origin=f"pod/{name}")
        assert body(result.stdout)["client"] == address


def test_a_pod_finds_a_service_by_name(cluster: Cluster) -> None:
    """resolv.conf's search list makes the short name enough."""
    pod = cluster.pods()[0]["metadata"]["name"]
    for name in ("example-service", "example-service.default.svc.cluster.local"):
        result = cluster.ok("exec", pod, "--", "curl", "-sS", "-m", "5", f"http://{name}/hostname")
        assert result.stdout.startswith("example-app-"), result
    result = cluster.ok("exec", pod, "--", "getent", "ahostsv4", "kubernetes.default")
    assert result.stdout.startswith("10.96.0.1 "), result


def test_an_unknown_name_is_told_at_once(cluster: Cluster) -> None:
    """NXDOMAIN, not a timeout: curl says that it cannot resolve (6), within its limit."""
    pod = cluster.pods()[0]["metadata"]["name"]
    result = cluster.cli("exec", pod, "--", "curl", "-sS", "-m", "5", "http://no-such-service/")
    assert result.code == 6, result
    assert "Could not resolve host" in result.stderr
    result = cluster.cli(
        "exec", pod, "--", "getent", "ahostsv4", "no-such.default.svc.cluster.local"
    )
    assert result.code == 2, result


def test_exec_and_logs_show_the_pod_from_inside(cluster: Cluster) -> None:
    """A program of this machine runs with the pod's addresses; the request it makes is in the pod's log."""
    pod = cluster.pods()[0]
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    assert f" {address}/24 " in cluster.ok("exec", name, "--", "ip", "-4", "address").stdout
    assert cluster.cli("exec", name, "--", "sh", "-c", "exit 7").code == 7
    cluster.ok("exec", name, "--", "curl", "-sS", "http://localhost:8080/echo?msg=told-the-log")
    wait.until(lambda: "told-the-log" in cluster.ok("logs", name).stdout, "the request is logged")


def test_without_pods_connections_are_refused_and_the_ingress_says_why(cluster: Cluster) -> None:
    """REJECT at the cluster IP, a 503 page from the ingress; all is well again after scaling up."""
    service = cluster.get("/api/v1/namespaces/default/services/example-service")
    address = service["spec"]["clusterIP"]
    cluster.ok("scale", "deploy/example-app", "--replicas", "0")
    try:
        # Until the last terminating pod is gone it is better than none, for kube-proxy.
        pods, query = "/api/v1/namespaces/default/pods", {"labelSelector": "app=example"}
        wait.until(lambda: not cluster.get(pods, **query)["items"], "all pods are gone")
        wait.until(lambda: _refused(cluster, address), "the cluster IP refuses", 5)
        status, text = wait.until(lambda: _unavailable(cluster), "the ingress answers 503", 5)
        assert status == 503
        assert "default/example-service" in text, text
        traced = cluster.cli("trace", "http://example.com/")
        assert traced.code == 3, traced
    finally:
        cluster.deploy_example()
    wait.until(lambda: len(cluster.ready_pods()) == 3, "three pods are Ready again")
    assert cluster.answers()


def _refused(cluster: Cluster, address: str) -> bool:
    try:
        traffic.request(cluster.paths.netns_node("worker"), address, timeout=0.5)
    except ConnectionRefusedError:
        return True
    except OSError:
        return False
    return False


def _unavailable(cluster: Cluster) -> tuple[int, str] | None:
    answer = traffic.request(cluster.paths.netns_outside)
    return answer if answer[0] == 503 else None


FLIP = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: flip}
spec:
  replicas: 2
  selector: {matchLabels: {app: flip}}
  template:
    metadata: {labels: {app: flip}}
    spec:
      containers:
      - name: web
        image: netpod.dev/echo
        ports: [{containerPort: 8080}]
        readinessProbe: {httpGet: {path: /healthz, port: 8080}, periodSeconds: 1, failureThreshold: 1}
---
apiVersion: v1
kind: Service
metadata: {name: flip}
spec:
  selector: {app: flip}
  ports: [{port: 80, targetPort: 8080}]
"""


def test_readiness_decides_who_gets_requests(cluster: Cluster) -> None:
    """A pod whose readiness probe fails leaves the endpoints and the rules, and comes back by itself."""
    cluster.ok("apply", "-f", "-", stdin=FLIP)
    try:
        cluster.ok("wait", "--for=condition=Available", "deploy/flip")
        wait.until(lambda: len(cluster.endpoints("flip")) == 2, "two endpoints")
        pod = cluster.pods("app=flip")[0]
        name, address = pod["metadata"]["name"], pod["status"]["podIP"]
        node = cluster.paths.netns_node("worker")
        traffic.request(node, address, port=8080, path="/fail-ready?seconds=3")
        wait.until(lambda: address not in cluster.endpoints("flip"), "the pod leaves the endpoints")
        service = cluster.get("/api/v1/namespaces/default/services/flip")["spec"]["clusterIP"]
        wait.until(lambda: name not in _answering(node, service), "the pod leaves the rules", 2)
        wait.until(lambda: address in cluster.endpoints("flip"), "the pod comes back")
        wait.until(lambda: name in _answering(node, service), "the pod is in the rules again", 2)
    finally:
        cluster.ok("delete", "-f", "-", stdin=FLIP)


def _answering(node: str, service: str) -> set[str]:
    """Pods that answered 16 requests: with two endpoints one of them is missed once in 32768 times."""
    return {traffic.request(node, service, path="/hostname")[1].strip() for _ in range(16)}

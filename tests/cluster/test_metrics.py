"""What the cluster uses, as kubectl, an autoscaler and Prometheus read it."""

import urllib.parse
from pathlib import Path
from typing import Any

from netpod.client.blocking import MERGE_PATCH
from tests.support import kubectl, wait
from tests.support.cluster import Cluster
from tests.support.kubectl import Kubectl

PROMETHEUS = str(Path(__file__).parents[2] / "examples" / "prometheus.yaml")
BUSY = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: busy}
spec:
  selector: {matchLabels: {app: busy}}
  template:
    metadata: {labels: {app: busy}}
    spec:
      terminationGracePeriodSeconds: 0
      containers:
      - name: busy
        image: netpod.dev/host
        command: [sh, -c, "while :; do i=0; while [ $i -lt 3000 ]; do i=$((i+1)); done; sleep 0.2; done"]
        resources: {requests: {cpu: 1m}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: busy}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: busy}
  minReplicas: 1
  maxReplicas: 2
  metrics:
  - type: Resource
    resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}
"""


def test_usage_is_seen_and_scaled_by(cluster: Cluster) -> None:
    """kubectl top shows a busy pod, its autoscaler scales it, and Prometheus scrapes the nodes."""
    try:
        cluster.ok("apply", "-f", "-", stdin=BUSY)
        _proxies_tell(cluster, "0.0.0.0:10249")
        cluster.ok("apply", "-f", PROMETHEUS)
        cluster.ok("wait", "--for=condition=Ready", "pod/prometheus", "--timeout", "30s")
        _scraped(cluster)
        wait.until(lambda: len(cluster.ready_pods("app=busy")) == 2, "it scaled", 90)
        hpa = cluster.get("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/busy")
        assert hpa["status"]["currentMetrics"][0]["resource"]["current"]["averageUtilization"] > 50
        _top(cluster)
    finally:
        cluster.cli("delete", "-f", "-", "--wait", stdin=BUSY)
        cluster.cli("delete", "-f", PROMETHEUS, "--wait")
        _proxies_tell(cluster, "")


def _proxies_tell(cluster: Cluster, where: str) -> None:
    """Have every kube-proxy answer /metrics at an address, as one does elsewhere to scrape it."""
    path = "/api/v1/namespaces/kube-system/configmaps/kube-proxy"
    text = cluster.get(path)["data"]["config.conf"]
    kept = [line for line in text.splitlines() if not line.startswith("metricsBindAddress")]
    more = [f"metricsBindAddress: {where}"] if where else []
    data = {"config.conf": "\n".join([*kept, *more, ""])}
    cluster.request("PATCH", path, body={"data": data}, content_type=MERGE_PATCH)


def _top(cluster: Cluster) -> None:
    """Both commands print the same nodes, and the busy pod uses more than nothing."""
    nodes = [line.split()[0] for line in cluster.ok("top", "nodes", "--no-headers").lines]
    assert nodes == ["control-plane", "worker", "worker2"]
    for path in kubectl.found():
        ask = Kubectl(path, cluster)
        said = ask.ok("top", "nodes", "--no-headers").splitlines()
        assert [line.split()[0] for line in said] == nodes
        said = ask.ok("top", "pods", "-l", "app=busy", "--no-headers").splitlines()
        assert any(int(line.split()[1].removesuffix("m")) > 0 for line in said), said
    links = cluster.ok("top", "links", "-A", "--no-headers").lines
    assert any("default/prometheus" in line for line in links), links
    gone = cluster.cli("top", "pods", "nobody")
    assert (gone.code, gone.stderr) == (1, 'error: pods "nobody" has no metrics\n')


def _scraped(cluster: Cluster) -> None:
    """A real Prometheus, with the usual jobs, has every node up and knows pods' traffic."""

    def query(expression: str) -> list[Any]:
        text = urllib.parse.quote(expression)
        path = (
            f"/api/v1/namespaces/default/services/prometheus:9090/proxy/api/v1/query?query={text}"
        )
        return list(cluster.request("GET", path)["data"]["result"])

    for job in ("kubernetes-nodes", "kubernetes-cadvisor"):
        wait.until(lambda job=job: len(query(f'up{{job="{job}"}} == 1')) == 3, f"{job} is up", 30)
    wait.until(lambda: query('up{job="kube-state-metrics"} == 1'), "objects are metrics", 30)
    assert query('kube_pod_status_phase{namespace="default",pod="prometheus",phase="Running"} == 1')
    assert query('kube_deployment_spec_replicas{namespace="default",deployment="busy"}')
    received = query('container_network_receive_bytes_total{pod="prometheus"} > 0')
    assert [row["metric"]["interface"] for row in received] == ["eth0"]
    assert query('container_memory_working_set_bytes{container="prometheus"} > 1000000')
    pods = query("sum(kubelet_running_pods)")[0]["value"][1]
    assert int(pods) >= 6
    for expression in (
        'scheduler_schedule_attempts_total{result="scheduled",profile="default-scheduler"} > 0',
        "scheduler_scheduling_attempt_duration_seconds_count > 0",
        'scheduler_pending_pods{queue="active"} >= 0',
        "scheduler_pod_scheduling_attempts_count > 0",
        "scheduler_preemption_attempts_total >= 0",
        'workqueue_adds_total{name="deployment"} > 0',
        'workqueue_work_duration_seconds_count{name="endpoint_slice"} > 0',
        'workqueue_depth{name="replicaset"} >= 0',
        "node_collector_zone_size == 3",
        "node_collector_zone_health == 100",
        "leader_election_master_status == 1",
        'coredns_dns_requests_total{proto="udp",family="1",type="A"} > 0',
        'coredns_dns_responses_total{rcode="NOERROR"} > 0',
        "coredns_dns_request_duration_seconds_count > 0",
        'coredns_cache_hits_total{type="success"} >= 0',
        "coredns_cache_misses_total > 0",
        'prober_probe_total{pod="prometheus",probe_type="Readiness",result="successful"} > 0',
        'prober_probe_duration_seconds_count{pod="prometheus"} > 0',
        "apiserver_request_total > 0",
        "count(kubeproxy_sync_proxy_rules_duration_seconds_count > 0) == 3",
    ):
        wait.until(lambda asked=expression: query(asked), expression, 60)
    _direct(cluster)


def _direct(cluster: Cluster) -> None:
    """A kubelet lets whoever the API server vouches for read metrics, and nobody do more without a role."""
    url = "https://172.18.0.3:10250"
    answer = cluster.request(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts/default/token",
        body={"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "spec": {}},
    )
    for token, code in ((answer["status"]["token"], "403"), ("made-up", "401"), ("", "403")):
        headers = ("-k", "-H", f"Authorization: Bearer {token}") if token else ("-k",)
        said = cluster.curl(f"{url}/metrics/resource", *headers, origin="pod/prometheus")
        assert said.stdout.endswith(code), (token, said)
    token = "$(cat /var/run/secrets/kubernetes.io/serviceaccount/token)"
    ask = f'curl -sk -o /dev/null -w "%{{http_code}}" -H "Authorization: Bearer {token}" {url}'
    said = cluster.ok("exec", "prometheus", "--", "sh", "-c", f"{ask}/metrics/resource; {ask}/pods")
    assert said.stdout == "200200", said

"""Upstream's scheduler, controller manager and kube-proxy of 1.20 do all of their work at netpod's API server.

They speak protobuf, as is their default; all controllers act as accounts of their own.
"""

import base64
import re
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from netpod.client.blocking import BlockingClient
from netpod.cluster import without
from tests.support import upstream, wait
from tests.support.cluster import Cluster, call, running
from tests.support.upstream import Component
from tests.unit.apiserver.requests import signing_request
from tests.upstream import facts

pytestmark = upstream.needed(*without.COMPONENTS)
SERVICES = Path(__file__).parent / "services.yaml"
NODES = ["control-plane", "worker"]
SHOP = "/api/v1/namespaces/shop"
HARMLESS = re.compile(
    "|".join(
        (
            "all flags other than --config",
            "(Authentication|Authorization) is disabled",  # of the port without TLS
            'Skipping "',
            '" is disabled',
            "cloud provider|cloud-provider",
            "resyncPeriod .* is smaller than resyncCheckPeriod",
            "Missing timestamp for Node",
            # Of a node that it sees before it has heard of it from all its informers.
            "statusUpdateNeeded",
            "Flexvolume plugin directory",
            # Somebody else was first: it reads and writes again.
            "the object has been modified; please apply your changes to the latest version",
            # What a server of today says of the versions that a component of 1.20 asks for.
            "warnings.go.* is deprecated in v1",
            # It has the reason in the answer's causes, and says so all the same.
            "unable to create new content in namespace [a-z]+ because it is being terminated",
            # It started before its node had registered.
            'Failed to retrieve node info: nodes "[a-z-]+" not found',
            "Failed to retrieve node IP: host IP unknown",
        )
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """A cluster, and who works in it."""

    cluster: Cluster
    components: list[Component]


@pytest.fixture(scope="module")
def ran() -> Iterator[Ran]:
    """A cluster that upstream's components have brought to life."""
    options = ("--without", ",".join(without.COMPONENTS), "--nodes", "1", "--no-publish")
    with running("upstream", *options, example=False) as cluster:
        with upstream.components(cluster, NODES, "-v=4") as components:
            wait.until(lambda: len(dns(cluster)) == 2, "cluster DNS is Ready", 90)
            yield Ran(cluster=cluster, components=components)


def dns(cluster: Cluster) -> list[Any]:
    """The pods of cluster DNS that are Ready."""
    return cluster.ready_pods("k8s-app=kube-dns", "kube-system")


def objects(cluster: Cluster, path: str, **query: str) -> list[Any]:
    """The items of a list."""
    found: list[Any] = cluster.get(path, **query)["items"]
    return found


def test_both_lead_and_tell(ran: Ran) -> None:
    """Leases are held and renewed, pods are bound by upstream's scheduler, and its events are there."""
    leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"
    held = {it["metadata"]["name"]: it["spec"] for it in objects(ran.cluster, leases)}
    assert {without.SCHEDULER, without.CONTROLLERS} <= held.keys()
    for name in (without.SCHEDULER, without.CONTROLLERS):
        assert held[name]["holderIdentity"].startswith(f"{socket.gethostname()}_")
        before = held[name]["renewTime"]
        path = f"{leases}/{name}"
        wait.until(
            lambda p=path, b=before: ran.cluster.get(p)["spec"]["renewTime"] > b,  # type: ignore[misc]
            f"{name} renews its lease",
        )
    pod = dns(ran.cluster)[0]["metadata"]["name"]
    events = objects(ran.cluster, "/api/v1/namespaces/kube-system/events")
    reasons = {it["reason"] for it in events if it["involvedObject"]["name"] == pod}
    assert "Scheduled" in reasons
    reporting = {it["reportingComponent"] for it in events if it["reason"] == "Scheduled"}
    assert reporting == {"default-scheduler"}


def test_workloads_come_up_and_packets_arrive(ran: Ran) -> None:
    """Deployment, endpoints and rules: from the world through the load balancer, and from a node to a cluster IP."""
    cluster = ran.cluster
    cluster.deploy_example()
    address = cluster.get("/api/v1/namespaces/default/services/example-service")["spec"][
        "clusterIP"
    ]
    for origin in ("node/worker", "node/control-plane"):
        said = cluster.curl(f"http://{address}/", origin=origin)
        assert said.stdout.endswith("200"), said
    trace = cluster.ok("trace", "http://example.com/", "-o", "json").json
    assert trace["verdict"] == "DELIVERED"


def test_rules_say_what_ours_would(ran: Ran) -> None:
    """The same chains for the same Services, the same endpoints with the same probabilities, the same masquerading."""
    cluster = ran.cluster
    cluster.ok("apply", "-f", str(SERVICES))
    cluster.ok("wait", "--for=condition=Available", "deployment/web", "--timeout=60s", timeout=70)

    def settled() -> facts.Facts | None:
        found = facts.read(cluster.cli("rules", "--diff").stdout)
        return found if found.theirs and found.theirs == found.ours else None

    try:
        found = wait.until(settled, "the rules say the same", 20)
    except AssertionError:
        found = facts.read(cluster.cli("rules", "--diff").stdout)
        only = found.theirs ^ found.ours
        raise AssertionError(f"differs: {sorted(only)}") from None
    kinds = {it[1] for it in found.theirs}
    assert kinds == set(facts.KINDS)
    assert not found.unread


def test_a_namespaces_whole_life(ran: Ran) -> None:
    """Account, token, root certificate, jobs and their pods; and at its end nothing of it is left."""
    cluster = ran.cluster
    cluster.request("POST", "/api/v1/namespaces", body={"metadata": {"name": "shop"}})
    account = wait.until(
        lambda: (cluster.try_get(f"{SHOP}/serviceaccounts/default") or {}).get("secrets"),
        "the account has its Secret",
        30,
    )
    secret = cluster.get(f"{SHOP}/secrets/{account[0]['name']}")
    token = base64.b64decode(secret["data"]["token"]).decode()
    review = {"spec": {"token": token}}
    told = cluster.request("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=review)
    assert told["status"]["user"]["username"] == "system:serviceaccount:shop:default"
    wait.until(lambda: cluster.try_get(f"{SHOP}/configmaps/kube-root-ca.crt"), "the root CA")
    container = {"name": "c", "image": "netpod.dev/host", "command": ["true"]}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {"metadata": {"name": "j"}, "spec": {"completions": 2, "template": template}}
    jobs = "/apis/batch/v1/namespaces/shop/jobs"
    cluster.request("POST", jobs, body=job)
    wait.until(
        lambda: cluster.get(f"{jobs}/j").get("status", {}).get("succeeded") == 2, "the job", 30
    )
    cluster.request("DELETE", f"{jobs}/j", body={"propagationPolicy": "Background"})
    wait.until(lambda: not objects(cluster, f"{SHOP}/pods"), "its pods are collected", 30)
    cluster.request("DELETE", SHOP)
    wait.until(lambda: cluster.try_get(SHOP) is None, "the namespace is gone", 30)
    assert not objects(cluster, f"{SHOP}/secrets")


def test_owners_are_waited_for(ran: Ran) -> None:
    """A Deployment that is deleted in the foreground stays until its ReplicaSet and pods are gone."""
    cluster = ran.cluster
    path = "/apis/apps/v1/namespaces/default/deployments/example-app"
    body = {"propagationPolicy": "Foreground"}
    assert cluster.request("DELETE", path, body=body)["metadata"]["finalizers"]
    wait.until(lambda: cluster.try_get(path) is None, "the deployment is gone", 40)
    sets = objects(
        cluster, "/apis/apps/v1/namespaces/default/replicasets", labelSelector="app=example"
    )
    assert not sets
    assert not cluster.pods()


def test_who_asks_a_component_is_looked_up(ran: Ran) -> None:
    """The scheduler's own port asks the API server who holds a token, and what he may."""
    cluster = ran.cluster
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    cluster.request("POST", accounts, body={"metadata": {"name": "asks"}})
    subjects = [{"kind": "ServiceAccount", "name": "asks", "namespace": "default"}]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
    bound = {"metadata": {"name": "asks"}, "roleRef": role, "subjects": subjects}
    where = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
    cluster.request("POST", where, body=bound)
    for account, code in (("default", "403"), ("asks", "200")):
        made = cluster.request("POST", f"{accounts}/{account}/token", body={"spec": {}})
        bearer = f"Authorization: Bearer {made['status']['token']}"
        url = "https://127.0.0.1:10259/metrics"
        said = call("curl", "-sk", "-m", "5", "-w", "%{http_code}", "-H", bearer, url).stdout
        assert said.endswith(code), (account, said[-200:])


def test_a_user_is_signed(ran: Ran) -> None:
    """A request for a user's certificate is signed by upstream's controller once it is approved, and lets him in."""
    cluster = ran.cluster
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    spec = {
        "request": signing_request("jane", "dev"),
        "signerName": "kubernetes.io/kube-apiserver-client",
        "usages": ["client auth", "digital signature"],
    }
    made = cluster.request("POST", path, body={"metadata": {"name": "jane"}, "spec": spec})
    made["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "Tested"}]}
    cluster.request("PUT", f"{path}/jane/approval", body=made)
    signed = wait.until(
        lambda: cluster.get(f"{path}/jane")["status"].get("certificate"), "it is signed", 20
    )
    certificate = x509.load_pem_x509_certificate(base64.b64decode(signed))
    assert certificate.subject.rfc4514_string() == "CN=jane,O=dev"
    ca = (cluster.paths.pki / "ca.crt").read_bytes()
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(ca))


def test_nobody_complains(ran: Ran) -> None:
    """No error or warning in any log is about the API, and no request was answered 500."""
    for component in ran.components:
        said = [it for it in component.said("^[EWF]") if not HARMLESS.search(it)]
        assert not said, (component.name, said[:10])
        assert len(component.said("^I")) > 20, component.log.read_text()
    client = BlockingClient(ran.cluster.paths.api_socket, timeout=10)
    text = client.raw("GET", "/metrics").decode()
    client.close()
    counted = [line for line in text.splitlines() if line.startswith("apiserver_request_total")]
    assert counted
    assert not [line for line in counted if re.search(r'code="5\d\d"', line)]

"""Where a person wants to stand: `outside`, `edge`, `node/NAME`, `pod/NAME`."""

from dataclasses import dataclass

from netpod.client.blocking import BlockingClient
from netpod.errors import NotFound, UsageError
from netpod.paths import Paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A network namespace and what stands in it. `pod` is "" unless it is a pod's."""

    netns: str
    node: str = ""
    namespace: str = ""
    pod: str = ""


def find(paths: Paths, api: BlockingClient, word: str, namespace: str) -> Place:
    """Return the place a word means.

    Raises:
        UsageError: the word has no such form.
        NotFound: there is no such node or pod, or the pod has no node yet.
    """
    kind, _, name = word.partition("/")
    if word in ("outside", "edge"):
        return Place(netns=paths.netns_outside if word == "outside" else paths.netns_edge)
    if kind in ("node", "no", "nodes") and name:
        api.request("GET", f"/api/v1/nodes/{name}")
        return Place(netns=paths.netns_node(name), node=name)
    if kind in ("pod", "po", "pods") and name:
        pod = api.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
        node = pod["spec"].get("nodeName", "")
        if not node or not pod["status"].get("podIP"):
            raise NotFound(f"cannot stand in pod {name}: it does not run yet")
        return Place(
            netns=paths.netns_pod(node, namespace, name), node=node, namespace=namespace, pod=name
        )
    raise UsageError(f"cannot read place {word!r}: write outside, edge, node/NAME or pod/NAME")


def ingress_address(api: BlockingClient) -> str:
    """Return the address at which the world reaches the ingress controller.

    Raises:
        NotFound: the load balancer has not given it one.
    """
    service = api.request("GET", "/api/v1/namespaces/kube-system/services/ingress")
    for ingress in service.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
        if ingress.get("ip"):
            return str(ingress["ip"])
    raise NotFound(
        "cannot reach the ingress controller: its Service has no load balancer address yet"
    )


def ingress_hosts(api: BlockingClient) -> set[str]:
    """Return the hosts that some Ingress routes."""
    items = api.request("GET", "/apis/networking.k8s.io/v1/ingresses")["items"]
    return {
        rule["host"] for item in items for rule in item["spec"].get("rules", ()) if "host" in rule
    }

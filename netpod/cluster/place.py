"""Where a person wants to stand: `outside`, `edge`, `node/NAME`, `pod/NAME`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from netpod.client.blocking import BlockingClient
from netpod.errors import NetpodError, NotFound, UsageError
from netpod.linux import netns
from netpod.paths import Paths

if TYPE_CHECKING:
    from netpod.cluster.config import ClusterConfig


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
        NetpodError: the node, or the pod's, is stopped.
    """
    kind, _, name = word.partition("/")
    if word in ("outside", "edge"):
        return Place(netns=paths.netns_outside if word == "outside" else paths.netns_edge)
    if kind in ("node", "no", "nodes") and name:
        api.request("GET", f"/api/v1/nodes/{name}")
        _require_power(paths, word, name)
        return Place(netns=paths.netns_node(name), node=name)
    if kind in ("pod", "po", "pods") and name:
        pod = api.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
        node = pod["spec"].get("nodeName", "")
        if not node or not pod["status"].get("podIP"):
            raise NotFound(f"cannot stand in pod {name}: it does not run yet")
        _require_power(paths, word, node)
        return Place(
            netns=paths.netns_pod(node, namespace, name), node=node, namespace=namespace, pod=name
        )
    raise UsageError(f"cannot read place {word!r}: write outside, edge, node/NAME or pod/NAME")


def _require_power(paths: Paths, word: str, node: str) -> None:
    if not netns.exists(paths.netns_node(node)):
        raise NetpodError(
            f"cannot stand in {word}: node {node} is stopped; netpod node start {node} starts it"
        )


def address(config: "ClusterConfig", api: BlockingClient, word: str, namespace: str) -> str:
    """Return the address of what a word means: `outside`, `edge`, node/NAME, pod/NAME or svc/NAME; "" for any other.

    Raises:
        NotFound: it names nothing, or what it names has no address.
    """
    kind, _, name = word.partition("/")
    if word in ("outside", "edge"):
        found = config.client_addresses if word == "outside" else config.edge_underlays
        return str(found[0].ip)
    if kind in ("node", "no", "nodes") and name:
        node = api.request("GET", f"/api/v1/nodes/{name}")
        addresses = node.get("status", {}).get("addresses", ())
        said = [a["address"] for a in addresses if a["type"] == "InternalIP"]
    elif kind in ("pod", "po", "pods") and name:
        pod = api.request("GET", f"/api/v1/namespaces/{namespace}/pods/{name}")
        said = [pod.get("status", {}).get("podIP", "")]
    elif kind in ("svc", "service", "services") and name:
        service = api.request("GET", f"/api/v1/namespaces/{namespace}/services/{name}")
        said = [service["spec"].get("clusterIP", "")]
    else:
        return ""
    if not said or said[0] in ("", "None"):
        raise NotFound(f"cannot find the address of {word}: it has none")
    return str(said[0])


def routed(api: BlockingClient) -> dict[str, str]:
    """Return the hosts that Ingresses and HTTPRoutes serve, with the address at which the world reaches them.

    A host may begin with `*.`; where both have it, the Ingress's address counts. An address is "" while there is none.
    """
    services = api.request("GET", "/api/v1/namespaces/kube-system/services")["items"]
    by_name = {each["metadata"]["name"]: each for each in services}
    ingresses = api.request("GET", "/apis/networking.k8s.io/v1/ingresses")["items"]
    found: dict[str, str] = {}
    gateways = {
        (labels.get("netpod.dev/gateway-namespace"), labels[GATEWAY_NAME]): _address(each)
        for each in services
        if GATEWAY_NAME in (labels := each["metadata"].get("labels", {}))
    }
    if gateways:
        for route in api.request("GET", "/apis/gateway.networking.k8s.io/v1/httproutes")["items"]:
            own = route["metadata"]["namespace"]
            for parent in route.get("status", {}).get("parents", ()):
                ref = parent["parentRef"]
                address = gateways.get((ref.get("namespace", own), ref["name"]), "")
                found |= dict.fromkeys(route["spec"].get("hostnames", ()), address)
    address = _address(by_name.get("ingress", {}))
    for item in ingresses:
        found |= {r["host"]: address for r in item["spec"].get("rules", ()) if "host" in r}
    return found


GATEWAY_NAME = "gateway.networking.k8s.io/gateway-name"
"""Label of a Service that the ingress made for a Gateway."""


def _address(service: Any) -> str:
    for place in service.get("status", {}).get("loadBalancer", {}).get("ingress", ()):
        if place.get("ip"):
            return str(place["ip"])
    return ""

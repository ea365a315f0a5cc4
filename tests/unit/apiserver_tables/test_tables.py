"""Tables of every kind, and what rows carry."""

from datetime import UTC, datetime
from typing import Any

import pytest

from netpod.api import registry
from netpod.apiserver import tables

NOW = datetime(2024, 1, 1, 12, 0, 0, tzinfo=UTC)
META = {"name": "x", "creationTimestamp": "2024-01-01T11:00:00Z"}
PORT = {"port": 80, "protocol": "TCP"}


def cells(word: str, **fields: Any) -> list[Any]:
    """Return the cells of one object's row, without name."""
    made = tables.table(registry.lookup(word), [{"metadata": META, **fields}], now=NOW)
    found: list[Any] = made["rows"][0]["cells"]
    assert len(found) == len(made["columnDefinitions"])
    return found[1:] if word != "events" else found


COLUMNS = {
    "pods": "Name Ready Status Restarts Age IP* Node* Nominated-Node* Readiness-Gates*",
    "services": "Name Type Cluster-IP External-IP Port(s) Age Selector*",
    "nodes": "Name Status Roles Age Version Internal-IP* External-IP* OS-Image* Kernel-Version* Container-Runtime*",
    "deployments": "Name Ready Up-to-date Available Age Containers* Images* Selector*",
    "replicasets": "Name Desired Current Ready Age Containers* Images* Selector*",
    "endpoints": "Name Endpoints Age",
    "endpointslices": "Name AddressType Ports Endpoints Age",
    "ingresses": "Name Class Hosts Address Ports Age",
    "ingressclasses": "Name Controller Parameters Age",
    "events": "Last-Seen Type Reason Object Subobject* Source* Message First-Seen* Count* Name*",
    "leases": "Name Holder Age",
    "namespaces": "Name Status Age",
    "configmaps": "Name Data Age",
    "secrets": "Name Type Data Age",
    "serviceaccounts": "Name Secrets Age",
    "replicationcontrollers": "Name Desired Current Ready Age Containers* Images* Selector*",
    "podtemplates": "Name Containers Images Pod-Labels",
    "persistentvolumes": "Name Capacity Access-Modes Reclaim-Policy Status Claim StorageClass "
    "VolumeAttributesClass Reason Age VolumeMode*",
    "persistentvolumeclaims": "Name Status Volume Capacity Access-Modes StorageClass "
    "VolumeAttributesClass Age VolumeMode*",
    "limitranges": "Name Created-At",
    "resourcequotas": "Name Age Request Limit",
    "daemonsets": "Name Desired Current Ready Up-to-date Available Node-Selector Age Containers* Images* Selector*",
    "statefulsets": "Name Ready Age Containers* Images*",
    "controllerrevisions": "Name Controller Revision Age",
    "jobs": "Name Completions Duration Age Containers* Images* Selector*",
    "cronjobs": "Name Schedule Timezone Suspend Active Last-Schedule Age Containers* Images* Selector*",
    "horizontalpodautoscalers": "Name Reference Targets MinPods MaxPods Replicas Age",
    "poddisruptionbudgets": "Name Min-Available Max-Unavailable Allowed-Disruptions Age",
    "networkpolicies": "Name Pod-Selector Age",
    "roles": "Name Created-At",
    "clusterroles": "Name Created-At",
    "rolebindings": "Name Role Age Users* Groups* ServiceAccounts*",
    "clusterrolebindings": "Name Role Age Users* Groups* ServiceAccounts*",
    "storageclasses": "Name Provisioner ReclaimPolicy VolumeBindingMode AllowVolumeExpansion Age",
    "priorityclasses": "Name Value Global-Default Age",
    "customresourcedefinitions": "Name Created-At",
    "gatewayclasses": "Name Controller Accepted Age Description*",
    "gateways": "Name Class Address Programmed Age",
    "httproutes": "Name Hostnames Age",
    "referencegrants": "Name Age",
    "csidrivers": "Name AttachRequired PodInfoOnMount StorageCapacity TokenRequests"
    " RequiresRepublish Modes Age",
    "csinodes": "Name Drivers Age",
    "csistoragecapacities": "Name StorageClassName Capacity",
    "volumeattachments": "Name Attacher PV Node Attached Age",
    "certificatesigningrequests": "Name Age SignerName Requestor RequestedDuration Condition",
    "runtimeclasses": "Name Handler Age",
}  # fmt: skip


@pytest.mark.parametrize("resource", registry.RESOURCES, ids=lambda r: r.plural)
def test_columns_are_upstreams(resource: registry.Resource) -> None:
    """Names, order and which show only with -o wide; an empty object still makes a row."""
    made = tables.table(resource, [{"metadata": {}}], now=NOW)
    shown = [c["name"].replace(" ", "-") + "*" * c["priority"] for c in made["columnDefinitions"]]
    assert " ".join(shown) == COLUMNS[resource.plural]
    assert len(made["rows"][0]["cells"]) == len(shown)


def service(type_: str, **spec: Any) -> dict[str, Any]:
    """Return a Service's spec."""
    return {"type": type_, "clusterIP": "10.96.0.9", "ports": [PORT], **spec}


def test_services() -> None:
    """Ports with node ports; where it can be reached from outside."""
    assert cells("svc", spec=service("ClusterIP", selector={"b": "2", "a": "1"})) == [
        *("ClusterIP", "10.96.0.9", "<none>", "80/TCP", "60m", "a=1,b=2")
    ]
    ports = [{"port": 80, "nodePort": 30080, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    assert cells("svc", spec=service("NodePort", ports=ports, externalIPs=["1.2.3.4"]))[:4] == [
        *("NodePort", "10.96.0.9", "1.2.3.4", "80:30080/TCP,53/UDP")
    ]
    assert cells("svc", spec=service("LoadBalancer"))[2] == "<pending>"
    status = {"loadBalancer": {"ingress": [{"ip": "198.51.100.2"}, {"hostname": "a.example"}]}}
    assert cells("svc", spec=service("LoadBalancer"), status=status)[2] == "198.51.100.2,a.example"
    external = {"type": "ExternalName", "externalName": "example.com"}
    assert cells("svc", spec=external)[:4] == ["ExternalName", "<none>", "example.com", "<none>"]
    assert cells("svc", spec={"type": "ClusterIP", "clusterIP": "None"})[1] == "None"


def test_nodes() -> None:
    """Ready and cordoned, roles from labels, addresses by type."""
    node = {
        "metadata": {
            **META,
            "labels": {"node-role.kubernetes.io/b": "", "node-role.kubernetes.io/a": "", "x": "y"},
        },
        "spec": {"unschedulable": True},
        "status": {
            "conditions": [{"type": "Ready", "status": "True"}],
            "addresses": [{"type": "InternalIP", "address": "172.18.0.2"}],
            "nodeInfo": {"kubeletVersion": "v1.31.0", "osImage": "Debian"},
        },
    }
    assert cells("nodes", **node) == [
        *("Ready,SchedulingDisabled", "a,b", "60m", "v1.31.0"),
        *("172.18.0.2", "<none>", "Debian", "<unknown>", "<unknown>"),
    ]
    lost = {"conditions": [{"type": "Ready", "status": "Unknown"}]}
    assert cells("nodes", status=lost)[:2] == ["NotReady", "<none>"]
    assert cells("nodes")[0] == "Unknown"


def test_workloads() -> None:
    """Counts that the status omits are zero."""
    spec = {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "web"}},
        "template": {
            "spec": {"containers": [{"name": "a", "image": "i"}, {"name": "b", "image": "j"}]}
        },
    }
    status = {"readyReplicas": 2, "updatedReplicas": 3, "replicas": 3}
    assert cells("deploy", spec=spec, status=status) == [
        "2/3",
        3,
        0,
        "60m",
        "a,b",
        "i,j",
        "app=web",
    ]
    assert cells("rs", spec=spec, status=status) == [3, 3, 2, "60m", "a,b", "i,j", "app=web"]
    assert cells("deploy", spec=spec)[:3] == ["0/3", 0, 0]


def test_endpoints() -> None:
    """Up to three, then how many more."""
    addresses = [{"ip": f"10.244.1.{i}"} for i in range(1, 5)]
    subset = {"addresses": addresses, "ports": [{"port": 8080}]}
    shown = "10.244.1.1:8080,10.244.1.2:8080,10.244.1.3:8080"
    assert cells("ep", subsets=[subset])[0] == f"{shown} + 1 more..."
    assert (
        cells("ep", subsets=[{"addresses": addresses[:3], "ports": [{"port": 8080}]}])[0] == shown
    )
    assert cells("ep", subsets=[{"addresses": addresses[:1]}])[0] == "10.244.1.1"
    assert (
        cells("ep", subsets=[{"addresses": [{"ip": "fd00::1"}], "ports": [{"port": 1}]}])[0]
        == "[fd00::1]:1"
    )
    assert cells("ep", subsets=[])[0] == "<none>"
    assert cells("ep", subsets=[{"notReadyAddresses": addresses}])[0] == ""


def test_endpoint_slices() -> None:
    """Ports and addresses; `<unset>` without any."""
    endpoints = [{"addresses": [f"10.244.1.{i}"]} for i in range(1, 6)]
    made = cells(
        "endpointslices",
        addressType="IPv4",
        ports=[{"port": 80}, {"name": "x"}, {}],
        endpoints=endpoints,
    )
    assert made[:3] == ["IPv4", "80,x,*", "10.244.1.1,10.244.1.2,10.244.1.3 + 2 more..."]
    assert cells("endpointslices", addressType="IPv4")[1:3] == ["<unset>", "<unset>"]


def test_ingresses() -> None:
    """Hosts, the way in, and 443 with TLS."""
    rules = [{"host": f"{c}.example"} for c in "abcd"]
    status = {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}]}}
    spec = {"ingressClassName": "netpod", "rules": rules, "tls": [{}]}
    assert cells("ing", spec=spec, status=status) == [
        *("netpod", "a.example,b.example,c.example + 1 more...", "198.51.100.1", "80, 443", "60m")
    ]
    assert cells("ing", spec={"rules": [{"http": {}}]})[:4] == ["<none>", "*", "", "80"]
    parameters = {"apiGroup": "x.io", "kind": "P", "name": "n"}
    assert cells("ingressclasses", spec={"controller": "c/d", "parameters": parameters})[:2] == [
        "c/d",
        "P.x.io/n",
    ]
    assert cells("ingressclasses", spec={"controller": "c/d"})[1] == "<none>"


def test_events() -> None:
    """New and old style events show when, what and how often."""
    old = {
        "type": "Normal",
        "reason": "Pulled",
        "message": " done\n",
        "involvedObject": {"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"},
        "source": {"component": "kubelet", "host": "worker"},
        "firstTimestamp": "2024-01-01T11:50:00Z",
        "lastTimestamp": "2024-01-01T11:59:00Z",
        "count": 4,
    }
    assert cells("events", **old) == [
        *(
            "60s",
            "Normal",
            "Pulled",
            "pod/p",
            "spec.containers{c}",
            "kubelet, worker",
            "done",
            "10m",
            4,
            "x",
        )
    ]
    new = {"eventTime": "2024-01-01T11:59:00.000000Z", "reportingComponent": "scheduler"}
    assert cells("events", **new)[:1] == ["60s"]
    assert cells("events", **new)[5:9] == ["scheduler", "", "60s", 1]
    series = {"count": 7, "lastObservedTime": "2024-01-01T11:59:30.000000Z"}
    assert cells("events", **new, series=series)[0] == "30s"
    assert cells("events", **new, series=series)[8] == 8


def test_small_kinds() -> None:
    """Counts of keys, holders, phases."""
    assert cells("cm", data={"a": "1"}, binaryData={"b": "2"}) == [2, "60m"]
    assert cells("secrets", type="Opaque", data={"a": "1"}) == ["Opaque", 1, "60m"]
    assert cells("leases", spec={"holderIdentity": "worker"}) == ["worker", "60m"]
    assert cells("ns", status={"phase": "Active"}) == ["Active", "60m"]
    assert cells("sa", secrets=[{"name": "s"}]) == [1, "60m"]


def test_rows_carry_what_was_asked() -> None:
    """Metadata by default; the object, or nothing, on request."""
    resource, obj = registry.lookup("ns"), {"metadata": META, "status": {"phase": "Active"}}
    partial = tables.table(resource, [obj], now=NOW)["rows"][0]["object"]
    assert partial == {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": META,
    }
    whole = tables.table(resource, [obj], now=NOW, include_object="Object")["rows"][0]["object"]
    assert whole == {"kind": "Namespace", "apiVersion": "v1", **obj}
    bare = tables.table(resource, [obj], now=NOW, include_object="None")["rows"][0]
    assert bare["object"] is None


def test_list_metadata() -> None:
    """A page says where the next begins."""
    made = tables.table(
        registry.lookup("ns"), [], now=NOW, resource_version="7", continue_="t", remaining=3
    )
    assert made["metadata"] == {"resourceVersion": "7", "continue": "t", "remainingItemCount": 3}
    assert (made["kind"], made["apiVersion"], made["rows"]) == ("Table", "meta.k8s.io/v1", [])

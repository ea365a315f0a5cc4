"""What a node may read and write, over HTTP as system:node:one: the node authorizer and NodeRestriction."""

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from netpod import errors
from netpod.api.core import Secret
from netpod.api.meta import ObjectMeta
from netpod.api.node import Node
from netpod.apiserver import bootstrap
from netpod.apiserver.authentication import User
from netpod.apiserver.server import Listener
from netpod.client.rest import Client
from tests.unit.apiserver.support import CONFIG, Api, configmap, pod

Run = Callable[[Callable[[Api], Awaitable[None]]], None]
ONE = {"Impersonate-User": "system:node:one", "Impersonate-Group": "system:nodes"}
NAMESPACE = "/api/v1/namespaces/default"
PODS, SECRETS, CONFIGMAPS = (f"{NAMESPACE}/{it}" for it in ("pods", "secrets", "configmaps"))
CLAIMS = f"{NAMESPACE}/persistentvolumeclaims"
MERGE = {**ONE, "Content-Type": "application/merge-patch+json"}


async def refused(api: Api, *request: Any, headers: dict[str, str] = ONE, **query: str) -> str:
    """Why a request of node one is forbidden."""
    code, found = await api(*request, headers=headers, **query)
    assert code == 403, found
    return str(found["message"])


def holding(name: str, node: str, **spec: Any) -> Any:
    """A pod on a node, with more in its spec."""
    made = pod(name, node=node)
    made["spec"] |= spec
    return made


def test_it_reads_what_its_own_pods_need(run: Run) -> None:
    """Secrets and ConfigMaps by name, also as a watch by field selector; nothing that only other nodes' pods need."""

    async def body(api: Api) -> None:
        for name in ("volume", "env", "pull", "projected", "theirs"):
            await api.create(SECRETS, {"metadata": {"name": name}})
        await api.create(CONFIGMAPS, configmap("settings"))
        env = [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "env", "key": "k"}}}]
        sources = [{"secret": {"name": "projected"}}, {"configMap": {"name": "settings"}}]
        volumes = [
            {"name": "v", "secret": {"secretName": "volume"}},
            {"name": "p", "projected": {"sources": sources}},
        ]
        mine = holding("mine", "one", volumes=volumes, imagePullSecrets=[{"name": "pull"}])
        mine["spec"]["containers"][0]["env"] = env
        await api.create(PODS, mine)
        theirs = [{"name": "v", "secret": {"secretName": "theirs"}}]
        await api.create(PODS, holding("other", "two", volumes=theirs))
        for _ in range(2):  # the second answer is from memory
            for name in ("volume", "env", "pull", "projected"):
                assert (await api("GET", f"{SECRETS}/{name}", headers=ONE))[0] == 200, name
            await refused(api, "GET", f"{SECRETS}/theirs")
        assert (await api("GET", f"{CONFIGMAPS}/settings", headers=ONE))[0] == 200
        only = "metadata.name=volume"
        code, found = await api("GET", SECRETS, headers=ONE, fieldSelector=only)
        assert (code, [it["metadata"]["name"] for it in found["items"]]) == (200, ["volume"])
        async with api.watch(SECRETS, headers=ONE, fieldSelector=only) as event:
            assert (await event())["object"]["metadata"]["name"] == "volume"
        await refused(api, "GET", SECRETS)
        await refused(api, "GET", SECRETS, fieldSelector="metadata.name=theirs")
        await refused(api, "DELETE", f"{SECRETS}/volume")
        assert (await api("DELETE", f"{PODS}/mine", {"gracePeriodSeconds": 0}))[0] == 200
        assert "secrets" in await refused(api, "GET", f"{SECRETS}/volume")

    run(body)


def test_it_reads_the_volumes_of_its_own_claims(run: Run) -> None:
    """A claim that its pod names, and the volume bound to that claim."""

    async def body(api: Api) -> None:
        spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
        for name in ("mine", "theirs"):
            await api.create(CLAIMS, {"metadata": {"name": name}, "spec": spec})
            volume = {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": "/x"},
                "claimRef": {"namespace": "default", "name": name},
            }
            volumes = "/api/v1/persistentvolumes"
            await api.create(volumes, {"metadata": {"name": f"pv-{name}"}, "spec": volume})
        for name, node in (("mine", "one"), ("theirs", "two")):
            source = [{"name": "v", "persistentVolumeClaim": {"claimName": name}}]
            await api.create(PODS, holding(name, node, volumes=source))
        for path in (CLAIMS, "/api/v1/persistentvolumes/pv-"):
            join = "" if path.endswith("-") else "/"
            assert (await api("GET", f"{path}{join}mine", headers=ONE))[0] == 200
            await refused(api, "GET", f"{path}{join}theirs")
        grown = {"status": {"capacity": {"storage": "2Gi"}}}
        path = f"{CLAIMS}/mine/status"
        assert (await api("PATCH", path, grown, headers=MERGE))[0] == 200
        message = await refused(api, "PATCH", path, {"status": {"phase": "Lost"}}, headers=MERGE)
        assert 'node "one" is not allowed to update fields other than status.capacity' in message
        await refused(api, "PATCH", f"{CLAIMS}/theirs/status", grown, headers=MERGE)

    run(body)


def test_it_gets_tokens_for_its_own_pods_only(run: Run) -> None:
    """A token of the pod's account, bound to the pod by uid."""

    async def body(api: Api) -> None:
        mine = await api.create(PODS, pod("mine", node="one"))
        await api.create(PODS, pod("theirs", node="two"))
        path = f"{NAMESPACE}/serviceaccounts/default/token"

        def request(**ref: str) -> Any:
            bound = {"apiVersion": "v1", "kind": "Pod", **ref}
            return {"spec": {"boundObjectRef": bound} if ref else {}}

        assert "node requested token not bound to a pod" in await refused(api, "POST", path, {})
        message = await refused(api, "POST", path, request(name="mine"))
        assert "node requested token with a pod binding without a uid" in message
        message = await refused(api, "POST", path, request(name="mine", uid="x"))
        assert "the UID in the bound object reference (x) does not match" in message
        uid = (await api.get(f"{PODS}/theirs"))["metadata"]["uid"]
        message = await refused(api, "POST", path, request(name="theirs", uid=uid))
        assert message == (
            'serviceaccounts "default" is forbidden: '
            "node requested token bound to a pod scheduled on a different node"
        )
        body = request(name="mine", uid=mine["metadata"]["uid"])
        assert (await api("POST", path, body, headers=ONE))[0] == 201
        await api.create(f"{NAMESPACE}/serviceaccounts", {"metadata": {"name": "alone"}})
        await refused(api, "POST", path.replace("default/token", "alone/token"), body)

    run(body)


@pytest.mark.parametrize(
    "label",
    [
        "node-role.kubernetes.io/control-plane",
        "node-restriction.kubernetes.io/zone",
        "x.node-restriction.kubernetes.io/zone",
        "k8s.io/anything",
    ],
)
def test_it_gives_itself_no_label_that_draws_work(run: Run, label: str) -> None:
    """Neither when it registers nor later, by no kind of write; its own and everybody's labels it may set."""

    async def body(api: Api) -> None:
        made = {"metadata": {"name": "one", "labels": {label: ""}}}
        assert await refused(api, "POST", "/api/v1/nodes", made) == (
            f'nodes "one" is forbidden: node "one" is not allowed to set the following labels: {label}'
        )
        own = {"kubernetes.io/hostname": "one", "node.kubernetes.io/x": "", "example.com/y": ""}
        made["metadata"]["labels"] = own
        assert (await api("POST", "/api/v1/nodes", made, headers=ONE))[0] == 201
        patch = {"metadata": {"labels": {label: "", "example.com/y": "z"}}}
        message = await refused(api, "PATCH", "/api/v1/nodes/one", patch, headers=MERGE)
        assert message == f'nodes "one" is forbidden: is not allowed to modify labels: {label}'
        whole = await api.get("/api/v1/nodes/one")
        whole["metadata"]["labels"][label] = ""
        await refused(api, "PUT", "/api/v1/nodes/one", whole)
        applying = {**ONE, "Content-Type": "application/apply-patch+yaml"}
        apply = {"apiVersion": "v1", "kind": "Node", **patch}
        await refused(api, "PATCH", "/api/v1/nodes/one", apply, headers=applying, fieldManager="x")
        assert (await api.get("/api/v1/nodes/one"))["metadata"]["labels"] == own
        # Somebody else did: the node keeps it, and may write the rest.
        await api(
            "PATCH", "/api/v1/nodes/one", patch, headers={"Content-Type": MERGE["Content-Type"]}
        )
        del patch["metadata"]["labels"][label]
        assert (await api("PATCH", "/api/v1/nodes/one", patch, headers=MERGE))[0] == 200
        patch["metadata"]["labels"] = {label: None}
        await refused(api, "PATCH", "/api/v1/nodes/one", patch, headers=MERGE)

    run(body)


def test_it_modifies_no_other_node_and_no_taint(run: Run) -> None:
    """Another Node, its status, its Lease, its measures; its own taints once it is registered."""

    async def body(api: Api) -> None:
        taint = {"key": "k", "effect": "NoSchedule"}
        for name in ("one", "two"):
            await api.create(
                "/api/v1/nodes", {"metadata": {"name": name}, "spec": {"taints": [taint]}}
            )
        for path in ("/api/v1/nodes/two", "/api/v1/nodes/two/status"):
            message = await refused(api, "PATCH", path, {"metadata": {}}, headers=MERGE)
            assert 'node "one" is not allowed to modify node "two"' in message
        change = {"spec": {"taints": []}}
        message = await refused(api, "PATCH", "/api/v1/nodes/one", change, headers=MERGE)
        assert message == 'nodes "one" is forbidden: node "one" is not allowed to modify taints'
        for name in ("one", "two"):
            await refused(api, "DELETE", f"/api/v1/nodes/{name}")
        leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        message = await refused(api, "POST", leases, {"metadata": {"name": "two"}})
        assert "can only access node lease with the same name as the requesting node" in message
        assert (await api("POST", leases, {"metadata": {"name": "one"}}, headers=ONE))[0] == 201
        await api.create(leases, {"metadata": {"name": "two"}})
        for path in (f"{leases}/two", leases, leases.replace("kube-node-lease", "default")):
            await refused(api, "GET", path)

    run(body)


def test_it_makes_only_mirror_pods_and_ends_only_its_own(run: Run) -> None:
    """A mirror pod is its own, bound to itself, and names no other object."""

    async def body(api: Api) -> None:
        node = await api.create("/api/v1/nodes", {"metadata": {"name": "one"}})
        for name, where in (("mine", "one"), ("theirs", "two")):
            await api.create(PODS, pod(name, node=where))
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": "one",
            "uid": node["metadata"]["uid"],
            "controller": True,
        }

        def mirror(**spec: Any) -> Any:
            made = holding("mirror", "one", **spec)
            made["metadata"] |= {
                "annotations": {"kubernetes.io/config.mirror": "x"},
                "ownerReferences": [owner],
            }
            return made

        message = await refused(api, "POST", PODS, pod("x", node="one"))
        assert message == (
            'pods "x" is forbidden: pod does not have "kubernetes.io/config.mirror" annotation, '
            'node "one" can only create mirror pods'
        )
        volumes = [{"name": "v", "secret": {"secretName": "s"}}]
        for spec, why in (
            ({"nodeName": "two"}, "can only create pods with spec.nodeName set to itself"),
            ({"serviceAccountName": "x"}, "can not create pods that reference a service account"),
            ({"volumes": volumes}, "can not create pods that reference secrets"),
        ):
            assert f'node "one" {why}' in await refused(api, "POST", PODS, mirror(**spec))
        assert (await api("POST", PODS, mirror(), headers=ONE))[0] == 201
        await refused(
            api, "PATCH", f"{PODS}/mine", {"metadata": {"labels": {"a": "b"}}}, headers=MERGE
        )
        message = await refused(
            api, "PATCH", f"{PODS}/theirs/status", {"status": {}}, headers=MERGE
        )
        assert 'node "one" can only update pod status for pods with spec.nodeName set to' in message
        message = await refused(api, "DELETE", f"{PODS}/theirs")
        assert 'node "one" can only delete pods with spec.nodeName set to itself' in message
        message = await refused(
            api, "POST", f"{PODS}/theirs/eviction", {"metadata": {"name": "theirs"}}
        )
        assert "node one can only evict pods with spec.nodeName set to itself" in message
        assert (await api("DELETE", f"{PODS}/mine", headers=ONE))[0] == 200
        assert (await api("DELETE", f"{PODS}/gone", headers=ONE))[0] == 404

    run(body)


def test_components_may_what_they_need_and_no_more(run: Run) -> None:
    """kube-proxy, the scheduler and the policies' agent read what they compile; the controllers grant no rights."""

    async def body(api: Api) -> None:
        service = "system:serviceaccount:kube-system:"
        for user, path, allowed in (
            ("system:kube-proxy", "/api/v1/services", True),
            ("system:kube-proxy", "/api/v1/secrets", False),
            ("system:kube-proxy", "/api/v1/namespaces/kube-system/configmaps/kube-proxy", True),
            ("system:kube-proxy", "/api/v1/namespaces/kube-system/configmaps", False),
            ("system:kube-scheduler", "/api/v1/pods", True),
            ("system:kube-scheduler", "/api/v1/secrets", False),
            ("system:kube-controller-manager", "/api/v1/secrets", True),
            (f"{service}network-policy", "/apis/networking.k8s.io/v1/networkpolicies", True),
            (f"{service}network-policy", "/api/v1/services", False),
            (f"{service}cloud-controller-manager", "/api/v1/services", True),
            (f"{service}cloud-controller-manager", "/api/v1/pods", False),
        ):
            code, found = await api("GET", path, headers={"Impersonate-User": user})
            assert code in ((200, 404) if allowed else (403,)), (user, path, found)
        rules = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
        manager = {"Impersonate-User": "system:kube-controller-manager"}
        role = {"metadata": {"name": "x"}, "rules": rules}
        roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles"
        assert (await api("POST", roles, role, headers=manager))[0] == 403
        await api.create(roles, {"metadata": {"name": "x"}, "rules": []})
        assert (await api("PUT", f"{roles}/x", role, headers=manager))[0] == 403

    run(body)


def test_default_roles_get_back_what_they_lack(run: Run) -> None:
    """As upstream's reconciliation: what somebody added stays, what is missing returns; not without autoupdate."""

    async def body(api: Api) -> None:
        path = "/apis/rbac.authorization.k8s.io/v1/clusterroles/system:"
        own = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}
        for name, kept in (("node-proxier", True), ("kube-scheduler", False)):
            role = await api.get(path + name)
            role["rules"] = [own]
            if not kept:
                role["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = (
                    "false"
                )
            assert (await api("PUT", path + name, role))[0] == 200
        await bootstrap.ensure(api.server.writer, CONFIG.service_cidrs, CONFIG.control_plane)
        rules = (await api.get(f"{path}node-proxier"))["rules"]
        assert rules[0] == own
        assert len(rules) > 1
        assert (await api.get(f"{path}kube-scheduler"))["rules"] == [own]

    run(body)


def test_whoever_comes_through_a_socket_is_its_user(run: Run, tmp_path: Path) -> None:
    """A listener may be opened and shut while the server runs; its user is who the answers name."""

    async def body(api: Api) -> None:
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(tmp_path / "node.sock"))
        user = User(name="system:node:one", groups=frozenset({"system:nodes"}))
        listener = Listener(socket=listening, user=user)
        await api.server.open(listener)
        client = Client.unix(tmp_path / "node.sock")
        try:
            with pytest.raises(errors.Forbidden, match="system:node:one"):
                await client.get(Secret, "x", "default")
            made = await client.create(Node(metadata=ObjectMeta(name="one")))
            assert made.metadata.name == "one"
            await api.server.shut(listener)
            with pytest.raises(errors.Unavailable):
                await client.get(Node, "one")
        finally:
            await client.close()

    run(body)

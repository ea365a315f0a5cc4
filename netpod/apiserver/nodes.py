"""What a node's kubelet may do: only what its own pods need, and only to itself.

The node authorizer and the admission plug-in NodeRestriction in one place; both are about `system:node:NAME`.

Source: plugin/pkg/auth/authorizer/node/node_authorizer.go; plugin/pkg/admission/noderestriction/admission.go.
"""

from collections.abc import Iterable, Mapping
from typing import cast

from netpod import errors
from netpod.api import registry
from netpod.api.meta import Json
from netpod.api.pod import Pod
from netpod.apiserver import objects, rbac_policy
from netpod.apiserver.authentication import User
from netpod.apiserver.authorization import Attributes, matches
from netpod.apiserver.storage import Storage

GROUP = "system:nodes"
PREFIX = "system:node:"
LEASES = "kube-node-lease"
PODS = registry.of(Pod)
MIRROR = "kubernetes.io/config.mirror"
RESTRICTED = "node-restriction.kubernetes.io/"
REFERENCED = ("secrets", "configmaps", "persistentvolumeclaims")

_RULES = tuple(rbac_policy.node())


def name_of(user: User) -> str:
    """The node a user is, "" for everybody else."""
    if GROUP in user.groups and user.name.startswith(PREFIX):
        return user.name[len(PREFIX) :]
    return ""


async def allowed(storage: Storage, node: str, wanted: Attributes) -> bool:
    """Whether a node may do it: the rules of system:node, narrowed to what concerns it."""
    if not any(matches(rule, wanted) for rule in _RULES):
        return False
    if wanted.resource in REFERENCED and not wanted.subresource:
        if wanted.verb not in ("get", "list", "watch") or not wanted.name:
            return False
        return await _referenced(storage, node, wanted)
    if wanted.resource == "serviceaccounts":
        return await _referenced(storage, node, wanted)
    if wanted.resource == "leases":
        return wanted.namespace == LEASES and wanted.name in ("", node)
    return True


async def _referenced(storage: Storage, node: str, wanted: Attributes) -> bool:
    """Whether a pod on the node needs the object."""
    for kv in (await storage.list(PODS, wanted.namespace)).items:
        pod = objects.parsed(kv)
        if pod["spec"].get("nodeName") != node:
            continue
        if wanted.resource == "serviceaccounts":
            if pod["spec"].get("serviceAccountName") == wanted.name:
                return True
        elif wanted.name in _names(pod["spec"], wanted.resource):
            return True
    return False


_PLACES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "secrets": (("secret", "secretName"), ("secretRef", "name"), ("secretKeyRef", "name")),
    "configmaps": (("configMap", "name"), ("configMapRef", "name"), ("configMapKeyRef", "name")),
    "persistentvolumeclaims": (("persistentVolumeClaim", "claimName"),),
}


def _names(value: Json, resource: str) -> Iterable[str]:
    """Names of such objects anywhere in a pod's spec."""
    if isinstance(value, list):
        for element in value:
            yield from _names(element, resource)
    elif isinstance(value, Mapping):
        for key, element in value.items():
            for field, name in _PLACES[resource]:
                if key == field and isinstance(element, Mapping):
                    # A projected volume's secret has its name in `name`.
                    yield str(element.get(name) or element.get("name") or "")
            if key == "imagePullSecrets" and resource == "secrets" and isinstance(element, list):
                yield from (str(e.get("name")) for e in element if isinstance(e, Mapping))
            yield from _names(element, resource)


async def restrict(
    storage: Storage, node: str, wanted: Attributes, data: Mapping[str, Json], body: bytes
) -> None:
    """Let a node's write pass.

    Raises:
        Forbidden: it is about another node, or a pod that is not on this one.
    """
    if wanted.verb in ("get", "list", "watch"):
        return
    if wanted.resource == "nodes":
        name = wanted.name or str(_part(data, "metadata").get("name", ""))
        if name != node:
            raise _refused(wanted, f"node {node!r} is not allowed to modify node {name!r}")
        if wanted.verb == "patch" and RESTRICTED.encode() in body:
            raise _refused(wanted, f"is not allowed to modify labels: {RESTRICTED}")
        for label in cast(dict[str, Json], _part(data, "metadata").get("labels") or {}):
            if RESTRICTED in label and wanted.verb in ("create", "update", "patch"):
                await _label(storage, wanted, node, label)
    elif wanted.resource == "nodestats":
        if wanted.name != node:
            raise _refused(wanted, f"node {node!r} is not allowed to tell what another node uses")
    elif wanted.resource == "leases":
        name = wanted.name or str(_part(data, "metadata").get("name", ""))
        if name != node:
            raise _refused(
                wanted, "can only access node lease with the same name as the requesting node"
            )
    elif wanted.resource == "pods" and wanted.verb == "create" and not wanted.subresource:
        if MIRROR not in (_part(data, "metadata").get("annotations") or {}):
            cause = f"pod does not have {MIRROR!r} annotation, node {node!r} can only create mirror pods"
            raise _refused(wanted, cause)
        if _part(data, "spec").get("nodeName") != node:
            cause = f"node {node!r} can only create pods with spec.nodeName set to itself"
            raise _refused(wanted, cause)
    elif wanted.resource == "pods" and wanted.name:
        kv = await storage.get(PODS, wanted.namespace, wanted.name)
        if objects.parsed(kv)["spec"].get("nodeName") != node:
            cause = f"node {node!r} can only {wanted.verb} pods with spec.nodeName set to itself"
            raise _refused(wanted, cause)


async def _label(storage: Storage, wanted: Attributes, node: str, label: str) -> None:
    nodes = registry.lookup("nodes")
    kv = await storage.find(nodes, "", node)
    labels = objects.parsed(kv)["metadata"].get("labels") or {} if kv is not None else {}
    if label not in labels:
        raise _refused(wanted, f"is not allowed to modify labels: {label}")


def _refused(wanted: Attributes, cause: str) -> errors.Forbidden:
    cause = cause.replace("'", '"')
    subject = f'{wanted.resource} "{wanted.name}"' if wanted.name else wanted.resource
    return errors.Forbidden(f"{subject} is forbidden: {cause}")


def _part(data: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}

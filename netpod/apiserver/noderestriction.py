"""What a node's kubelet may write: itself, and what concerns its pods. The admission plug-in NodeRestriction.

`restrict` judges a request before it is carried out, `judge` what a write would make of an object.

Source: plugin/pkg/admission/noderestriction/admission.go; k8s.io/kubelet pkg/apis/well_known_labels.go.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from netpod import errors
from netpod.api import codec, registry
from netpod.api.meta import Json, Object
from netpod.api.node import Node
from netpod.api.pod import Pod
from netpod.api.storage import PersistentVolumeClaim
from netpod.apiserver import nodes, objects
from netpod.apiserver.authorization import Attributes
from netpod.apiserver.storage import Storage
from netpod.store.store import RECENT

MIRROR = "kubernetes.io/config.mirror"
_RESTRICTED = "node-restriction.kubernetes.io"
_KUBERNETES = ("kubernetes.io", "k8s.io")
_OWN_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")
_OWN_LABELS = frozenset(
    "kubernetes.io/hostname kubernetes.io/os kubernetes.io/arch kubernetes.io/instance-type"
    " beta.kubernetes.io/os beta.kubernetes.io/arch beta.kubernetes.io/instance-type"
    " topology.kubernetes.io/zone topology.kubernetes.io/region node.kubernetes.io/instance-type"
    " failure-domain.beta.kubernetes.io/zone failure-domain.beta.kubernetes.io/region".split()
)
_RESIZED = ("capacity", "conditions", "allocatedResources", "allocatedResourceStatuses")
_VERBS = {"create": "create", "update": "update", "patch": "update", "delete": "delete"}


async def restrict(
    storage: Storage, node: str, wanted: Attributes, data: Mapping[str, Json]
) -> None:
    """Let a node's request pass, knowing its body.

    Raises:
        Forbidden: it is about another node, or a pod that is not on this one.
        NotFound: there is no such pod.
    """
    if wanted.verb in ("get", "list", "watch"):
        return
    name = wanted.name or str(_part(data, "metadata").get("name") or "")
    if wanted.resource == "nodes" and name != node:
        raise _refused(wanted, f'node "{node}" is not allowed to modify node "{name}"')
    if wanted.resource == "nodestats" and name != node:
        raise _refused(wanted, f'node "{node}" is not allowed to tell what node "{name}" uses')
    if wanted.resource == "leases" and name != node:
        raise _refused(
            wanted, "can only access node lease with the same name as the requesting node"
        )
    if wanted.resource == "serviceaccounts":
        await _token(storage, node, wanted, data)
    if wanted.resource == "pods" and wanted.name:
        await _pod(storage, node, wanted)


async def _pod(storage: Storage, node: str, wanted: Attributes) -> None:
    verb = _VERBS.get(wanted.verb, wanted.verb)
    if wanted.subresource not in ("", "status", "eviction"):
        cause = (
            f"unexpected pod subresource \"{wanted.subresource}\", only 'status' and "
            "'eviction' are allowed"
        )
        raise _refused(wanted, cause)
    if not wanted.subresource and verb != "delete":
        cause = (
            f'unexpected operation "{verb.upper()}", node "{node}" can only create and delete '
            "mirror pods"
        )
        raise _refused(wanted, cause)
    kv = await storage.get(nodes.PODS, wanted.namespace, wanted.name, not_older_than=RECENT)
    if objects.parsed(kv)["spec"].get("nodeName") == node:
        return
    what = {
        "": f'node "{node}" can only delete pods',
        "status": f'node "{node}" can only update pod status for pods',
        "eviction": f"node {node} can only evict pods",
    }[wanted.subresource]
    raise _refused(wanted, f"{what} with spec.nodeName set to itself")


async def _token(storage: Storage, node: str, wanted: Attributes, data: Mapping[str, Json]) -> None:
    """A node gets tokens for its pods only, each bound to the pod."""
    ref = _part(_part(data, "spec"), "boundObjectRef")
    name, uid = str(ref.get("name") or ""), str(ref.get("uid") or "")
    if ref.get("apiVersion") != "v1" or ref.get("kind") != "Pod" or not name:
        raise _refused(wanted, "node requested token not bound to a pod")
    if not uid:
        raise _refused(wanted, "node requested token with a pod binding without a uid")
    pod = objects.parsed(await storage.get(nodes.PODS, wanted.namespace, name))
    if pod["metadata"].get("uid") != uid:
        cause = (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise _refused(wanted, cause)
    if pod["spec"].get("nodeName") != node:
        raise _refused(wanted, "node requested token bound to a pod scheduled on a different node")


@dataclass(frozen=True, slots=True)
class Judge:
    """What one node's writes may make of objects."""

    node: str

    def __call__(self, resource: registry.Resource, new: Object, old: Object | None) -> None:
        """Let a write pass.

        Raises:
            Forbidden: the node gives itself a label or taint, or makes a pod that is no mirror pod.
        """
        if isinstance(new, Node):
            self._node(resource, new, old)
        elif isinstance(new, Pod) and old is None:
            self._mirror(resource, new)
        elif isinstance(new, PersistentVolumeClaim) and old is not None:
            self._claim(resource, new, old)

    def _node(self, resource: registry.Resource, new: Node, old: Object | None) -> None:
        before = old.metadata.labels if old is not None else {}
        after = new.metadata.labels
        changed = [it for it in {**before, **after} if before.get(it) != after.get(it)]
        forbidden = ", ".join(sorted(_forbidden(changed)))
        if isinstance(old, Node) and new.spec.taints != old.spec.taints:
            cause = f'node "{self.node}" is not allowed to modify taints'
        elif forbidden and old is None:
            cause = f'node "{self.node}" is not allowed to set the following labels: {forbidden}'
        elif forbidden:
            cause = f"is not allowed to modify labels: {forbidden}"
        else:
            return
        raise _refused(_attributes(resource, new), cause)

    def _mirror(self, resource: registry.Resource, pod: Pod) -> None:
        node = f'node "{self.node}"'
        owners = pod.metadata.owner_references
        spec = codec.encode(pod.spec)
        if MIRROR not in pod.metadata.annotations:
            cause = f'pod does not have "{MIRROR}" annotation, {node} can only create mirror pods'
        elif pod.spec.node_name != self.node:
            cause = f"{node} can only create pods with spec.nodeName set to itself"
        elif len(owners) != 1 or (owners[0].kind, owners[0].name) != ("Node", self.node):
            cause = f"{node} can only create pods with an owner reference set to itself"
        elif not owners[0].controller:
            cause = f"{node} can only create pods with a controller owner reference set to itself"
        elif pod.spec.service_account_name:
            cause = f"{node} can not create pods that reference a service account"
        else:
            named = (it for it in nodes.REFERENCED if any(nodes.names(spec, it)))
            found = next(named, "")
            if not found:
                return
            cause = f"{node} can not create pods that reference {found}"
        raise _refused(_attributes(resource, pod), cause)

    def _claim(self, resource: registry.Resource, new: Object, old: Object) -> None:
        """Only what says how large it has become."""
        before, after = (dict(codec.encode(it).get("status") or {}) for it in (old, new))
        if all(before.get(k) == after.get(k) for k in {**before, **after} if k not in _RESIZED):
            return
        cause = (
            f'node "{self.node}" is not allowed to update fields other than status.capacity and '
            "status.conditions"
        )
        raise _refused(_attributes(resource, new), cause)


def _forbidden(labels: Iterable[str]) -> Iterable[str]:
    """Labels that would let a node draw workloads to itself."""
    for label in labels:
        domain = label.partition("/")[0] if "/" in label else ""
        own = label in _OWN_LABELS or _within(domain, _OWN_DOMAINS)
        if _within(domain, (_RESTRICTED,)) or (_within(domain, _KUBERNETES) and not own):
            yield label


def _within(domain: str, parents: Iterable[str]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def _attributes(resource: registry.Resource, obj: Object) -> Attributes:
    return Attributes(verb="", resource=resource.qualified, name=obj.metadata.name)


def _refused(wanted: Attributes, cause: str) -> errors.Forbidden:
    subject = f'{wanted.resource} "{wanted.name}"' if wanted.name else wanted.resource
    return errors.Forbidden(f"{subject} is forbidden: {cause}")


def _part(data: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    found = data.get(name)
    return found if isinstance(found, Mapping) else {}

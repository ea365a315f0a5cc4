"""What a node's kubelet may ask for: what its own pods need, and itself. The node authorizer.

What it may write is noderestriction.py; both are about `system:node:NAME`.

Source: plugin/pkg/auth/authorizer/node/node_authorizer.go.
"""

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from netpod.api import registry
from netpod.api.meta import Json, Key
from netpod.api.pod import Pod
from netpod.api.storage import PersistentVolume
from netpod.apiserver import objects, rbac_policy
from netpod.apiserver.authentication import User
from netpod.apiserver.authorization import Attributes, matches
from netpod.apiserver.storage import Storage
from netpod.store.store import RECENT, KeyValue

GROUP = "system:nodes"
PREFIX = "system:node:"
LEASES = "kube-node-lease"
PODS = registry.of(Pod)
VOLUMES = registry.of(PersistentVolume)
MAX_REMEMBERED = 4096
CLAIMS = "persistentvolumeclaims"
REFERENCED = ("secrets", "configmaps", CLAIMS)

_RULES = tuple(rbac_policy.node())


def name_of(user: User) -> str:
    """The node a user is, "" for everybody else."""
    if GROUP in user.groups and user.name.startswith(PREFIX):
        return user.name[len(PREFIX) :]
    return ""


class Nodes:
    """Says what nodes may read, from the pods in the store.

    Of each answer it remembers one pod that needs the object, so that asking again reads that pod and not its whole
    namespace: a thousand pods share one ConfigMap.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._needing: OrderedDict[tuple[str, str, Key], str] = OrderedDict()

    async def allowed(self, node: str, wanted: Attributes) -> bool:
        """Whether a node may do it: the rules of system:node, narrowed to what concerns it."""
        if not any(matches(rule, wanted) for rule in _RULES):
            return False
        if wanted.group == "coordination.k8s.io":
            own = wanted.name == node or wanted.verb == "create"
            return wanted.namespace == LEASES and own
        if wanted.group or (wanted.resource not in _PLACES and wanted.resource != VOLUMES.plural):
            return True
        if not wanted.name:
            return False
        if wanted.resource == VOLUMES.plural:
            return await self._claimed(node, wanted.name)
        return await self._needed(node, wanted.resource, Key(wanted.namespace, wanted.name))

    async def _claimed(self, node: str, name: str) -> bool:
        """Whether a pod on the node has the claim that has the volume."""
        kv = await self._storage.find(VOLUMES, "", name, not_older_than=RECENT)
        claim = objects.parsed(kv)["spec"].get("claimRef") if kv is not None else None
        if not isinstance(claim, Mapping):
            return False
        key = Key(str(claim.get("namespace")), str(claim.get("name")))
        return await self._needed(node, CLAIMS, key)

    async def _needed(self, node: str, plural: str, key: Key) -> bool:
        """Whether a pod on the node needs the object."""
        known = node, plural, key
        if known in self._needing:
            name = self._needing.pop(known)
            kv = await self._storage.find(PODS, key.namespace, name, not_older_than=RECENT)
            if kv is not None and _needs(kv, node, plural, key.name):
                self._needing[known] = kv.key.rpartition("/")[2]
                return True
        for kv in (await self._storage.list(PODS, key.namespace, not_older_than=RECENT)).items:
            if _needs(kv, node, plural, key.name):
                self._needing[known] = kv.key.rpartition("/")[2]
                if len(self._needing) > MAX_REMEMBERED:
                    self._needing.popitem(last=False)
                return True
        return False


def _needs(kv: KeyValue, node: str, plural: str, name: str) -> bool:
    # Most pods do not even hold the words, and parsing costs much more than looking for them.
    if node.encode() not in kv.value or name.encode() not in kv.value:
        return False
    spec = objects.parsed(kv)["spec"]
    return spec.get("nodeName") == node and name in names(spec, plural)


_PLACES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "secrets": (("secret", "secretName"), ("secretRef", "name"), ("secretKeyRef", "name")),
    "configmaps": (("configMap", "name"), ("configMapRef", "name"), ("configMapKeyRef", "name")),
    CLAIMS: (("persistentVolumeClaim", "claimName"),),
    "serviceaccounts": (),
}
"""Where a pod's spec names such objects: a field, and the field in it that has the name."""


def names(value: Json, resource: str) -> Iterable[str]:
    """Names of objects of a kind (`secrets`) anywhere in a pod's spec, as plain JSON values."""
    if resource == "serviceaccounts":
        yield str(value.get("serviceAccountName") or "default")
    elif isinstance(value, list):
        for element in value:
            yield from names(element, resource)
    elif isinstance(value, Mapping):
        for key, element in value.items():
            for field, name in _PLACES[resource]:
                if key == field and isinstance(element, Mapping):
                    # A projected volume's secret has its name in `name`.
                    yield str(element.get(name) or element.get("name") or "")
            if key == "imagePullSecrets" and resource == "secrets" and isinstance(element, list):
                yield from (str(e.get("name")) for e in element if isinstance(e, Mapping))
            yield from names(element, resource)

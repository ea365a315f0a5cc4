"""Kind EphemeralContainers, in which `kubectl debug` up to 1.21 reads and writes a pod's ephemeral containers.

Later ones, and the API since 1.22, have the whole Pod at pods/NAME/ephemeralcontainers. A body says which of the two
it is; who asks is known by its name only.

Source: k8s.io/api core/v1 types.go of 1.20, EphemeralContainers.
"""

import re

from netpod.api.meta import Json
from netpod.apiserver import negotiation, objects
from netpod.apiserver.calls import Call, Reply
from netpod.store.store import KeyValue

KIND = "EphemeralContainers"
SUBRESOURCE = "ephemeralcontainers"
_SPEAKERS = re.compile(r"kubectl\S*/v1\.(1[6-9]|2[01])\.")
_SHOWN = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def is_spoken(call: Call) -> bool:
    """Whether a GET is to be answered in the old kind."""
    return call.route.subresource == SUBRESOURCE and bool(_SPEAKERS.match(call.user_agent))


def is_written(call: Call, data: dict[str, Json]) -> bool:
    """Whether a body is of the old kind."""
    return call.route.subresource == SUBRESOURCE and data.get("kind") == KIND


def as_pod(data: dict[str, Json]) -> dict[str, Json]:
    """The Pod that says what a body of the old kind says."""
    spec = {"ephemeralContainers": data.get("ephemeralContainers") or []}
    metadata = data.get("metadata") or {}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def answer(kv: KeyValue) -> Reply:
    """A stored pod's ephemeral containers."""
    pod = objects.plain(kv)
    metadata, spec = pod["metadata"], pod["spec"]
    assert isinstance(metadata, dict), "a stored object has metadata"
    assert isinstance(spec, dict), "a stored pod has a spec"
    shown = {
        "kind": KIND,
        "apiVersion": "v1",
        "metadata": {name: metadata[name] for name in _SHOWN if name in metadata},
        "ephemeralContainers": spec.get("ephemeralContainers", []),
    }
    return Reply(body=negotiation.dump(shown))

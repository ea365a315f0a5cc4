"""When did what just changed change? For the annotation that measures how long the network took to follow.

Source: k8s.io/endpointslice trigger_time_tracker.go.
"""

from collections.abc import Iterable

from netpod.api import meta
from netpod.api.meta import Key
from netpod.api.pod import Pod
from netpod.api.service import Service


class TriggerTimes:
    """The last trigger time of each Service and of its pods, in memory only.

    A restart forgets; the first times after it are then not new information, and are not written.
    """

    def __init__(self) -> None:
        self._known: dict[Key, dict[str, str]] = {}

    def take(self, service: Service, selected: Iterable[Pod]) -> str:
        """Return the earliest time that is new since the last call, "" when none is."""
        now = {f"pod/{pod.metadata.uid}": _changed(pod) for pod in selected}
        now["service"] = service.metadata.creation_timestamp
        key = meta.key_of(service)
        before = self._known.get(key)
        self._known[key] = now
        if before is None:
            return now["service"]
        fresh = [at for who, at in now.items() if at and at > before.get(who, "")]
        return min(fresh, default="")

    def forget(self, key: Key) -> None:
        """Drop what is known of a Service that is gone."""
        self._known.pop(key, None)


def _changed(pod: Pod) -> str:
    """Return when condition Ready last changed."""
    condition = meta.condition(pod.status.conditions, "Ready")
    return condition.last_transition_time if condition is not None else ""

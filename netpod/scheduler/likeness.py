"""Which pods are like a new one, for the default spread: those of its Services and of the set that made it (pure).

Source: kubernetes pkg/scheduler/framework/plugins/helper/spread.go DefaultSelector.
"""

from collections import defaultdict
from collections.abc import Mapping

from netpod.api import meta, selectors
from netpod.api.apps import ReplicaSet
from netpod.api.meta import Key
from netpod.api.pod import Pod
from netpod.api.selectors import LabelQuery, Requirement
from netpod.api.service import Service
from netpod.api.workloads import ReplicationController, StatefulSet

Set = ReplicaSet | StatefulSet | ReplicationController
SETS = (ReplicaSet, StatefulSet, ReplicationController)
_REMEMBERED = 1024


class Likeness:
    """Selectors of Services and sets, by namespace; answers are remembered until one changes."""

    def __init__(self) -> None:
        self._services: defaultdict[str, dict[str, Mapping[str, str]]] = defaultdict(dict)
        self._sets: dict[tuple[str, Key], LabelQuery] = {}
        self._known: dict[tuple[object, ...], LabelQuery | None] = {}

    def set_service(self, old: Service | None, new: Service | None) -> None:
        """Take a Service as the watch shows it."""
        shown = new or old
        assert shown is not None, "a change is a change of something"
        about = shown.metadata
        mine = self._services[about.namespace]
        before = mine.pop(about.name, {})
        after = new.spec.selector if new is not None else {}
        if after:
            mine[about.name] = after
        if dict(after) != dict(before):
            self._known.clear()

    def set_set(self, old: Set | None, new: Set | None) -> None:
        """Take a ReplicaSet, StatefulSet or ReplicationController as the watch shows it."""
        shown = new or old
        assert shown is not None, "a change is a change of something"
        key = (shown.kind, meta.key_of(shown))
        before = self._sets.pop(key, None)
        after = None
        if new is not None:
            after = self._sets[key] = _query(new)
        if after != before:
            self._known.clear()

    def of(self, pod: Pod) -> LabelQuery | None:
        """Return what the pods like this one have in common; None for a pod that is alone."""
        about, owner = pod.metadata, meta.controller_of(pod)
        made_by = (owner.kind, Key(about.namespace, owner.name)) if owner is not None else None
        asked = (about.namespace, frozenset(about.labels.items()), made_by)
        if asked not in self._known:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            self._known[asked] = self._find(pod, made_by)
        return self._known[asked]

    def _find(self, pod: Pod, made_by: tuple[str, Key] | None) -> LabelQuery | None:
        labels = pod.metadata.labels
        merged: dict[str, str] = {}
        for selector in self._services.get(pod.metadata.namespace, {}).values():
            if selector.items() <= labels.items():
                merged |= selector
        found = list(_exact(merged))
        own = self._sets.get(made_by) if made_by is not None else None
        if own is not None and not own.nothing:
            found += own.requirements
        return LabelQuery(tuple(dict.fromkeys(found))) if found else None


def _exact(labels: Mapping[str, str]) -> tuple[Requirement, ...]:
    return selectors.from_labels(labels).requirements


def _query(made_by: Set) -> LabelQuery:
    if isinstance(made_by, ReplicationController):
        return selectors.from_labels(made_by.spec.selector)
    return selectors.from_label_selector(made_by.spec.selector)

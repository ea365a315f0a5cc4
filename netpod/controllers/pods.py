"""What a pod's status says, in the words controllers use: active, ready, available.

Source: kubernetes pkg/api/v1/pod/util.go, pkg/controller/controller_utils.go.
"""

import dataclasses
from datetime import datetime, timedelta

from netpod.api import meta
from netpod.api.meta import Condition
from netpod.api.pod import Pod


def is_finished(pod: Pod) -> bool:
    """Tell whether all containers ended for good."""
    return pod.status.phase in ("Succeeded", "Failed")


def is_terminating(pod: Pod) -> bool:
    """Tell whether the pod is on its way out."""
    return bool(pod.metadata.deletion_timestamp)


def is_active(pod: Pod) -> bool:
    """Tell whether the pod counts as one of its owner's replicas."""
    return not is_finished(pod) and not is_terminating(pod)


def is_ready(pod: Pod) -> bool:
    """Tell whether condition Ready is True."""
    condition = meta.condition(pod.status.conditions, "Ready")
    return condition is not None and condition.status == "True"


def moment(text: str | None) -> datetime | None:
    """Read a time out of a status, which anybody may have patched: what is none reads as None."""
    try:
        found = meta.parse_timestamp(text or "")
    except ValueError:
        return None
    return found if found.tzinfo is not None else None


def ready_since(pod: Pod) -> datetime | None:
    """Return when the pod became Ready, None when it is not or nobody wrote down when."""
    condition = meta.condition(pod.status.conditions, "Ready")
    if condition is None or condition.status != "True":
        return None
    return moment(condition.last_transition_time)


def is_available(pod: Pod, min_ready_seconds: int, now: datetime) -> bool:
    """Tell whether the pod has been Ready for at least `min_ready_seconds`."""
    if not is_ready(pod):
        return False
    if min_ready_seconds == 0:
        return True
    since = ready_since(pod)
    return since is not None and since + timedelta(seconds=min_ready_seconds) <= now


def set_condition(conditions: tuple[Condition, ...], new: Condition) -> tuple[Condition, ...]:
    """Return the conditions with the one of the same type replaced, or added at the end.

    The transition time is kept while the status stays the same.
    """
    old = meta.condition(conditions, new.type)
    if old is None:
        return (*conditions, new)
    if old.status == new.status:
        new = dataclasses.replace(new, last_transition_time=old.last_transition_time)
    return tuple(new if condition.type == new.type else condition for condition in conditions)

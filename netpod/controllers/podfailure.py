"""What a Job's podFailurePolicy says about a pod that failed (pure).

    rules   in order; the first that matches decides
    action  FailJob, Ignore, Count (as without a policy)
    onExitCodes      {containerName, operator In|NotIn, values}: of containers that ended with another code than 0
    onPodConditions  [{type, status}]

Source: kubernetes pkg/controller/job/pod_failure_policy.go.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from netpod.api import meta
from netpod.api.meta import Json
from netpod.api.pod import Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about the pod, and why, for FailJob."""

    action: str = "Count"
    message: str = ""


def judge(policy: Mapping[str, Json] | None, pod: Pod) -> Decision:
    """Return what the first matching rule decides; only a pod that is Failed can match.

    A policy that nobody can read decides nothing: the pod must be counted and let go all the same.
    """
    if policy is None or pod.status.phase != "Failed":
        return Decision()
    try:
        return _first(policy, pod)
    except (AttributeError, TypeError, ValueError):
        return Decision()


def _first(policy: Mapping[str, Json], pod: Pod) -> Decision:
    for index, rule in enumerate(policy.get("rules") or ()):
        why = _exit_code(rule.get("onExitCodes"), pod) or _condition(
            rule.get("onPodConditions"), pod
        )
        if why:
            action = str(rule.get("action", "Count"))
            return Decision(action=action, message=f"{why} matching {action} rule at index {index}")
    return Decision()


def _exit_code(wanted: Mapping[str, Json] | None, pod: Pod) -> str:
    if wanted is None:
        return ""
    only, values = wanted.get("containerName"), wanted.get("values") or ()
    for status in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        ended = status.state.terminated
        if ended is None or ended.exit_code == 0 or (only and status.name != only):
            continue
        if (ended.exit_code in values) == (wanted.get("operator") == "In"):
            return (
                f"Container {status.name} for pod {meta.key_of(pod)} failed with exit code "
                f"{ended.exit_code}"
            )
    return ""


def _condition(wanted: Json, pod: Pod) -> str:
    for pattern in wanted or ():
        known = meta.condition(pod.status.conditions, str(pattern.get("type", "")))
        if known is not None and known.status == pattern.get("status", "True"):
            return f"Pod {meta.key_of(pod)} has condition {known.type}"
    return ""

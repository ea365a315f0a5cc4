"""Which pods a drain takes off a node, and what keeps it from doing so (pure).

Source: kubectl pkg/drain/filters.go; the messages are its.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Mapping[str, Any]

DAEMON_SET_FATAL = "DaemonSet-managed Pods (use --ignore-daemonsets to ignore)"
DAEMON_SET_WARNING = "ignoring DaemonSet-managed Pods"
LOCAL_FATAL = "Pods with local storage (use --delete-emptydir-data to override)"
LOCAL_WARNING = "deleting Pods with local storage"
UNMANAGED_FATAL = "Pods that declare no controller (use --force to override)"
UNMANAGED_WARNING = "deleting Pods that declare no controller"
_MIRROR = "kubernetes.io/config.mirror"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the caller puts up with, as `kubectl drain` has it."""

    force: bool = False
    ignore_daemonsets: bool = False
    delete_emptydir_data: bool = False


@dataclass(slots=True, kw_only=True)
class Plan:
    """What a drain would do: pods to evict, and by message the pods it is about ("namespace/name")."""

    pods: list[Json] = field(default_factory=list)
    errors: dict[str, list[str]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)

    def error(self) -> str:
        """Everything that keeps the drain from its work, "" when nothing does."""
        return _said(self.errors, "cannot delete ")

    def warning(self) -> str:
        """What the caller should know, "" for nothing."""
        return _said(self.warnings, "")


def plan(
    pods: Iterable[Json], options: Options, find_daemon_set: Callable[[str, str], bool]
) -> Plan:
    """Sort a node's pods.

    Args:
        pods: All of the node.
        options: What the caller puts up with.
        find_daemon_set: Whether a DaemonSet of that namespace and name exists.
    """
    result = Plan()
    for pod in pods:
        _judge(pod, options, find_daemon_set, result)
    return result


def _judge(
    pod: Json, options: Options, find_daemon_set: Callable[[str, str], bool], result: Plan
) -> None:
    about = pod["metadata"]
    name = f"{about['namespace']}/{about['name']}"
    owner = next((it for it in about.get("ownerReferences") or () if it.get("controller")), None)
    ended = pod.get("status", {}).get("phase") in ("Succeeded", "Failed")
    if _MIRROR in (about.get("annotations") or {}):
        return
    if owner is not None and owner["kind"] == "DaemonSet" and not ended:
        if find_daemon_set(about["namespace"], owner["name"]):
            if options.ignore_daemonsets:
                result.warnings.setdefault(DAEMON_SET_WARNING, []).append(name)
            else:
                result.errors.setdefault(DAEMON_SET_FATAL, []).append(name)
            return
        owner = None  # an orphan, which nobody will make again
    fatal = False
    if not ended and any("emptyDir" in it for it in pod["spec"].get("volumes") or ()):
        if options.delete_emptydir_data:
            result.warnings.setdefault(LOCAL_WARNING, []).append(name)
        else:
            result.errors.setdefault(LOCAL_FATAL, []).append(name)
            fatal = True
    if not ended and owner is None:
        if options.force:
            result.warnings.setdefault(UNMANAGED_WARNING, []).append(name)
        else:
            result.errors.setdefault(UNMANAGED_FATAL, []).append(name)
            fatal = True
    if not fatal:
        result.pods.append(pod)


def _said(messages: Mapping[str, list[str]], prefix: str) -> str:
    return "; ".join(f"{prefix}{text}: {', '.join(names)}" for text, names in messages.items())

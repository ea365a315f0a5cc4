"""Rules for Deployments and ReplicaSets.

Source: pkg/apis/apps/validation/validation.go.
"""

import re

from netpod.api import selectors, validate_meta, validate_pod
from netpod.api.apps import Deployment, DeploymentStrategy, ReplicaSet
from netpod.api.meta import IntOrString, LabelSelector
from netpod.api.pod import PodTemplateSpec
from netpod.api.validate_errors import Errors

_PERCENT = re.compile("[0-9]+%", re.ASCII)
_BAD_PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)


def deployment(errors: Errors, obj: Deployment) -> None:
    """Check a Deployment."""
    spec = obj.spec
    errors.non_negative("spec.replicas", spec.replicas)
    if selector(errors, spec.selector, spec.template, "deployment"):
        template(errors, spec.template, "Deployment")
    _strategy(errors, spec.strategy)
    errors.non_negative("spec.minReadySeconds", spec.min_ready_seconds)
    errors.non_negative("spec.revisionHistoryLimit", spec.revision_history_limit)
    deadline = spec.progress_deadline_seconds
    if deadline is not None:
        errors.non_negative("spec.progressDeadlineSeconds", deadline)
        if deadline <= spec.min_ready_seconds:
            detail = "must be greater than minReadySeconds"
            errors.invalid("spec.progressDeadlineSeconds", deadline, detail)


def deployment_update(errors: Errors, new: Deployment, old: Deployment) -> None:
    """The selector stays: pods would be orphaned otherwise."""
    errors.immutable("spec.selector", new.spec.selector, old.spec.selector)


def replica_set(errors: Errors, obj: ReplicaSet) -> None:
    """Check a ReplicaSet."""
    spec = obj.spec
    errors.non_negative("spec.replicas", spec.replicas)
    errors.non_negative("spec.minReadySeconds", spec.min_ready_seconds)
    if selector(errors, spec.selector, spec.template, "replicaset"):
        template(errors, spec.template, "ReplicaSet")


def replica_set_update(errors: Errors, new: ReplicaSet, old: ReplicaSet) -> None:
    """The selector stays."""
    errors.immutable("spec.selector", new.spec.selector, old.spec.selector)


def selector(
    errors: Errors, selector: LabelSelector | None, template: PodTemplateSpec, kind: str
) -> bool:
    """Check that spec.selector selects something, and the template's pods.

    Returns:
        Whether the template is to be looked at: upstream stops at a selector that is none.
    """
    daemon = kind == "daemonset"
    before = len(errors.found)
    if selector is not None:
        validate_meta.label_selector(errors, selector, "spec.selector")
    elif not daemon:
        errors.required("spec.selector")
    if selector is not None and validate_meta.selects_nothing_in_particular(selector):
        # Upstream says deployment for ReplicaSets, too.
        noun = "deployment" if kind == "replicaset" else kind
        errors.invalid("spec.selector", selector, f"empty selector is invalid for {noun}")
        return True
    if selector is not None and len(errors.found) > before:
        if not daemon:
            detail = "" if kind == "statefulset" else "invalid label selector"
            errors.invalid("spec.selector", selector, detail)
        return daemon
    labels = template.metadata.labels
    # Without a selector nothing matches.
    if selector is None or not selectors.from_label_selector(selector).matches(labels):
        detail = "`selector` does not match template `labels`"
        errors.invalid("spec.template.metadata.labels", dict(labels), detail)
    return True


def template(errors: Errors, template: PodTemplateSpec, kind: str) -> None:
    """Check the template of pods that run for ever, at spec.template."""
    path = "spec.template"
    validate_meta.template_metadata(errors, template.metadata, path)
    validate_pod.pod_spec(errors, template.spec, f"{path}.spec")
    if template.spec.restart_policy != "Always":
        errors.refuse(f"{path}.spec.restartPolicy", template.spec.restart_policy, ("Always",))
    if template.spec.active_deadline_seconds is not None:
        detail = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.forbidden(f"{path}.spec.activeDeadlineSeconds", detail)


def _strategy(errors: Errors, strategy: DeploymentStrategy) -> None:
    path = "spec.strategy"
    if strategy.type not in ("Recreate", "RollingUpdate"):
        errors.refuse(path, strategy, ("Recreate", "RollingUpdate"))
    bounds = strategy.rolling_update
    if strategy.type == "Recreate" and bounds is not None:
        detail = "may not be specified when strategy `type` is 'Recreate'"
        errors.forbidden(f"{path}.rollingUpdate", detail)
    if strategy.type != "RollingUpdate":
        return
    if bounds is None:
        errors.required(f"{path}.rollingUpdate", "this should be defaulted and never be nil")
        return
    path = f"{path}.rollingUpdate"
    unavailable, surge = bounds.max_unavailable, bounds.max_surge
    number_or_percent(errors, unavailable, f"{path}.maxUnavailable")
    number_or_percent(errors, surge, f"{path}.maxSurge")
    if is_zero(unavailable) and is_zero(surge):
        errors.invalid(f"{path}.maxUnavailable", unavailable, "may not be 0 when `maxSurge` is 0")
    at_most_all(errors, unavailable, f"{path}.maxUnavailable")


def at_most_all(errors: Errors, value: IntOrString | None, path: str) -> None:
    """Complain about more than 100%."""
    if isinstance(value, str) and _PERCENT.fullmatch(value) and int(value[:-1]) > 100:
        errors.invalid(path, value, "must not be greater than 100%")


def number_or_percent(errors: Errors, value: IntOrString | None, path: str) -> None:
    """Check a bound: not negative, or a percentage."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            errors.invalid(path, value, _BAD_PERCENT)
    else:
        errors.non_negative(path, value)


def is_zero(value: IntOrString | None) -> bool:
    """Whether a bound is 0 or 0%."""
    if isinstance(value, str):
        return bool(_PERCENT.fullmatch(value)) and int(value[:-1]) == 0
    return not value

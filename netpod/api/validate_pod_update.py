"""What of a Pod may change once it exists: little, for its containers run already.

Source: pkg/apis/core/validation/validation.go ValidatePodUpdate.
"""

from dataclasses import replace

from netpod.api import codec, validate_names, validate_pod
from netpod.api.pod import Container, Pod, PodSpec
from netpod.api.validate_errors import Errors, index

CHANGEABLE = (
    "pod updates may not change fields other than `spec.containers[*].image`,"
    "`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)


def pod_update(errors: Errors, new: Pod, old: Pod) -> None:
    """Check a Pod's new spec against its old one."""
    spec, was = new.spec, old.spec
    if spec == was:
        return
    errors.found.extend(validate_pod.kept_spec(spec))
    if len(spec.containers) != len(was.containers):
        errors.forbidden("spec.containers", "pod updates may not add or remove containers")
        return
    if len(spec.init_containers) != len(was.init_containers):
        errors.forbidden("spec.initContainers", "pod updates may not add or remove containers")
        return
    _deadline(errors, spec, was)
    if was.tolerations and not set(_tolerations(was)) <= set(_tolerations(spec)):
        detail = "existing toleration can not be modified except its tolerationSeconds"
        errors.forbidden("spec.tolerations", detail)
    _gates(errors, spec, was)
    changed = _changed(_comparable(spec, was), was)
    if changed:
        errors.forbidden("spec", f"{CHANGEABLE}; changed: {', '.join(changed)}")


def _deadline(errors: Errors, spec: PodSpec, was: PodSpec) -> None:
    path, new, old = (
        "spec.activeDeadlineSeconds",
        spec.active_deadline_seconds,
        was.active_deadline_seconds,
    )
    if old is None:
        if new is not None and new < 0:
            errors.invalid(path, new, "must be greater than or equal to 0")
    elif new is None:
        errors.invalid(path, new, "must not update from a positive integer to nil value")
    elif new < 0:
        errors.invalid(path, new, validate_names.between(0, 2**31 - 1))
    elif new > old:
        errors.invalid(path, new, f"must be less than or equal to previous value {old}")


def _gates(errors: Errors, spec: PodSpec, was: PodSpec) -> None:
    """Gates may only go; while one is left, the choice of nodes may become narrower."""
    known = {gate.name for gate in was.scheduling_gates}
    for position, gate in enumerate(spec.scheduling_gates):
        if gate.name not in known:
            detail = f"only deletion is allowed, but found new scheduling gate '{gate.name}'"
            errors.forbidden(index("spec.schedulingGates", position), detail)
    if was.scheduling_gates and not was.node_selector.items() <= spec.node_selector.items():
        detail = "additions are allowed, but existing values may not change or go"
        errors.invalid("spec.nodeSelector", dict(spec.node_selector), detail)


def _tolerations(spec: PodSpec) -> list[tuple[str, str, str, str]]:
    return [(t.key, t.operator, t.value, t.effect) for t in spec.tolerations]


def _comparable(spec: PodSpec, was: PodSpec) -> PodSpec:
    """Return the new spec with everything that may change as it was."""
    grace = spec.termination_grace_period_seconds
    before = was.termination_grace_period_seconds
    if before is not None and before < 0 and grace == 1:
        grace = before
    gated = bool(was.scheduling_gates)
    return replace(
        spec,
        scheduling_gates=was.scheduling_gates,
        node_selector=was.node_selector if gated else spec.node_selector,
        containers=_with_images(spec.containers, was.containers),
        init_containers=_with_images(spec.init_containers, was.init_containers),
        active_deadline_seconds=was.active_deadline_seconds,
        tolerations=was.tolerations,
        termination_grace_period_seconds=grace,
    )


def _with_images(
    containers: tuple[Container, ...], were: tuple[Container, ...]
) -> tuple[Container, ...]:
    pairs = zip(containers, were, strict=True)
    return tuple(replace(container, image=was.image) for container, was in pairs)


def _changed(spec: PodSpec, was: PodSpec) -> list[str]:
    """Return the JSON names of the fields that differ."""
    names = [
        name for name in PodSpec.__dataclass_fields__ if getattr(spec, name) != getattr(was, name)
    ]
    return [f"spec.{codec.json_name(name)}" for name in names]

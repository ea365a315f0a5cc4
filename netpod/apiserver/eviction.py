"""eviction of pods: a deletion that asks the disruption budgets first.

Source: pkg/registry/core/pod/storage/eviction.go.
"""

import dataclasses
from typing import Any, cast

from netpod import errors
from netpod.api import codec, meta, registry, selectors
from netpod.api.meta import Json
from netpod.api.pod import Pod
from netpod.api.policy import Eviction, PodDisruptionBudget
from netpod.apiserver import deletion, negotiation, objects, status, storage, writeoptions
from netpod.apiserver.calls import Call, Reply
from netpod.apiserver.writeoptions import DeleteOptions
from netpod.apiserver.writes import Writer
from netpod.store.store import KeyValue

PODS = registry.of(Pod)
ATTEMPTS = 20
MAX_DISRUPTED = 2000
VERSIONS = ("policy/v1", "policy/v1beta1")


async def evict(writer: Writer, call: Call) -> Reply:
    """POST of an Eviction.

    Raises:
        TooManyRequests: the pod's budget does not allow it now; `details` say why and when to ask again.
        BadRequest, NotFound, Conflict (a precondition).
    """
    budgets = registry.of(PodDisruptionBudget)
    route = call.route
    data = negotiation.body(call.body, call.content_type)
    version, kind = data.get("apiVersion", VERSIONS[0]), data.get("kind", "Eviction")
    if kind != "Eviction" or version not in VERSIONS:
        raise errors.BadRequest(
            f"cannot evict pod: the body is a {version} {kind}, not an Eviction"
        )
    wish = codec.decode(Eviction, data)
    if wish.metadata.name != route.name:
        raise errors.BadRequest("name in URL does not match name in Eviction object")
    options = _options(call, dict(wish.delete_options or {}))
    for _ in range(ATTEMPTS):
        kv = await writer.storage.get(PODS, route.namespace, route.name)
        pod = cast(Pod, objects.unpack(PODS, kv))
        if not _is_free(pod):
            found = await _budgets(writer, budgets, pod)
            if len(found) > 1:
                raise errors.ApiError(
                    "This pod has more than one PodDisruptionBudget, which the eviction "
                    "subresource does not support."
                )
            if found and not _unhealthy_may_go(pod, found[0][1]):
                try:
                    await _spend(writer, budgets, *found[0], pod, options.dry_run)
                except errors.Conflict:
                    continue
        await deletion.delete_one(writer, PODS, route.namespace, route.name, options)
        return Reply(status=201, body=status.CREATED)
    raise errors.TooManyRequests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        details={"retryAfterSeconds": 10},
    )


def _options(call: Call, given: dict[str, Json]) -> DeleteOptions:
    """The deletion's options from the Eviction, not from the body as a whole."""
    given.pop("apiVersion", None)
    body = negotiation.dump({**given, "kind": "DeleteOptions"})
    return writeoptions.delete_options(call._replace(body=body, content_type=negotiation.JSON))


def _is_free(pod: Pod) -> bool:
    """Whether a pod is of no use to anybody's budget."""
    phase = pod.status.phase
    return phase in ("Succeeded", "Failed", "Pending") or bool(pod.metadata.deletion_timestamp)


async def _budgets(
    writer: Writer, resource: registry.Resource, pod: Pod
) -> list[tuple[KeyValue, PodDisruptionBudget]]:
    found = []
    for kv in (await writer.storage.list(resource, pod.metadata.namespace)).items:
        budget = cast(PodDisruptionBudget, objects.unpack(resource, kv))
        if budget.spec.selector is None:
            continue
        if selectors.from_label_selector(budget.spec.selector).matches(pod.metadata.labels):
            found.append((kv, budget))
    return found


def _unhealthy_may_go(pod: Pod, budget: PodDisruptionBudget) -> bool:
    ready = meta.condition(pod.status.conditions, "Ready")
    if ready is not None and ready.status == "True":
        return False
    if budget.spec.unhealthy_pod_eviction_policy == "AlwaysAllow":
        return True
    state = budget.status
    return state.current_healthy >= state.desired_healthy > 0


async def _spend(
    writer: Writer,
    resource: registry.Resource,
    kv: KeyValue,
    budget: PodDisruptionBudget,
    pod: Pod,
    dry_run: bool,
) -> None:
    """Take one disruption from the budget."""
    state = budget.status
    name = budget.metadata.name
    if state.observed_generation < budget.metadata.generation:
        raise _refused(f"The disruption budget {name} is still being processed by the server.", 10)
    if state.disruptions_allowed < 0:
        raise storage.forbidden(resource, name, "pdb disruptions allowed is negative")
    if len(state.disrupted_pods) > MAX_DISRUPTED:
        raise storage.forbidden(
            resource, name, "DisruptedPods map too big - too many evictions not confirmed"
        )
    if state.disruptions_allowed == 0:
        raise _refused(
            f"The disruption budget {name} needs {state.desired_healthy} healthy pods "
            f"and has {state.current_healthy} currently",
            0,
        )
    disrupted = {**state.disrupted_pods, pod.metadata.name: meta.timestamp(writer.now())}
    state = dataclasses.replace(
        state,
        disruptions_allowed=state.disruptions_allowed - 1,
        disrupted_pods=disrupted,
    )
    new = dataclasses.replace(budget, status=state)
    await writer.storage.replace(resource, kv, new, dry_run=dry_run)


def _refused(why: str, seconds: int) -> errors.TooManyRequests:
    details: dict[str, Any] = {"causes": [{"reason": "DisruptionBudget", "message": why}]}
    if seconds:
        details["retryAfterSeconds"] = seconds
    return errors.TooManyRequests(
        "Cannot evict pod as it would violate the pod's disruption budget.", details=details
    )

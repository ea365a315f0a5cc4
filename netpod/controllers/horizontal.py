"""HorizontalPodAutoscaler controller: asks the metrics API every 15 seconds and sets the scale of the target.

Source: kubernetes pkg/controller/podautoscaler/horizontal.go.
"""

import dataclasses
import logging
import urllib.parse
from typing import Any

import orjson

from netpod.api import meta, quantity, registry, selectors
from netpod.api.autoscaling import HorizontalPodAutoscaler, HorizontalPodAutoscalerStatus
from netpod.api.meta import Condition, Key
from netpod.api.pod import Pod
from netpod.client.rest import MERGE_PATCH
from netpod.controllers import autoscaling, controller
from netpod.controllers.autoscaling import Change, NoMetrics, Proposal, Usage
from netpod.controllers.controller import Context, Controller
from netpod.errors import ApiError, Conflict, NotFound

log = logging.getLogger(__name__)

PERIOD = 15.0
_REMEMBERED = 3600.0


class HorizontalController:
    """Scales what HorizontalPodAutoscalers point at.

    Args:
        context: Of the process.
        period: Seconds between two looks at one autoscaler.
    """

    def __init__(self, context: Context, period: float = PERIOD) -> None:
        self._context = context.named("horizontal-pod-autoscaler")
        self._period = period
        self._autoscalers = context.view(HorizontalPodAutoscaler)
        self._pods = context.view(Pod)
        self._pods.index("namespace", controller.by_namespace)
        self._advice: dict[Key, list[Change]] = {}
        self._taken: dict[Key, list[Change]] = {}
        self._loop: Controller[Key] = context.loop(
            "horizontalpodautoscaler", self.reconcile, after=[self._autoscalers, self._pods]
        )
        self._autoscalers.subscribe(self._changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _changed(
        self, old: HorizontalPodAutoscaler | None, new: HorizontalPodAutoscaler | None
    ) -> None:
        if new is None:
            assert old is not None, "a change is a change of something"
            self._advice.pop(meta.key_of(old), None)
            self._taken.pop(meta.key_of(old), None)
        elif old is None or old.spec != new.spec:
            self._loop.enqueue(meta.key_of(new))

    async def reconcile(self, key: Key) -> None:
        """Look at one autoscaler, and come back in a while."""
        found = self._autoscalers.get(key)
        if found is None:
            return
        self._loop.enqueue_after(key, self._period)
        status = await self._look(key, found)
        status = dataclasses.replace(status, observed_generation=found.metadata.generation or None)
        if status == found.status:
            return
        try:
            self._autoscalers.wrote(
                await self._context.client.update(
                    dataclasses.replace(found, status=status), subresource="status"
                )
            )
        except (NotFound, Conflict):
            log.debug("horizontalpodautoscaler %s changed meanwhile", key)

    async def _look(
        self, key: Key, found: HorizontalPodAutoscaler
    ) -> HorizontalPodAutoscalerStatus:
        status, now = found.status, self._context.clock()
        target = found.spec.scale_target_ref
        try:
            resource = registry.by_kind(target.api_version or "apps/v1", target.kind)
            path = resource.path(key.namespace, target.name, "scale")
            scale = orjson.loads(await self._context.client.raw("GET", path))
        except ApiError as error:
            why = f"the HPA controller was unable to get the target's current scale: {error}"
            self._warn(found, "FailedGetScale", str(error))
            return self._with(status, [_condition("AbleToScale", "False", "FailedGetScale", why)])
        current = int((scale.get("spec") or {}).get("replicas", 0))
        # What is there when it is first seen counts as advice: recordInitialRecommendation.
        self._advice.setdefault(key, [Change(at=now, replicas=current)])
        able = _condition(
            "AbleToScale",
            "True",
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        )
        status = dataclasses.replace(status, current_replicas=current)
        if current == 0:
            why = "scaling is disabled since the replica count of the target is zero"
            off = _condition("ScalingActive", "False", "ScalingDisabled", why)
            return self._with(dataclasses.replace(status, desired_replicas=0), [able, off])
        low, high = found.spec.min_replicas or 1, found.spec.max_replicas
        if current > high or current < low:
            status = self._with(status, [able])
            return await self._rescale(found, status, path, current, min(max(current, low), high))
        try:
            selector = str((scale.get("status") or {}).get("selector", ""))
            best, shown = await self._measure(key, found, selector, current)
        except NoMetrics as error:
            why = f"the HPA was unable to compute the replica count: {error}"
            self._warn(found, "FailedComputeMetricsReplicas", error.summary)
            off = _condition("ScalingActive", "False", error.reason, why)
            return self._with(status, [able, off])
        with controller.reading(found):
            wanted, conditions = autoscaling.limit(
                found,
                current,
                best.replicas,
                self._advice.get(key, []),
                self._taken.get(key, []),
                now,
            )
        self._remember(self._advice, key, best.replicas)
        why = f"the HPA was able to successfully calculate a replica count from {best.metric}"
        valid = _condition("ScalingActive", "True", "ValidMetricFound", why)
        status = dataclasses.replace(status, current_metrics=shown)
        status = self._with(status, [*conditions, valid])
        return await self._rescale(found, status, path, current, wanted, best.metric)

    async def _measure(
        self, key: Key, found: HorizontalPodAutoscaler, selector: str, current: int
    ) -> tuple[Proposal, tuple[dict[str, Any], ...]]:
        """Return the largest proposal and every metric's present value."""
        query = selectors.parse_labels(selector)
        there = [
            p for p in self._pods.by("namespace", key.namespace) if query.matches(p.metadata.labels)
        ]
        usage: Usage | NoMetrics = {}
        try:
            usage = await self._usage(key.namespace, selector, found)
        except NoMetrics as error:
            usage = error
        with controller.reading(found):
            proposals, failures = autoscaling.propose_all(found.spec.metrics, current, there, usage)
        for failure in failures:
            self._warn(found, failure.reason, str(failure))
        best = autoscaling.largest(proposals, failures, current)
        return best, tuple(dict(p.current) for p in proposals)

    async def _usage(self, namespace: str, selector: str, found: HorizontalPodAutoscaler) -> Usage:
        path = f"/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods"
        query = urllib.parse.urlencode({"labelSelector": selector})
        try:
            data = orjson.loads(await self._context.client.raw("GET", f"{path}?{query}"))
        except ApiError as error:
            with controller.reading(found):
                wanted = [m["resource"] for m in found.spec.metrics if m.get("resource")]
                name = wanted[0].get("name", "cpu") if wanted else "cpu"
            why = (
                "the server could not find the requested resource (get pods.metrics.k8s.io)"
                if isinstance(error, NotFound)
                else str(error)
            )
            raise NoMetrics(
                "FailedGetResourceMetric",
                f"failed to get {name} utilization: unable to get metrics for resource {name}: "
                f"unable to fetch metrics from resource metrics API: {why}",
            ) from error
        with controller.reading(found):
            return {
                item["metadata"]["name"]: {
                    c["name"]: {n: quantity.parse(v) for n, v in (c.get("usage") or {}).items()}
                    for c in item.get("containers") or ()
                }
                for item in data.get("items") or ()
            }

    async def _rescale(
        self,
        found: HorizontalPodAutoscaler,
        status: HorizontalPodAutoscalerStatus,
        path: str,
        current: int,
        wanted: int,
        metric: str = "",
    ) -> HorizontalPodAutoscalerStatus:
        status = dataclasses.replace(status, desired_replicas=wanted)
        if wanted == current:
            return status
        body = orjson.dumps({"spec": {"replicas": wanted}})
        why = f"{metric} {'above' if wanted > current else 'below'} target"
        if not metric:
            bound = "below Spec.MinReplicas" if wanted > current else "above Spec.MaxReplicas"
            why = f"Current number of replicas {bound}"
        try:
            await self._context.client.raw("PATCH", path, body, MERGE_PATCH)
        except ApiError as error:
            self._warn(found, "FailedRescale", f"New size: {wanted}; reason: {why}; error: {error}")
            text = f"the HPA controller was unable to update the target scale: {error}"
            return self._with(
                status, [_condition("AbleToScale", "False", "FailedUpdateScale", text)]
            )
        self._context.recorder.event(
            found, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {why}"
        )
        self._remember(self._taken, meta.key_of(found), current)
        text = f"the HPA controller was able to update the target scale to {wanted}"
        done = _condition("AbleToScale", "True", "SucceededRescale", text)
        now = meta.timestamp(self._context.clock())
        return self._with(dataclasses.replace(status, last_scale_time=now), [done])

    def _remember(self, where: dict[Key, list[Change]], key: Key, replicas: int) -> None:
        now = self._context.clock()
        kept = [c for c in where.get(key, []) if (now - c.at).total_seconds() < _REMEMBERED]
        where[key] = [*kept, Change(at=now, replicas=replicas)]

    def _with(
        self, status: HorizontalPodAutoscalerStatus, new: list[Condition]
    ) -> HorizontalPodAutoscalerStatus:
        now = self._context.clock()
        conditions = autoscaling.with_conditions(status.conditions, new, now)
        return dataclasses.replace(status, conditions=conditions)

    def _warn(self, found: HorizontalPodAutoscaler, reason: str, message: str) -> None:
        self._context.recorder.event(found, "Warning", reason, message)


def _condition(type_: str, status: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status=status, reason=reason, message=message)

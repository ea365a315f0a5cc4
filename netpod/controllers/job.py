"""Job controller: pods until enough of them have succeeded.

Source: kubernetes pkg/controller/job/job_controller.go syncJob, manageJob, trackJobStatusAndRemoveFinalizers.
"""

import dataclasses
import logging
from collections.abc import Iterable, Mapping

from netpod.api import meta, selectors
from netpod.api.batch import Job, JobStatus
from netpod.api.meta import EMPTY, Condition, Key
from netpod.api.pod import Container, EnvVar, Pod, PodSpec
from netpod.controllers import (
    adoption,
    controller,
    indexes,
    jobpolicy,
    jobs,
    podcontrol,
    pods,
    replicas,
)
from netpod.controllers.controller import Context, Controller
from netpod.controllers.jobs import End, Tally
from netpod.controllers.podcontrol import PodControl
from netpod.errors import Conflict, NetpodError, NotFound

log = logging.getLogger(__name__)


class JobController:
    """Runs every Job.

    Args:
        context: Of the process.
        backoff: Seconds until the first failed pod is replaced.
    """

    def __init__(self, context: Context, backoff: float = jobs.BACKOFF_FIRST) -> None:
        self._context = context.named("job-controller")
        self._backoff = backoff
        self._jobs = context.view(Job)
        self._pods = context.view(Pod)
        self._jobs.index("namespace", controller.by_namespace)
        self._pods.index("owner", controller.by_owner)
        self._pods.index("orphans", controller.orphans_by_namespace)
        self._control = PodControl(self._context)
        self._orphans: dict[Key, dict[str, None]] = {}
        self._loop: Controller[Key] = context.loop(
            "job",
            self.reconcile,
            after=[self._jobs, self._pods],
            again=controller.REFUSED_RETRY,
        )
        self._jobs.subscribe(self._job_changed)
        self._pods.subscribe(self._pod_changed)

    async def run(self) -> None:
        """Work until cancelled."""
        await self._loop.run()

    def _job_changed(self, old: Job | None, new: Job | None) -> None:
        shown = new or old
        assert shown is not None, "a change is a change of something"
        if new is None:
            self._orphans.setdefault(meta.key_of(shown), {})[shown.metadata.uid] = None
        self._loop.enqueue(meta.key_of(shown))

    def _pod_changed(self, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            owner = meta.controller_of(pod) if pod is not None else None
            if pod is None or owner is None or owner.kind != "Job":
                continue
            key = Key(pod.metadata.namespace, owner.name)
            if jobs.FINALIZER in pod.metadata.finalizers:
                self._orphans.setdefault(key, {})[owner.uid] = None
            self._loop.enqueue(key)
        if new is not None and _is_stray(new):
            self._loop.enqueue(Key(new.metadata.namespace, ""))

    async def reconcile(self, key: Key) -> None:
        """Make one Job's next step, then write what there is; without a name, let pods of no Job go."""
        if not key.name:
            await self._release(filter(_is_stray, self._pods.by("orphans", key.namespace)))
            return
        job = self._jobs.get(key)
        uid = job.metadata.uid if job is not None else ""
        past = [u for u in self._orphans.pop(key, {}) if u != uid]
        await self._release(p for u in past for p in self._pods.by("owner", u))
        if job is None or job.spec.selector is None or job.spec.managed_by:
            return
        if job.metadata.deletion_timestamp or jobs.finished(job) is not None:
            await self._release(self._pods.by("owner", uid))
            return
        query = selectors.from_label_selector(job.spec.selector)
        around = [*self._pods.by("owner", uid), *self._pods.by("orphans", key.namespace)]
        owned = await adoption.claim(
            self._context.client, self._pods, job, query, around, jobs.FINALIZER
        )
        try:
            await self._advance(job, list(owned))
        except NotFound:
            log.debug("job %s: it went away meanwhile", key)

    async def _advance(self, job: Job, owned: list[Pod]) -> None:
        now = self._context.clock()
        leaving = [p.metadata.uid for p in owned if self._control.is_leaving(p)]
        with controller.reading(job):
            count = jobs.tally(job, owned, leaving)
        over = jobs.end(job, count, now)
        if over is not None and jobpolicy.counts_per_index(job):
            count = jobs.tally(job, owned, leaving, over=True)
        if over is None:
            due = jobs.deadline(job)
            if due is not None:
                self._loop.enqueue_after(meta.key_of(job), (due - now).total_seconds() + 0.01)
        active = list(count.active)
        refused: NetpodError | None = None
        if over is not None or job.spec.suspend:
            await self._end(job, active)
            active = []
        else:
            try:
                active = await self._manage(job, owned, count)
            except NetpodError as error:
                # What ended is counted and let go nevertheless: a namespace that ends waits for that.
                refused = error
        ready = sum(pods.is_ready(pod) for pod in active)
        status = jobs.status(job, count, len(active), ready, now)
        status = self._suspension(job, status)
        if over is not None:
            settled = not any(count.uncounted) and not count.release and not count.terminating
            status = self._ended(job, status, over, final=settled)
        written = await self._write_status(job, status)
        await self._release(count.release)
        if written is not job and (condition := jobs.finished(written)) is not None:
            self._say_end(written, condition)
        if refused is not None:
            raise refused

    async def _manage(self, job: Job, owned: list[Pod], count: Tally) -> list[Pod]:
        """Make or end pods; return those that are active then."""
        number = jobs.wanted(job, count)
        doomed = jobs.surplus(job, count, number)
        if doomed:
            await self._end(job, doomed)
            return [pod for pod in count.active if pod not in doomed]
        missing = min(number - len(count.active), replicas.BURST)
        if missing <= 0:
            return list(count.active)
        now = self._context.clock()
        if jobpolicy.counts_per_index(job):
            open_ = jobs.next_indexes(job, count, job.spec.completions or 0)
            free, wait = jobs.index_backoff(job, owned, open_, self._backoff, now)
            if wait > 0:
                self._loop.enqueue_after(meta.key_of(job), wait)
            last = jobpolicy.latest_failed(job, owned)
            new = [
                _new_pod(job, index, jobpolicy.marks(job, last.get(index)))
                for index in free[:missing]
            ]
        elif (wait := jobs.backoff(owned, self._backoff, now)) > 0:
            self._loop.enqueue_after(meta.key_of(job), wait)
            return list(count.active)
        elif jobs.is_indexed(job):
            new = [_new_pod(job, index) for index in jobs.next_indexes(job, count, missing)]
        else:
            new = [_new_pod(job, None)] * missing
        made = list(count.active)
        for size in replicas.batches(len(new)):
            made += await self._control.create(job, new[:size])
            new = new[size:]
        return made

    async def _end(self, job: Job, doomed: list[Pod]) -> None:
        """End active pods: they count neither as succeeded nor as failed."""
        await self._release(doomed)
        await self._control.delete(job, doomed)

    async def _release(self, doomed: Iterable[Pod]) -> None:
        """Take our finalizer off pods."""
        await controller.all_of(
            self._release_one(p) for p in doomed if jobs.FINALIZER in p.metadata.finalizers
        )

    async def _release_one(self, pod: Pod) -> None:
        about = pod.metadata
        kept = [name for name in about.finalizers if name != jobs.FINALIZER]
        identity = {"uid": about.uid, "resourceVersion": about.resource_version}
        patch = {"metadata": {**identity, "finalizers": kept}}
        try:
            released = await self._context.client.patch(Pod, about.name, about.namespace, patch)
        except NotFound:
            self._pods.removed(pod)
            return
        except Conflict:
            if owner := meta.controller_of(pod):
                self._orphans.setdefault(Key(about.namespace, owner.name), {})[owner.uid] = None
            raise
        if released.metadata.deletion_timestamp:
            # The last finalizer of a pod that was to go: it is gone with it, or soon.
            return
        self._pods.wrote(released)

    def _suspension(self, job: Job, status: JobStatus) -> JobStatus:
        """Say that the Job is held back, or goes on."""
        known = meta.condition(status.conditions, "Suspended")
        held = known is not None and known.status == "True"
        if bool(job.spec.suspend) == held:
            return dataclasses.replace(status, start_time=None) if held else status
        now = meta.timestamp(self._context.clock())
        word = "Suspended" if job.spec.suspend else "Resumed"
        new = _condition("Suspended", str(not held), f"Job{word}", f"Job {word.lower()}", now)
        self._context.recorder.event(job, "Normal", word, f"Job {word.lower()}")
        return dataclasses.replace(
            status,
            conditions=pods.set_condition(status.conditions, new),
            start_time=None if job.spec.suspend else now,
        )

    def _ended(self, job: Job, status: JobStatus, over: End, *, final: bool) -> JobStatus:
        """Write how the Job is over once all is counted; until then keep why it fails."""
        now = meta.timestamp(self._context.clock())
        conditions = status.conditions
        interim = {"PodFailurePolicy": "FailureTarget", "SuccessPolicy": "SuccessCriteriaMet"}
        if over.reason in interim:
            known = meta.condition(conditions, interim[over.reason])
            if known is None or known.status != "True":
                target = _condition(interim[over.reason], "True", over.reason, over.message, now)
                conditions = pods.set_condition(conditions, target)
        if final:
            new = _condition(over.type, "True", over.reason, over.message, now)
            conditions = pods.set_condition(conditions, new)
            if over.type == "Complete":
                status = dataclasses.replace(status, completion_time=now)
            status = dataclasses.replace(status, ready=0)
        return dataclasses.replace(status, conditions=conditions)

    def _say_end(self, job: Job, condition: Condition) -> None:
        if condition.type == "Complete":
            self._context.recorder.event(job, "Normal", "Completed", "Job completed")
        else:
            self._context.recorder.event(job, "Warning", condition.reason, condition.message)

    async def _write_status(self, job: Job, status: JobStatus) -> Job:
        if status == job.status:
            return job
        return self._jobs.wrote(
            await self._context.client.update(
                dataclasses.replace(job, status=status), subresource="status"
            )
        )


def _is_stray(pod: Pod) -> bool:
    """Tell whether a pod that is to go holds our finalizer, and no Job is left that would take it off."""
    about = pod.metadata
    held = bool(about.deletion_timestamp) and jobs.FINALIZER in about.finalizers
    return held and meta.controller_of(pod) is None


def _condition(type_: str, status: str, reason: str, message: str, now: str) -> Condition:
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_probe_time=now,
        last_transition_time=now,
    )


def _new_pod(job: Job, index: int | None, marks: Mapping[str, str] = EMPTY) -> Pod:
    template = job.spec.template
    name = f"{job.metadata.name}-"
    if index is None:
        return podcontrol.from_template(
            job, template, generate_name=name, finalizers=(jobs.FINALIZER,)
        )
    spec = template.spec
    spec = dataclasses.replace(
        _numbered(spec), hostname=spec.hostname or f"{job.metadata.name}-{index}"
    )
    mark = {indexes.INDEX: str(index)}
    return podcontrol.from_template(
        job,
        template,
        generate_name=f"{name}{index}-",
        labels=mark,
        annotations={**mark, **marks},
        finalizers=(jobs.FINALIZER,),
        spec=spec,
    )


def _numbered(spec: PodSpec) -> PodSpec:
    """Return the spec with JOB_COMPLETION_INDEX in every container's environment."""
    path = f"metadata.labels['{indexes.INDEX}']"
    own = EnvVar(
        name="JOB_COMPLETION_INDEX",
        value_from={"fieldRef": {"apiVersion": "v1", "fieldPath": path}},
    )

    def with_index(containers: Iterable[Container]) -> tuple[Container, ...]:
        return tuple(
            c
            if any(e.name == own.name for e in c.env)
            else dataclasses.replace(c, env=(*c.env, own))
            for c in containers
        )

    return dataclasses.replace(
        spec,
        containers=with_index(spec.containers),
        init_containers=with_index(spec.init_containers),
    )

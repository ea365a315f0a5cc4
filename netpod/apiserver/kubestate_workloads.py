"""Which metrics /metrics/kube-state has of what makes pods, and of what scales it.

Source: kube-state-metrics docs/metrics/workload, internal/store.
"""

import math
from collections.abc import Iterable
from dataclasses import replace
from zoneinfo import ZoneInfo

from netpod.api import cron, meta, quantity
from netpod.apiserver.kubestate import (
    Family,
    Kind,
    Make,
    Sample,
    conditions,
    info,
    moment,
    number,
    numbers,
    ordinary,
    owners,
    word,
)
from netpod.apiserver.tables_cells import Json, dig, items

JOB_FAILURES = ("BackoffLimitExceeded", "DeadlineExceeded", "Evicted")
_VERSION = "metadata.resourceVersion"


def _workload(
    plural: str, name: str, *families: Family, group: str = "apps", label: str = ""
) -> Kind:
    """A kind whose controller says which generation it has seen."""
    prefix = f"kube_{name}"
    seen = numbers(
        prefix,
        ("metadata_generation", "metadata.generation", "Sequence number representing a specific generation of the desired state."),
        ("status_observed_generation", "status.observedGeneration", "The generation observed by the controller."),
    )  # fmt: skip
    return ordinary(
        group,
        plural,
        name,
        *seen,
        owners(f"{prefix}_owner", "Information about its owner."),
        *families,
        label=label,
    )


def _rolling(field: str, up: bool) -> Family:
    """A number or share of pods that a rolling update may go beyond, as a number."""

    def make(obj: Json) -> Iterable[Sample]:
        value = dig(obj, f"spec.strategy.rollingUpdate.{field}")
        if value is None:
            return []
        if isinstance(value, str):
            share = float(value.removesuffix("%")) / 100 * float(dig(obj, "spec.replicas", 1))
            value = math.ceil(share) if up else math.floor(share)
        return [({}, float(value))]

    name = "max_surge" if up else "max_unavailable"
    return Family(
        f"kube_deployment_spec_strategy_rollingupdate_{name}",
        f"{'Maximum number of replicas above the desired number' if up else 'Maximum number of unavailable replicas'}"
        " during a rolling update of a deployment.",
        make,
    )


_DEPLOYMENT = _workload(
    "deployments",
    "deployment",
    number("kube_deployment_spec_replicas", "Number of desired pods for a deployment.", "spec.replicas", 1),
    *numbers(
        "kube_deployment",
        ("spec_paused", "spec.paused", "Whether the deployment is paused and will not be processed by the deployment controller."),
        ("status_replicas", "status.replicas", "The number of replicas per deployment."),
        ("status_replicas_ready", "status.readyReplicas", "The number of ready replicas per deployment."),
        ("status_replicas_available", "status.availableReplicas", "The number of available replicas per deployment."),
        ("status_replicas_unavailable", "status.unavailableReplicas", "The number of unavailable replicas per deployment."),
        ("status_replicas_updated", "status.updatedReplicas", "The number of updated replicas per deployment."),
    ),
    _rolling("maxUnavailable", up=False),
    _rolling("maxSurge", up=True),
    conditions("kube_deployment_status_condition", "The current status conditions of a deployment.", "status"),
)  # fmt: skip

_REPLICA_SET = _workload(
    "replicasets",
    "replicaset",
    number("kube_replicaset_spec_replicas", "Number of desired pods for a ReplicaSet.", "spec.replicas", 1),
    *numbers(
        "kube_replicaset_status",
        ("replicas", "status.replicas", "The number of replicas per ReplicaSet."),
        ("fully_labeled_replicas", "status.fullyLabeledReplicas", "The number of fully labeled replicas per ReplicaSet."),
        ("ready_replicas", "status.readyReplicas", "The number of ready replicas per ReplicaSet."),
    ),
)  # fmt: skip

_REPLICATION_CONTROLLER = _workload(
    "replicationcontrollers",
    "replicationcontroller",
    number("kube_replicationcontroller_spec_replicas", "Number of desired pods for a ReplicationController.", "spec.replicas", 1),
    *numbers(
        "kube_replicationcontroller_status",
        ("replicas", "status.replicas", "The number of replicas per ReplicationController."),
        ("fully_labeled_replicas", "status.fullyLabeledReplicas", "The number of fully labeled replicas per ReplicationController."),
        ("ready_replicas", "status.readyReplicas", "The number of ready replicas per ReplicationController."),
        ("available_replicas", "status.availableReplicas", "The number of available replicas per ReplicationController."),
    ),
    group="",
)  # fmt: skip

_STATEFUL_SET = _workload(
    "statefulsets",
    "statefulset",
    *numbers(
        "kube_statefulset",
        ("ordinals_start", "spec.ordinals.start", "Start ordinal of the StatefulSet."),
        ("status_replicas", "status.replicas", "The number of replicas per StatefulSet."),
        ("status_replicas_available", "status.availableReplicas", "The number of available replicas per StatefulSet."),
        ("status_replicas_current", "status.currentReplicas", "The number of current replicas per StatefulSet."),
        ("status_replicas_ready", "status.readyReplicas", "The number of ready replicas per StatefulSet."),
        ("status_replicas_updated", "status.updatedReplicas", "The number of updated replicas per StatefulSet."),
    ),
    number("kube_statefulset_replicas", "Number of desired pods for a StatefulSet.", "spec.replicas", 1),
    info("kube_statefulset_status_current_revision", "Indicates the version of the StatefulSet used to generate Pods in the sequence [0,currentReplicas).", revision="status.currentRevision"),
    info("kube_statefulset_status_update_revision", "Indicates the version of the StatefulSet used to generate Pods in the sequence [replicas-updatedReplicas,replicas)", revision="status.updateRevision"),
)  # fmt: skip

_DAEMON_SET = _workload(
    "daemonsets",
    "daemonset",
    *numbers(
        "kube_daemonset_status",
        ("current_number_scheduled", "status.currentNumberScheduled", "The number of nodes running at least one daemon pod and are supposed to."),
        ("desired_number_scheduled", "status.desiredNumberScheduled", "The number of nodes that should be running the daemon pod."),
        ("number_available", "status.numberAvailable", "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available"),
        ("number_misscheduled", "status.numberMisscheduled", "The number of nodes running a daemon pod but are not supposed to."),
        ("number_ready", "status.numberReady", "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and ready."),
        ("number_unavailable", "status.numberUnavailable", "The number of nodes that should be running the daemon pod and have none of the daemon pod running and available"),
        ("updated_number_scheduled", "status.updatedNumberScheduled", "The total number of nodes that are running updated daemon pod"),
    ),
)  # fmt: skip


def _job_failed(job: Json) -> Iterable[Sample]:
    """Upstream's form: with known reasons whether it was that one, with others the number of pods."""
    failed = float(dig(job, "status.failed", 0))
    if not failed:
        return [({}, 0.0)]
    found = next((c for c in items(job, "status.conditions") if c.get("type") == "Failed"), None)
    reason = found.get("reason", "") if found else ""
    made = [({"reason": it}, float(it == reason)) for it in JOB_FAILURES] if found else []
    return made if reason in JOB_FAILURES else [*made, ({"reason": ""}, failed)]


_JOB = ordinary(
    "batch",
    "jobs",
    "job",
    info("kube_job_info", "Information about job."),
    owners("kube_job_owner", "Information about the Job's owner."),
    number("kube_job_spec_parallelism", "The maximum desired number of pods the job should run at any given time.", "spec.parallelism", None),
    number("kube_job_spec_completions", "The desired number of successfully finished pods the job should be run with.", "spec.completions", None),
    number("kube_job_spec_active_deadline_seconds", "The duration in seconds relative to the startTime that the job may be active before the system tries to terminate it.", "spec.activeDeadlineSeconds", None),
    *numbers(
        "kube_job_status",
        ("active", "status.active", "The number of actively running pods."),
        ("ready", "status.ready", "The number of ready pods that belong to this Job."),
        ("succeeded", "status.succeeded", "The number of pods which reached Phase Succeeded."),
        ("suspended", "spec.suspend", "The number of pods which reached Phase Suspended."),
    ),
    Family("kube_job_status_failed", "The number of pods which reached Phase Failed and the reason for failure.", _job_failed),
    conditions("kube_job_complete", "The job has completed its execution.", "condition", "Complete"),
    conditions("kube_job_failed", "The job has failed its execution.", "condition", "Failed"),
    moment("kube_job_status_start_time", "StartTime represents time when the job was acknowledged by the Job Manager.", "status.startTime"),
    moment("kube_job_status_completion_time", "CompletionTime represents time when the job was completed.", "status.completionTime"),
    label="job_name",
)  # fmt: skip


def _next_schedule(cron_job: Json) -> Iterable[Sample]:
    """When it fires next after the last time, or after it was made; nothing while it is suspended."""
    last = dig(cron_job, "status.lastScheduleTime") or dig(cron_job, "metadata.creationTimestamp")
    schedule = dig(cron_job, "spec.schedule")
    if not last or not schedule or dig(cron_job, "spec.suspend", False):
        return []
    try:
        zone = ZoneInfo(dig(cron_job, "spec.timeZone") or "UTC")
        due = cron.parse(schedule).next(meta.parse_timestamp(last), zone)
    except (ValueError, OSError):  # what an older version let in
        return []
    return [] if due is None else [({}, due.timestamp())]


_CRON_JOB = ordinary(
    "batch",
    "cronjobs",
    "cronjob",
    info("kube_cronjob_info", "Info about cronjob.", schedule="spec.schedule", concurrency_policy="spec.concurrencyPolicy", timezone="spec.timeZone"),
    number("kube_cronjob_metadata_resource_version", "Resource version representing a specific version of the cronjob.", _VERSION),
    Family("kube_cronjob_next_schedule_time", "Next time the cronjob should be scheduled.", _next_schedule),
    number("kube_cronjob_spec_suspend", "Suspend flag tells the controller to suspend subsequent executions.", "spec.suspend", False),
    number("kube_cronjob_spec_starting_deadline_seconds", "Deadline in seconds for starting the job if it misses scheduled time for any reason.", "spec.startingDeadlineSeconds", None),
    number("kube_cronjob_spec_successful_job_history_limit", "Successful job history limit tells the controller how many completed jobs should be preserved.", "spec.successfulJobsHistoryLimit", None),
    number("kube_cronjob_spec_failed_job_history_limit", "Failed job history limit tells the controller how many failed jobs should be preserved.", "spec.failedJobsHistoryLimit", None),
    number("kube_cronjob_status_active", "Active holds pointers to currently running jobs.", "status.active"),
    moment("kube_cronjob_status_last_schedule_time", "LastScheduleTime keeps information of when was the last time the job was successfully scheduled.", "status.lastScheduleTime"),
    moment("kube_cronjob_status_last_successful_time", "LastSuccessfulTime keeps information of when was the last time the job was completed successfully.", "status.lastSuccessfulTime"),
)  # fmt: skip


def _metrics(path: str, which: str) -> Make:
    """Each metric's target or present value: a value, a share in percent, or an average."""
    fields = (
        ("value", "value"),
        ("averageUtilization", "utilization"),
        ("averageValue", "average"),
    )

    def make(hpa: Json) -> Iterable[Sample]:
        for metric in items(hpa, path):
            source: Json = next((it for key, it in metric.items() if key != "type"), {})
            name = word(dig(source, "metric.name") or source.get("name", ""))
            for field, kind in fields:
                value = dig(source, f"{which}.{field}")
                if value is not None:
                    yield (
                        {"metric_name": name, "metric_target_type": kind},
                        float(quantity.parse(word(value))),
                    )

    return make


_AUTOSCALER = "kube_horizontalpodautoscaler"
_HORIZONTAL = ordinary(
    "autoscaling",
    "horizontalpodautoscalers",
    "horizontalpodautoscaler",
    info(f"{_AUTOSCALER}_info", "Information about this autoscaler.", scaletargetref_api_version="spec.scaleTargetRef.apiVersion", scaletargetref_kind="spec.scaleTargetRef.kind", scaletargetref_name="spec.scaleTargetRef.name"),
    number(f"{_AUTOSCALER}_spec_min_replicas", "Lower limit for the number of pods that can be set by the autoscaler, default 1.", "spec.minReplicas", 1),
    *numbers(
        _AUTOSCALER,
        ("metadata_generation", "metadata.generation", "The generation observed by the HorizontalPodAutoscaler controller."),
        ("spec_max_replicas", "spec.maxReplicas", "Upper limit for the number of pods that can be set by the autoscaler; cannot be smaller than MinReplicas."),
        ("status_current_replicas", "status.currentReplicas", "Current number of replicas of pods managed by this autoscaler."),
        ("status_desired_replicas", "status.desiredReplicas", "Desired number of replicas of pods managed by this autoscaler."),
    ),
    Family(f"{_AUTOSCALER}_spec_target_metric", "The metric specifications used by this autoscaler when calculating the desired replica count.", _metrics("spec.metrics", "target")),
    Family(f"{_AUTOSCALER}_status_target_metric", "The current metric status used by this autoscaler when calculating the desired replica count.", _metrics("status.currentMetrics", "current")),
    conditions(f"{_AUTOSCALER}_status_condition", "The condition of this autoscaler.", "status"),
)  # fmt: skip
WORKLOADS = (
    _DEPLOYMENT,
    _REPLICA_SET,
    _REPLICATION_CONTROLLER,
    _STATEFUL_SET,
    _DAEMON_SET,
    _JOB,
    _CRON_JOB,
    replace(_HORIZONTAL, version="v2"),
)

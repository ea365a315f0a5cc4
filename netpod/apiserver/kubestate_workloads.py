"""Which metrics /metrics/kube-state has of Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs.

Source: kube-state-metrics docs/metrics/workload, internal/store.
"""

from collections.abc import Iterable

from netpod.apiserver.kubestate import (
    Family,
    Kind,
    Sample,
    conditions,
    info,
    moment,
    number,
    owners,
)
from netpod.apiserver.tables_cells import Json, dig, items

JOB_FAILURES = ("BackoffLimitExceeded", "DeadlineExceeded", "Evicted")


def _workload(group: str, plural: str, label: str, *families: Family) -> Kind:
    """What all workloads have, and the families of one of them."""
    name = label.removesuffix("_name")
    return Kind(
        group,
        plural,
        {"namespace": "metadata.namespace", label: "metadata.name"},
        (
            moment(
                f"kube_{name}_created", "Unix creation timestamp.", "metadata.creationTimestamp"
            ),
            *families,
        ),
    )


def _generations(name: str) -> tuple[Family, Family]:
    return (
        number(f"kube_{name}_metadata_generation", "Sequence number representing a specific generation of the desired state.", "metadata.generation"),
        number(f"kube_{name}_status_observed_generation", "The generation observed by the controller.", "status.observedGeneration"),
    )  # fmt: skip


_DEPLOYMENT = _workload(
    "apps",
    "deployments",
    "deployment",
    *_generations("deployment"),
    number("kube_deployment_spec_replicas", "Number of desired pods for a deployment.", "spec.replicas", 1),
    number("kube_deployment_spec_paused", "Whether the deployment is paused and will not be processed by the deployment controller.", "spec.paused"),
    number("kube_deployment_status_replicas", "The number of replicas per deployment.", "status.replicas"),
    number("kube_deployment_status_replicas_ready", "The number of ready replicas per deployment.", "status.readyReplicas"),
    number("kube_deployment_status_replicas_available", "The number of available replicas per deployment.", "status.availableReplicas"),
    number("kube_deployment_status_replicas_unavailable", "The number of unavailable replicas per deployment.", "status.unavailableReplicas"),
    number("kube_deployment_status_replicas_updated", "The number of updated replicas per deployment.", "status.updatedReplicas"),
    conditions("kube_deployment_status_condition", "The current status conditions of a deployment.", "status"),
)  # fmt: skip

_REPLICA_SET = _workload(
    "apps",
    "replicasets",
    "replicaset",
    *_generations("replicaset"),
    number("kube_replicaset_spec_replicas", "Number of desired pods for a ReplicaSet.", "spec.replicas", 1),
    number("kube_replicaset_status_replicas", "The number of replicas per ReplicaSet.", "status.replicas"),
    number("kube_replicaset_status_fully_labeled_replicas", "The number of fully labeled replicas per ReplicaSet.", "status.fullyLabeledReplicas"),
    number("kube_replicaset_status_ready_replicas", "The number of ready replicas per ReplicaSet.", "status.readyReplicas"),
    owners("kube_replicaset_owner", "Information about the ReplicaSet's owner."),
)  # fmt: skip

_STATEFUL_SET = _workload(
    "apps",
    "statefulsets",
    "statefulset",
    *_generations("statefulset"),
    number("kube_statefulset_replicas", "Number of desired pods for a StatefulSet.", "spec.replicas", 1),
    number("kube_statefulset_status_replicas", "The number of replicas per StatefulSet.", "status.replicas"),
    number("kube_statefulset_status_replicas_available", "The number of available replicas per StatefulSet.", "status.availableReplicas"),
    number("kube_statefulset_status_replicas_current", "The number of current replicas per StatefulSet.", "status.currentReplicas"),
    number("kube_statefulset_status_replicas_ready", "The number of ready replicas per StatefulSet.", "status.readyReplicas"),
    number("kube_statefulset_status_replicas_updated", "The number of updated replicas per StatefulSet.", "status.updatedReplicas"),
    info("kube_statefulset_status_current_revision", "Indicates the version of the StatefulSet used to generate Pods in the sequence [0,currentReplicas).", revision="status.currentRevision"),
    info("kube_statefulset_status_update_revision", "Indicates the version of the StatefulSet used to generate Pods in the sequence [replicas-updatedReplicas,replicas)", revision="status.updateRevision"),
)  # fmt: skip

_DAEMON_SET = _workload(
    "apps",
    "daemonsets",
    "daemonset",
    *_generations("daemonset"),
    number("kube_daemonset_status_current_number_scheduled", "The number of nodes running at least one daemon pod and are supposed to.", "status.currentNumberScheduled"),
    number("kube_daemonset_status_desired_number_scheduled", "The number of nodes that should be running the daemon pod.", "status.desiredNumberScheduled"),
    number("kube_daemonset_status_number_available", "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and available", "status.numberAvailable"),
    number("kube_daemonset_status_number_misscheduled", "The number of nodes running a daemon pod but are not supposed to.", "status.numberMisscheduled"),
    number("kube_daemonset_status_number_ready", "The number of nodes that should be running the daemon pod and have one or more of the daemon pod running and ready.", "status.numberReady"),
    number("kube_daemonset_status_number_unavailable", "The number of nodes that should be running the daemon pod and have none of the daemon pod running and available", "status.numberUnavailable"),
    number("kube_daemonset_status_updated_number_scheduled", "The total number of nodes that are running updated daemon pod", "status.updatedNumberScheduled"),
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


_JOB = _workload(
    "batch",
    "jobs",
    "job_name",
    info("kube_job_info", "Information about job."),
    owners("kube_job_owner", "Information about the Job's owner."),
    number("kube_job_spec_parallelism", "The maximum desired number of pods the job should run at any given time.", "spec.parallelism", None),
    number("kube_job_spec_completions", "The desired number of successfully finished pods the job should be run with.", "spec.completions", None),
    number("kube_job_status_active", "The number of actively running pods.", "status.active"),
    number("kube_job_status_ready", "The number of ready pods that belong to this Job.", "status.ready"),
    number("kube_job_status_succeeded", "The number of pods which reached Phase Succeeded.", "status.succeeded"),
    Family("kube_job_status_failed", "The number of pods which reached Phase Failed and the reason for failure.", _job_failed),
    conditions("kube_job_complete", "The job has completed its execution.", "condition", "Complete"),
    conditions("kube_job_failed", "The job has failed its execution.", "condition", "Failed"),
    moment("kube_job_status_start_time", "StartTime represents time when the job was acknowledged by the Job Manager.", "status.startTime"),
    moment("kube_job_status_completion_time", "CompletionTime represents time when the job was completed.", "status.completionTime"),
)  # fmt: skip

WORKLOADS = (_DEPLOYMENT, _REPLICA_SET, _STATEFUL_SET, _DAEMON_SET, _JOB)

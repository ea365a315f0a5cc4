"""How Jobs, CronJobs, DaemonSets, StatefulSets and their kin read in a table.

Source: pkg/printers/internalversion/printers.go.
"""

from collections.abc import Mapping
from datetime import datetime

from netpod.api import meta
from netpod.apiserver.tables_cells import (
    AGE,
    NAME,
    NONE,
    Column,
    Json,
    Layout,
    Row,
    age,
    dig,
    human_duration,
    items,
    labels_text,
    selector_text,
    since,
    wide,
)

_CONTAINERS = wide("Containers", "Names of each container in the template.")
_IMAGES = wide("Images", "Images referenced by each container in the template.")
_SELECTOR = wide("Selector", "Label selector of the pods it owns.")


def _template(obj: Json, path: str = "spec.template") -> tuple[str, str]:
    containers = items(obj, f"{path}.spec.containers")
    return (
        ",".join(container.get("name", NONE) for container in containers),
        ",".join(container.get("image", NONE) for container in containers),
    )


def _name(obj: Json) -> str:
    return str(dig(obj, "metadata.name", ""))


def _job(obj: Json, now: datetime) -> Row:
    succeeded = dig(obj, "status.succeeded", 0)
    wanted, parallel = dig(obj, "spec.completions"), dig(obj, "spec.parallelism", 0)
    if wanted is not None:
        completions = f"{succeeded}/{wanted}"
    else:
        completions = f"{succeeded}/1 of {parallel}" if parallel > 1 else f"{succeeded}/1"
    started, ended = dig(obj, "status.startTime"), dig(obj, "status.completionTime")
    duration = ""
    if started and ended:
        taken = meta.parse_timestamp(ended) - meta.parse_timestamp(started)
        duration = human_duration(taken)
    elif started:
        duration = since(started, now)
    selector = selector_text(dig(obj, "spec.selector"))
    return Row((_name(obj), completions, duration, age(obj, now), *_template(obj), selector))


def _cron_job(obj: Json, now: datetime) -> Row:
    last = dig(obj, "status.lastScheduleTime")
    inner = "spec.jobTemplate.spec"
    return Row(
        (
            _name(obj),
            dig(obj, "spec.schedule", ""),
            dig(obj, "spec.timeZone", NONE),
            "True" if dig(obj, "spec.suspend", False) else "False",
            len(items(obj, "status.active")),
            since(last, now) if last else NONE,
            age(obj, now),
            *_template(obj, f"{inner}.template"),
            selector_text(dig(obj, f"{inner}.selector")),
        )
    )


def _daemon_set(obj: Json, now: datetime) -> Row:
    status = dig(obj, "status", {})
    return Row(
        (
            _name(obj),
            status.get("desiredNumberScheduled", 0),
            status.get("currentNumberScheduled", 0),
            status.get("numberReady", 0),
            status.get("updatedNumberScheduled", 0),
            status.get("numberAvailable", 0),
            labels_text(dig(obj, "spec.template.spec.nodeSelector")),
            age(obj, now),
            *_template(obj),
            selector_text(dig(obj, "spec.selector")),
        )
    )


def _stateful_set(obj: Json, now: datetime) -> Row:
    ready = f"{dig(obj, 'status.readyReplicas', 0)}/{dig(obj, 'spec.replicas', 0)}"
    return Row((_name(obj), ready, age(obj, now), *_template(obj)))


def _replication_controller(obj: Json, now: datetime) -> Row:
    return Row(
        (
            _name(obj),
            dig(obj, "spec.replicas", 0),
            dig(obj, "status.replicas", 0),
            dig(obj, "status.readyReplicas", 0),
            age(obj, now),
            *_template(obj),
            labels_text(dig(obj, "spec.selector")),
        )
    )


def _revision(obj: Json, now: datetime) -> Row:
    owners = items(obj, "metadata.ownerReferences")
    owner = next((o for o in owners if o.get("controller")), None)
    controller = NONE
    if owner is not None:
        group = str(owner.get("apiVersion", "")).rpartition("/")[0]
        kind = str(owner.get("kind", "")).lower()
        controller = f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner['name']}"
    return Row((_name(obj), controller, dig(obj, "revision", 0), age(obj, now)))


def _pod_template(obj: Json, now: datetime) -> Row:
    labels = labels_text(dig(obj, "template.metadata.labels"))
    return Row((_name(obj), *_template(obj, "template"), labels))


LAYOUTS: Mapping[str, Layout] = {
    "Job": Layout(
        (
            NAME,
            Column("Completions", "Pods that succeeded, of those wanted."),
            Column("Duration", "Time from start to completion."),
            AGE,
            _CONTAINERS,
            _IMAGES,
            _SELECTOR,
        ),
        _job,
    ),
    "CronJob": Layout(
        (
            NAME,
            Column("Schedule", "When, in cron's form."),
            Column("Timezone", "Time zone of the schedule."),
            Column("Suspend", "Whether no further Jobs are made.", "boolean"),
            Column("Active", "Jobs that run now.", "integer"),
            Column("Last Schedule", "When the last Job was made."),
            AGE,
            _CONTAINERS,
            _IMAGES,
            _SELECTOR,
        ),
        _cron_job,
    ),
    "DaemonSet": Layout(
        (
            NAME,
            Column("Desired", "Nodes that should run a pod.", "integer"),
            Column("Current", "Nodes that have a pod.", "integer"),
            Column("Ready", "Nodes whose pod is ready.", "integer"),
            Column("Up-to-date", "Nodes whose pod is of the newest template.", "integer"),
            Column("Available", "Nodes whose pod is ready for minReadySeconds.", "integer"),
            Column("Node Selector", "Nodes that are meant."),
            AGE,
            _CONTAINERS,
            _IMAGES,
            _SELECTOR,
        ),
        _daemon_set,
    ),
    "StatefulSet": Layout(
        (NAME, Column("Ready", "Number of the pod with ready state"), AGE, _CONTAINERS, _IMAGES),
        _stateful_set,
    ),
    "ReplicationController": Layout(
        (
            NAME,
            Column("Desired", "Number of pods wanted.", "integer"),
            Column("Current", "Number of pods there are.", "integer"),
            Column("Ready", "Number of pods that are ready.", "integer"),
            AGE,
            _CONTAINERS,
            _IMAGES,
            _SELECTOR,
        ),
        _replication_controller,
    ),
    "ControllerRevision": Layout(
        (
            NAME,
            Column("Controller", "Whose revision it is."),
            Column("Revision", "Its number."),
            AGE,
        ),
        _revision,
    ),
    "PodTemplate": Layout(
        (
            NAME,
            Column("Containers", "Names of each container in the template."),
            Column("Images", "Images referenced by each container in the template."),
            Column("Pod Labels", "Labels of the template."),
        ),
        _pod_template,
    ),
}

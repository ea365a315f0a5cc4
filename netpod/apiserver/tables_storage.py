"""How drivers of volumes, attachments and runtime classes read in a table.

Source: pkg/printers/internalversion/printers.go.
"""

from collections.abc import Mapping
from datetime import datetime

from netpod.apiserver.tables_cells import AGE, NAME, Column, Json, Layout, Row, age, dig, items


def _name(obj: Json) -> str:
    return str(dig(obj, "metadata.name", ""))


def _node(obj: Json, now: datetime) -> Row:
    return Row((_name(obj), len(items(obj, "spec.drivers")), age(obj, now)))


def _driver(obj: Json, now: datetime) -> Row:
    audiences = [str(it.get("audience", "")) for it in items(obj, "spec.tokenRequests")]
    modes = dig(obj, "spec.volumeLifecycleModes", None) or ["Persistent"]
    return Row(
        (
            _name(obj),
            bool(dig(obj, "spec.attachRequired", True)),
            bool(dig(obj, "spec.podInfoOnMount", False)),
            bool(dig(obj, "spec.storageCapacity", False)),
            ",".join(audiences) or "<unset>",
            bool(dig(obj, "spec.requiresRepublish", False)),
            ",".join(map(str, modes)),
            age(obj, now),
        )
    )


def _attachment(obj: Json, now: datetime) -> Row:
    return Row(
        (
            _name(obj),
            dig(obj, "spec.attacher", ""),
            dig(obj, "spec.source.persistentVolumeName", ""),
            dig(obj, "spec.nodeName", ""),
            bool(dig(obj, "status.attached", False)),
            age(obj, now),
        )
    )


def _runtime(obj: Json, now: datetime) -> Row:
    return Row((_name(obj), dig(obj, "handler", ""), age(obj, now)))


def _capacity(obj: Json, now: datetime) -> Row:
    cells = (_name(obj), dig(obj, "storageClassName", ""), str(dig(obj, "capacity", "<unset>")))
    return Row(cells)


LAYOUTS: Mapping[str, Layout] = {
    "CSIDriver": Layout(
        (
            NAME,
            Column(
                "AttachRequired", "Whether volumes are attached before they are mounted.", "boolean"
            ),
            Column("PodInfoOnMount", "Whether it is told for which pod.", "boolean"),
            Column("StorageCapacity", "Whether it tells how much room there is.", "boolean"),
            Column("TokenRequests", "Audiences of the tokens it gets."),
            Column("RequiresRepublish", "Whether it is asked again from time to time.", "boolean"),
            Column("Modes", "Which kinds of volumes it makes."),
            AGE,
        ),
        _driver,
    ),
    "CSINode": Layout((NAME, Column("Drivers", "Number of drivers.", "integer"), AGE), _node),
    "CSIStorageCapacity": Layout(
        (NAME, Column("StorageClassName", "The class."), Column("Capacity", "Room there is.")),
        _capacity,
    ),
    "RuntimeClass": Layout((NAME, Column("Handler", "What runs the containers."), AGE), _runtime),
    "VolumeAttachment": Layout(
        (
            NAME,
            Column("Attacher", "The driver.", format="name"),
            Column("PV", "The volume."),
            Column("Node", "The node."),
            Column("Attached", "Whether it is attached.", "boolean"),
            AGE,
        ),
        _attachment,
    ),
}
"""Layout by kind."""

"""Which objects a list or watch is about: label and field selectors, parsed only as far as they need."""

from collections.abc import Mapping
from dataclasses import dataclass

from netpod import errors
from netpod.api import fieldselectors, selectors
from netpod.api.fieldselectors import FieldQuery
from netpod.api.selectors import LabelQuery
from netpod.apiserver import objects
from netpod.apiserver.calls import Call
from netpod.store.store import KeyValue

NAME = "metadata.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """None selects everything; `name` is set when exactly one object is asked for."""

    labels: LabelQuery | None = None
    fields: FieldQuery | None = None
    name: str = ""

    @property
    def everything(self) -> bool:
        """Whether no object needs to be looked at."""
        return self.labels is None and self.fields is None and not self.name

    def matches(self, kv: KeyValue) -> bool:
        """Whether the stored object is selected; parses it only when it must."""
        if self.name and kv.key.rpartition("/")[2] != self.name:
            return False
        if self.labels is None and self.fields is None:
            return True
        data = objects.parsed(kv)
        labels = data["metadata"].get("labels") or {}
        if self.labels is not None and not self.labels.matches(labels):
            return False
        return self.fields is None or self.fields.matches(data)


EVERYTHING = Selection()


def only_name(query: Mapping[str, str]) -> str:
    """The one name a field selector allows, "" when there is none."""
    text = query.get("fieldSelector", "")
    if NAME not in text:
        return ""
    try:
        return fieldselectors.parse_fields(text.strip()).exact(NAME) or ""
    except errors.BadRequest:
        return ""


def of_call(call: Call) -> Selection:
    """The selection a request asks for.

    Raises:
        BadRequest: a selector does not parse, or names a field this kind cannot be selected by.
    """
    route = call.route
    label_text = call.query.get("labelSelector", "").strip()
    field_text = call.query.get("fieldSelector", "").strip()
    if not label_text and not field_text and not route.name:
        return EVERYTHING
    resource = route.resource
    fields = fieldselectors.parse_fields(field_text, resource.kind, resource.group)
    name = fields.exact(NAME) or route.name
    if route.name and name != route.name:
        raise errors.BadRequest(f"fieldSelector {NAME} doesn't match requested name {route.name}")
    labels = selectors.parse_labels(label_text)
    alone = len(fields.requirements) == 1 and bool(fields.exact(NAME))
    return Selection(
        labels=None if labels.everything else labels,
        fields=None if fields.everything or alone else fields,
        name=name,
    )

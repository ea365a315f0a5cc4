"""One log line as a record for programs: who said it, and, where it is JSON itself, what it says, with names (pure).

HAProxy's access lines and the DNS server's query lines are JSON objects; addresses in them get the names of the pods
that have them, so that both connections of a request can be read without a second look.
"""

import re
from collections.abc import Mapping
from typing import Any

import orjson

from netpod.cluster.logfiles import Entry

_ADDRESS = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}|[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}")


def of_entry(entry: Entry, nodes: Mapping[str, str], names: Mapping[str, str]) -> dict[str, Any]:
    """Return the record.

    Args:
        entry: The line.
        nodes: Node by uid of pod.
        names: NAMESPACE/POD by address.
    """
    source = entry.source
    record: dict[str, Any] = {"time": entry.time.decode()}
    if source.role:
        kind, _, node = source.role.partition("-")
        record |= {"component": entry.component or kind, "level": entry.level}
        record |= {"node": node} if node else {}
    else:
        record |= {"namespace": source.namespace, "pod": source.pod, "container": source.container}
        record |= {"stream": entry.stream}
        record |= {"node": nodes[source.uid]} if source.uid in nodes else {}
    record["text"] = entry.text.decode(errors="replace")
    said = parsed(entry.text)
    if said is not None:
        record["record"] = said
        found = {
            address: names[address]
            for value in said.values()
            if isinstance(value, str)
            for address in _ADDRESS.findall(value)
            if address in names
        }
        record |= {"names": found} if found else {}
    return record


def parsed(text: bytes) -> dict[str, Any] | None:
    """The object that a line is, None when it is none."""
    if not text.startswith(b"{"):
        start = text.find(b"{")
        # A syslog-like head before it, as HAProxy writes; not a brace somewhere in a sentence.
        if start < 0 or not text.rstrip().endswith(b"}") or start > 80:
            return None
        text = text[start:]
    try:
        found = orjson.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None

"""Makes netpod/apiserver/protobuf_messages.txt from the types of client-go, as Debian packages them.

    apt-get download golang-k8s-api-dev golang-k8s-apimachinery-dev golang-k8s-apiextensions-apiserver-dev
    for it in *.deb; do dpkg -x $it src; done
    python -m tests.support.protobuf_table src/usr/share/gocode/src/k8s.io > netpod/apiserver/protobuf_messages.txt

A field's JSON name, number and whether its zero value says anything are in its struct tags; its type is beside them.
The few without a JSON name are alternatives, of which JSON has only the one that is there.
"""

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

SECTIONS = (
    "core/v1 apps/v1 batch/v1 batch/v1beta1 autoscaling/v1 autoscaling/v2 policy/v1 policy/v1beta1"
    " networking/v1 networking/v1beta1 discovery/v1 discovery/v1beta1 coordination/v1 events/v1"
    " rbac/v1 storage/v1 node/v1 scheduling/v1 authentication/v1 authorization/v1 apiextensions/v1"
    " certificates/v1"
).split()
META = "meta/v1"
ELSEWHERE = {
    META: ("apimachinery/pkg/apis/meta/v1", "types.go"),
    "apiextensions/v1": (
        "apiextensions-apiserver/pkg/apis/apiextensions/v1",
        "types.go",
        "types_jsonschema.go",
    ),
}
"""Folder and files of sections that are not in k8s.io/api."""
HEADER = """\
# How Kubernetes' objects lie in protobuf: made by tests/support/protobuf_table.py, not by hand.
# MESSAGE NUMBER:NAME:TYPE ... with the name of JSON, - for a message whose fields are its owner's in JSON.
# Types: s string, i integer, f number, b boolean, y bytes, or a message; [] before it repeats, {} maps strings to it.
# ! behind it: its zero value says something; without, a zero value is none.
# Source: k8s.io/api, apimachinery and apiextensions-apiserver 0.36.4, types.go of each version.
"""
_STRUCT = re.compile(r"^type (\w+) struct ?\{(?:\}|\n(.*?)^\})", re.M | re.S)
_FIELD = re.compile(
    r'^\s+(?:(\w+)\s+)?([\w.*\[\]]+)\s+`(?:.*?json:"([^"]*)")?.*?protobuf:"([^"]*)"', re.M
)
_ALIAS = re.compile(r"^type (\w+) (\[\]\w+|map\[\w+\][\w.]+|\w+)\s*(?://.*)?$", re.M)
_PLAIN = {
    "string": "s",
    "bool": "b",
    "byte": "y",
    "int32": "i",
    "int64": "i",
    "int": "i",
    "float64": "f",
}
_FOREIGN = {
    "v1": "core/v1",
    "apiv1": "core/v1",
    "corev1": "core/v1",
    "batchv1": "batch/v1",
    "metav1": META,
}
_SPECIAL = ("Time", "MicroTime", "Duration", "FieldsV1")


class Section:
    """One version of one group."""

    def __init__(self, text: str, others: "Mapping[str, Section]") -> None:
        self._text = text
        self._others = others
        self._structs = {found[1] for found in _STRUCT.finditer(text)}
        self._aliases = {found[1]: found[2] for found in _ALIAS.finditer(text)}

    def messages(self) -> Iterator[str]:
        """Lines of the table."""
        for found in _STRUCT.finditer(self._text):
            fields = sorted(self._fields(found[2] or ""))
            if fields or not found[2]:
                yield " ".join((found[1], *(text for _, text in fields)))

    def _fields(self, body: str) -> Iterator[tuple[int, str]]:
        for _, kind, json, proto in _FIELD.findall(body):
            name, *options = json.split(",")
            _, number, label, *more = proto.split(",")
            keeps = "!" if kind.startswith("*") or "omitempty" not in options else ""
            # What repeats is itself in the message, though Go may name the list.
            plain = self._aliases.get(kind, kind) if label == "rep" else kind
            made = self._type(plain.removeprefix("*"))
            if made in ("s", "i", "b", "f"):
                made += keeps
            shown = name or ("-" if json else more[0].removeprefix("name="))
            yield int(number), f"{number}:{shown}:{made}"

    def _type(self, kind: str) -> str:
        if kind == "[]byte":
            return "y"
        if kind.startswith("[]"):
            return f"[]{self._type(kind[2:])}"
        if kind.startswith("map["):
            return f"{{}}{self._type(kind.partition(']')[2])}"
        if kind in _PLAIN:
            return _PLAIN[kind]
        package, dot, name = kind.rpartition(".")
        if dot:
            return self._foreign(package, name)
        if kind in self._structs:
            return kind
        under = self._aliases.get(kind, "[]string")
        # A named list is a message of its own, with its items in field 1; so is what another file defines.
        return kind if under == "[]string" else self._type(under)

    def _foreign(self, package: str, name: str) -> str:
        section = _FOREIGN.get(package)
        if section is None or name in _SPECIAL:
            return "s" if name in ("UID", "NodeName") else name
        known = self._others[section]
        return f"{section}.{name}" if name in known._structs else known._type(name)


def main(root: Path) -> None:
    """Print the table."""
    print(HEADER, end="")
    sections: dict[str, Section] = {}
    for name in (META, *SECTIONS):
        folder, *files = ELSEWHERE.get(name, (f"api/{name}", "types.go"))
        text = "\n".join((root / folder / file).read_text() for file in files)
        sections[name] = Section(text, sections)
    for name, section in sections.items():
        print(f"\n[{name}]")
        for line in section.messages():
            print(line)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

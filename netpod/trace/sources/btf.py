"""Where the fields of the running kernel's structures are, and the names of its enumerations, from its BTF.

Reading all types takes some 300 ms, so whoever needs a few numbers of it keeps them (skbdrop.py).

Source: Linux Documentation/bpf/btf.rst; include/uapi/linux/btf.h.
"""

import struct
from pathlib import Path

VMLINUX = Path("/sys/kernel/btf/vmlinux")
_HEADER = "<HBBIIIII"
_STRUCT, _UNION, _ENUM = 4, 5, 6
_MODIFIERS = (8, 9, 10, 11, 18)
"""typedef, volatile, const, restrict, type tag: names for another type."""
_EXTRA_FIXED = {1: 4, 3: 12, 14: 4, 17: 4}
_EXTRA_EACH = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}


class Btf:
    """The types of one kernel."""

    def __init__(self, data: bytes) -> None:
        _, _, _, header, type_at, type_size, text_at, text_size = struct.unpack_from(_HEADER, data)
        self._text = data[header + text_at : header + text_at + text_size]
        self._types = data[header + type_at : header + type_at + type_size]
        self._at: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)]
        self._names: dict[tuple[int, str], int] = {}
        offset = 0
        while offset < len(self._types):
            name, info, size = struct.unpack_from("<III", self._types, offset)
            kind, count = (info >> 24) & 31, info & 0xFFFF
            offset += 12
            self._at.append((name, info, size, offset))
            if kind in (_STRUCT, _ENUM) and name:
                self._names.setdefault((kind, self._name(name)), len(self._at) - 1)
            offset += _EXTRA_FIXED.get(kind, 0) + _EXTRA_EACH.get(kind, 0) * count

    def offset(self, structure: str, *fields: str) -> int:
        """Return the byte offset of a field, or of a field of that field.

        Raises:
            KeyError: this kernel has no such structure or field.
        """
        kind, total = self._names[(_STRUCT, structure)], 0
        for field in fields:
            found = self._member(self._plain(kind), field)
            if found is None:
                raise KeyError((structure, field))
            total, kind = total + found[0], found[1]
        return total

    def enumeration(self, name: str) -> dict[int, str]:
        """Return the names of an enumeration's values; empty when this kernel has none of that name."""
        if (_ENUM, name) not in self._names:
            return {}
        _, info, _, at = self._at[self._names[(_ENUM, name)]]
        values = (struct.unpack_from("<Ii", self._types, at + 8 * i) for i in range(info & 0xFFFF))
        return {value: self._name(text) for text, value in values}

    def _name(self, at: int) -> str:
        return self._text[at : self._text.index(b"\0", at)].decode()

    def _plain(self, kind: int) -> int:
        while kind and (self._at[kind][1] >> 24) & 31 in _MODIFIERS:
            kind = self._at[kind][2]
        return kind

    def _member(self, structure: int, field: str) -> tuple[int, int] | None:
        """Offset and type of a member; those of anonymous members count as the structure's own."""
        _, info, _, at = self._at[structure]
        for i in range(info & 0xFFFF):
            name, kind, bits = struct.unpack_from("<III", self._types, at + 12 * i)
            bits = bits & 0xFFFFFF if info >> 31 else bits
            if name and self._name(name) == field:
                return bits // 8, kind
            inner = self._plain(kind)
            if not name and (self._at[inner][1] >> 24) & 31 in (_STRUCT, _UNION):
                found = self._member(inner, field)
                if found is not None:
                    return bits // 8 + found[0], found[1]
        return None

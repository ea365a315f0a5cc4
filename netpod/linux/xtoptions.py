"""python-iptables with iptables 1.8.11 and later: their entries of a module's options are one field longer.

python-iptables 1.2 walks them with the size of before and finds the first alone. The field, `base`, stands last, so
only the step from one entry to the next differs.

Source: iptables include/xtables.h, struct xt_option_entry.
"""

import ctypes
from typing import Any

_ID_AT = 12
"""Where an entry has its id: behind a pointer and the type."""
_KNOWN = ("MASQUERADE", 3)
"""A target, and how many options it has at least; their ids follow one another."""
_BASE = 8
"""Bytes that `base` adds, with what aligns the next entry."""


def mend(iptc: Any) -> None:
    """Let the library step over entries as long as the installed iptables has them; done once, it does no more."""
    library = iptc.xtables
    size = ctypes.sizeof(library.xt_option_entry)
    first = _entries(iptc)
    if not first or _follow(first, size) or not _follow(first, size + _BASE):
        return

    def lookup(_self: object, entries: Any, name: bytes) -> Any:
        address = _address(entries)
        while True:
            entry = library.xt_option_entry.from_address(address)
            if not entry.name:
                return None
            if entry.name == name:
                return entry
            address += size + _BASE

    library.xtables._option_lookup = lookup


def _entries(iptc: Any) -> int:
    """Address of the known target's options; 0 where it has none in this form."""
    module = iptc.Rule().create_target(_KNOWN[0])._module
    entries = getattr(module, "x6_options", None)
    return _address(entries) if entries else 0


def _follow(first: int, step: int) -> bool:
    ids = [_id(first + step * i) for i in range(_KNOWN[1])]
    return ids == list(range(ids[0], ids[0] + _KNOWN[1]))


def _id(entry: int) -> int:
    return ctypes.c_uint.from_address(entry + _ID_AT).value


def _address(entries: Any) -> int:
    return ctypes.cast(entries, ctypes.c_void_p).value or 0

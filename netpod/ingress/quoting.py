"""Any text as one word of HAProxy's configuration (pure).

Source: HAProxy configuration manual, section 2.2 "Quoting and escaping", section 8.2.6 (log format).
"""

import re

_PLAIN = re.compile(rb"[A-Za-z0-9/_.:@=,+~^*-]")


def word(text: str) -> str:
    r"""Return the text as one word: all but plain characters as `\xHH`, so nothing in it means anything."""
    return "".join(
        chr(byte) if _PLAIN.fullmatch(bytes([byte])) else f"\\x{byte:02x}"
        for byte in text.encode("utf-8", "surrogateescape")
    )


def formatted(text: str) -> str:
    """Return the text as one word where HAProxy reads a log format.

    HAProxy takes no empty word; a blank in its place is none to whoever reads a header's value.
    """
    return word(text.replace("%", "%%") or " ")

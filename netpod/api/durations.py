"""Durations as the Gateway API writes them: 500ms, 1h30m.

Source: sigs.k8s.io/gateway-api geps/gep-2257.
"""

import re

PATTERN = "^([0-9]{1,5}(h|m|s|ms)){1,4}$"
_WHOLE = re.compile(PATTERN)
_PART = re.compile(r"([0-9]{1,5})(ms|h|m|s)")
_MS = {"h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}


def milliseconds(text: str) -> int | None:
    """Return how long a duration is, None when the text is none."""
    if not _WHOLE.match(text):
        return None
    return sum(int(number) * _MS[unit] for number, unit in _PART.findall(text))

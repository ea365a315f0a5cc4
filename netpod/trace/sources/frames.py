"""A captured frame, as a value (pure)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame at one interface; `time_ns` is the kernel's, since the Unix epoch.

    `length` is its bytes on the wire, of which `data` may have the first only; 0 when that is not known.
    """

    netns: str
    interface: str
    outgoing: bool
    for_us: bool
    time_ns: int
    sequence: int
    data: bytes
    length: int = 0

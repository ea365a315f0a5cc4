"""A captured frame, as a value (pure)."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame at one interface; `time_ns` is the kernel's, since the Unix epoch."""

    netns: str
    interface: str
    outgoing: bool
    for_us: bool
    time_ns: int
    sequence: int
    data: bytes

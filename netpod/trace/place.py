"""What a network namespace is in a cluster (values)."""

from dataclasses import dataclass
from enum import StrEnum

from netpod.api.meta import Key


class Role(StrEnum):
    """What a network namespace is in a cluster (design.md section 2)."""

    OUTSIDE = "outside"
    EDGE = "edge"
    UNDERLAY = "underlay"
    NODE = "node"
    POD = "pod"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One network namespace of a cluster. `node` and `pod` are set where they apply."""

    netns: str
    role: Role
    node: str = ""
    pod: Key | None = None

    def __str__(self) -> str:
        if self.role is Role.POD and self.pod is not None:
            return f"pod {self.pod.namespace}/{self.pod.name}"
        if self.role is Role.NODE:
            return f"node {self.node}"
        return {Role.OUTSIDE: "client outside", Role.EDGE: "edge", Role.UNDERLAY: "underlay"}.get(
            self.role, self.netns
        )

"""What one node's policy agent is told at start."""

from dataclasses import dataclass

from netpod.ip import Family


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyConfig:
    """Settings of one node's policy agent.

    Attributes:
        node_name: Name of the Node object whose pods are isolated here.
        family: Of the addresses that are judged; a node has an agent of each.
        netns: Network namespace the rules belong to; "" is the one this process is in.
        sync_period: Seconds between looks at whether somebody flushed the table, and the longest wait before a failed
            sync is retried.
        isolate_timeout: Seconds a starting pod waits for its rules before its start counts as failed.
    """

    node_name: str
    family: Family = Family.IPV4
    netns: str = ""
    sync_period: float = 30.0
    isolate_timeout: float = 5.0

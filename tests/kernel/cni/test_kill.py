"""`kill -9` at any line of the CNI verbs, and the next call sets it right."""

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from netpod.api.meta import Key
from netpod.cni import ipam, network
from netpod.linux import link

from .conftest import Node

MakeNetns = Callable[[], str]
Verb = Callable[[network.NetworkConfig, network.PodNetwork], object]


def _killed_at(
    line: int, verb: Verb, config: network.NetworkConfig, pod: network.PodNetwork
) -> bool:
    """Run a verb in a child that kills itself at its n-th line of ours; False when it ended before."""
    pid = os.fork()
    if pid == 0:
        left = line

        def trace(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal left
            if "/netpod/cni/" not in frame.f_code.co_filename and "/netpod/linux/" not in (
                frame.f_code.co_filename
            ):
                return None
            left -= event == "line"
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return trace

        sys.settrace(trace)
        try:
            verb(config, pod)
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def _sweep(verb: Verb, node: Node, pod: network.PodNetwork, then: Callable[[], None]) -> int:
    """Kill the verb at every 41st line, each time looking at what `then` says; how often it was killed."""
    kills = 0
    while _killed_at(kills * 41, verb, node.config, pod):
        then()
        kills += 1
    return kills


def test_adding_again_after_a_kill_at_any_line_gives_a_right_pod(
    node: Node, make_netns: MakeNetns
) -> None:
    """Whatever the kill left, the same call completes it, with one address and one link."""
    pod = network.PodNetwork(key=Key("default", "web"), uid="1", netns=make_netns())

    def complete() -> None:
        network.add(node.config, pod)
        assert network.check(node.config, pod) == []
        assert list(ipam.observe(node.config.reservations).values()) == [pod.owner]
        network.delete(node.config, pod)
        assert link.observe_link(pod.netns, "eth0") is None

    assert _sweep(network.add, node, pod, complete) > 10


def test_deleting_again_after_a_kill_at_any_line_leaves_nothing(
    node: Node, make_netns: MakeNetns
) -> None:
    """Neither link nor reservation."""
    pod = network.PodNetwork(key=Key("default", "web"), uid="1", netns=make_netns())
    network.add(node.config, pod)

    def complete() -> None:
        network.delete(node.config, pod)
        assert ipam.observe(node.config.reservations) == {}
        assert [it.name for it in link.observe_links(node.netns)] == ["lo", "eth0", "cni0"]
        network.add(node.config, pod)

    assert _sweep(network.delete, node, pod, complete) > 3

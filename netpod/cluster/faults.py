"""Faults of the wire between the nodes: who is cut off from whom.

Packets alone are concerned. A node's processes speak to the API server over a socket file, so the node stays Ready.
"""

from netpod.cluster import underlay
from netpod.cluster.config import ClusterConfig
from netpod.errors import NotFound, UsageError
from netpod.linux import cuts

EDGE = "edge"


def partition(config: ClusterConfig, one: str, other: str = "") -> list[tuple[str, str]]:
    """Cut the wire between two, or between one and everybody; return who is cut from whom now.

    Raises:
        NotFound: there is no such node.
        UsageError: both are the same.
    """
    first = _owner(config, one)
    others = [_owner(config, other)] if other else [it for it in _owners(config) if it != first]
    if first in others:
        raise UsageError(f"cannot cut {first} off from itself: name two of {_known(config)}")
    fresh = {_pair(first, it) for it in others}
    cuts.replace(config.paths.netns_underlay, cuts.observe(config.paths.netns_underlay) | fresh)
    return observe(config)


def heal(config: ClusterConfig, one: str = "", other: str = "") -> list[tuple[str, str]]:
    """Mend the wire between two, all cuts of one, or every cut; return who is still cut from whom.

    Raises:
        NotFound: there is no such node.
    """
    netns = config.paths.netns_underlay
    names = {underlay.port(_owner(config, name)) for name in (one, other) if name}
    cuts.replace(netns, {pair for pair in cuts.observe(netns) if not names <= set(pair)})
    return observe(config)


def observe(config: ClusterConfig) -> list[tuple[str, str]]:
    """Who is cut from whom, by names of nodes and "edge"."""
    owners = {underlay.port(owner): owner for owner in _owners(config)}
    found = cuts.observe(config.paths.netns_underlay)
    return sorted((owners.get(a, a), owners.get(b, b)) for a, b in found)


def _pair(one: str, other: str) -> cuts.Pair:
    first, second = sorted((underlay.port(one), underlay.port(other)))
    return first, second


def _owners(config: ClusterConfig) -> list[str]:
    return [EDGE, *(node.name for node in config.running)]


def _owner(config: ClusterConfig, word: str) -> str:
    name = word.removeprefix("node/")
    if name not in _owners(config):
        raise NotFound(f'nodes "{word}" not found or stopped; there are {_known(config)}')
    return name


def _known(config: ClusterConfig) -> str:
    return ", ".join(_owners(config))

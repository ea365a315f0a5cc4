"""What a node says of itself."""

from netpod.api.meta import Condition
from netpod.api.node import NodeStatus
from netpod.kubelet import node as nodes
from netpod.kubelet.images import Entry


def _entry(name: str, digest: str, size: int) -> Entry:
    return Entry(name=name, digest=digest, created="2026-01-01T00:00:00+00:00", size=size)


def test_an_image_is_listed_once_with_all_its_names() -> None:
    """Names with digest come first, then those with tag; the largest image leads."""
    assert nodes.compile_images(
        [
            _entry("127.0.0.1:5000/team/web:1", "sha256:aa", 10),
            _entry("docker.io/library/web:2", "sha256:aa", 10),
            _entry("docker.io/library/db:1", "sha256:bb", 20),
            _entry("quay.example/x@sha256:cc", "sha256:cc", 5),
        ]
    ) == (
        {"names": ["docker.io/library/db@sha256:bb", "docker.io/library/db:1"], "sizeBytes": 20},
        {
            "names": [
                "127.0.0.1:5000/team/web@sha256:aa",
                "docker.io/library/web@sha256:aa",
                "127.0.0.1:5000/team/web:1",
                "docker.io/library/web:2",
            ],
            "sizeBytes": 10,
        },
        {"names": ["quay.example/x@sha256:cc"], "sizeBytes": 5},
    )


def test_a_node_tells_of_its_50_largest_images() -> None:
    """The smallest of 60 are left out, and of one image the names after the fifth."""
    many = [_entry(f"example.com/{n}:1", f"sha256:{n}", n) for n in range(60)]
    told = nodes.compile_images(many)
    assert [it["sizeBytes"] for it in told] == list(range(59, 9, -1))
    tags = [_entry(f"example.com/web:{n}", "sha256:aa", 1) for n in range(9)]
    (one,) = nodes.compile_images(tags)
    assert one["names"] == [
        "example.com/web@sha256:aa",
        *(f"example.com/web:{n}" for n in range(4)),
    ]


def test_events_tell_what_changed_in_a_status() -> None:
    """Each condition that is new or turned; what only beats is no news."""

    def status(ready: str) -> NodeStatus:
        rows = (("PIDPressure", "False"), ("Ready", ready))
        return NodeStatus(conditions=tuple(Condition(type=t, status=s) for t, s in rows))

    assert nodes.news(NodeStatus(), status("False")) == ["NodeHasSufficientPID", "NodeNotReady"]
    assert nodes.news(status("Unknown"), status("True")) == ["NodeReady"]
    assert nodes.news(status("True"), status("True")) == []

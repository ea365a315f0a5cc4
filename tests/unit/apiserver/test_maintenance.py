"""What maintenance gives back."""

import os
from pathlib import Path

from netpod.apiserver import maintenance

BLOCK, COUNT = 2000, 20_000


def test_free_memory_between_what_is_used_goes_back() -> None:
    """Of 40 MB in blocks of which every hundredth stays, glibc by itself keeps most of it."""
    blocks = [bytes(BLOCK) for _ in range(COUNT)]
    kept = blocks[::100]
    del blocks
    before = _resident()
    maintenance.give_back()
    assert _resident() < before - BLOCK * COUNT / 2
    assert len(kept) == COUNT / 100


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

"""Compiled rules as pinned for review; tests/kernel/proxy feeds the same texts to the kernel."""

from pathlib import Path

import pytest

from netpod.proxy import iptables, restore
from tests.unit.proxy import builders

CASES = builders.cases()


def saved(name: str) -> str:
    """What iptables-save would print after the rules and the jumps to them were loaded."""
    compiled = iptables.compile(CASES[name], builders.CONFIG)
    for table, rule in iptables.JUMPS:
        chain = rule.split(" ", 2)[1]
        compiled[table][chain] = (rule, *compiled[table].get(chain, ()))
    return restore.save_text(compiled)


@pytest.mark.parametrize("name", sorted(CASES))
def test_rules_are_the_pinned_ones(name: str) -> None:
    """Chain names, order, comments and matches are upstream's, in the form iptables-save prints."""
    assert saved(name) == Path(builders.GOLDEN / f"{name}.iptables").read_text()


def test_every_golden_file_has_its_case() -> None:
    """A golden file that nothing compiles pins nothing."""
    assert {path.stem for path in builders.GOLDEN.glob("*.iptables")} == set(CASES)

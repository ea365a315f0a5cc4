"""Remember what a pure function made of an immutable object, by the object's identity.

Pods of one template have one spec. It is decoded once (codec.py shares it), and whatever follows from the spec alone
is computed once: defaults, what admission adds, whether it is valid, its JSON.
"""

from collections.abc import Callable
from typing import TypeVar

A = TypeVar("A")
R = TypeVar("R")

SIZE = 256
"""Objects remembered per function; all are forgotten when there are more."""


def by_identity(function: Callable[[A], R]) -> Callable[[A], R]:
    """The function, computed once per object; it must be pure, its argument and result never changed."""
    kept: dict[int, tuple[A, R]] = {}

    def remembered(argument: A) -> R:
        found = kept.get(id(argument))
        # The argument is kept too, so its id cannot be another object's.
        if found is not None and found[0] is argument:
            return found[1]
        result = function(argument)
        if len(kept) >= SIZE:
            kept.clear()  # one step, also among threads, and cheaper than to look for the oldest
        kept[id(argument)] = (argument, result)
        return result

    return remembered

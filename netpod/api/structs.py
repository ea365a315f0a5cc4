"""Copies of API objects with changes, several times faster than dataclasses.replace.

A frozen dataclass writes each field through `object.__setattr__` and replaces by keyword; a pod has some two hundred
fields and a write makes a dozen copies of parts of it. Here all fields are read by one call, and written by their
slots' descriptors in a function made per class, as dataclasses itself makes `__init__`.

Source: CPython Lib/dataclasses.py (what replace does, how functions are made); Objects/descrobject.c.
"""

from collections.abc import Callable, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import Any, TypeVar

from netpod.api.meta import Struct

T = TypeVar("T", bound=Struct)
Reader = Callable[[Any], tuple[Any, ...]]
Maker = Callable[[Sequence[Any]], Any]


class Layout:
    """How to read and make objects of a class from their fields' values, in order of declaration.

    `index` is each field's place and `defaults` are the values of an object without any.
    """

    __slots__ = ("defaults", "index", "make", "names", "read")

    def __init__(self, cls: type[Struct]) -> None:
        self.names: tuple[str, ...] = tuple(item.name for item in fields(cls))
        self.index = {name: index for index, name in enumerate(self.names)}
        self.read = _reader(self.names)
        self.make = _maker(cls, self.names)
        self.defaults = self.read(cls())


def _reader(names: tuple[str, ...]) -> Reader:
    if len(names) > 1:
        return attrgetter(*names)
    only = attrgetter(names[0])
    return lambda obj: (only(obj),)


def _maker(cls: type[Struct], names: tuple[str, ...]) -> Maker:
    """A function that makes an object of all its values; the class has no __post_init__."""
    scope: dict[str, Any] = {"cls": cls, "new": object.__new__}
    scope |= {f"set_{name}": _descriptor(cls, name).__set__ for name in names}
    lines = [
        "def make(values):",
        f"    {', '.join(names)}, = values",
        "    made_ = new(cls)",
        *(f"    set_{name}(made_, {name})" for name in names),
        "    return made_",
    ]
    exec("\n".join(lines), scope)
    made: Maker = scope["make"]
    return made


def _descriptor(cls: type[Struct], name: str) -> Any:
    return next(base.__dict__[name] for base in cls.__mro__ if name in base.__dict__)


_layouts: dict[type[Struct], Layout] = {}


def layout(cls: type[Struct]) -> Layout:
    """The class's layout, made once."""
    found = _layouts.get(cls)
    if found is None:
        found = _layouts[cls] = Layout(cls)
    return found


_replacers: dict[tuple[Any, ...], Callable[..., Any]] = {}


def replace(obj: T, **changes: Any) -> T:
    """The object with some fields changed, as dataclasses.replace; itself when nothing does."""
    cls = type(obj)
    make = _replacers.get((cls, *changes)) or _replacer(cls, tuple(changes))
    made: T = make(obj, **changes)
    return made


def _replacer(cls: type[Struct], changed: tuple[str, ...]) -> Callable[..., Any]:
    """A function of an object and the new values of these fields."""
    plan = layout(cls)
    assert set(changed) <= set(plan.names), (
        f"{cls.__name__} has no {set(changed) - set(plan.names)}"
    )
    scope: dict[str, Any] = {"cls_": cls, "new_": object.__new__}
    scope |= {f"set_{name}": _descriptor(cls, name).__set__ for name in plan.names}
    lines = [
        f"def replaced(obj_, {', '.join(changed)}):",
        f"    if {' and '.join(f'obj_.{name} is {name}' for name in changed) or 'True'}:",
        "        return obj_",
        "    made_ = new_(cls_)",
        *(
            f"    set_{name}(made_, {name if name in changed else f'obj_.{name}'})"
            for name in plan.names
        ),
        "    return made_",
    ]
    exec("\n".join(lines), scope)
    made: Callable[..., Any] = scope["replaced"]
    _replacers[(cls, *changed)] = made
    return made


def default(cls: type[Struct], name: str) -> Any:
    """What a field of the class holds by default."""
    plan = layout(cls)
    return plan.defaults[plan.index[name]]

"""Copies and remembered results are what the plain way would have made."""

import dataclasses

import pytest

from netpod.api import codec, defaults, memo, registry, structs
from netpod.api.meta import Struct
from netpod.api.pod import Container, Pod, PodSpec


@pytest.mark.parametrize(
    "resource", registry.RESOURCES, ids=lambda r: f"{r.plural}.{r.api_version}"
)
def test_replace_is_dataclasses_replace(resource: registry.Resource) -> None:
    """Same class, same fields, for every kind."""
    obj = resource.cls()
    metadata = structs.replace(obj.metadata, name="x", labels={"a": "b"})
    assert metadata == dataclasses.replace(obj.metadata, name="x", labels={"a": "b"})
    assert structs.replace(obj, metadata=metadata) == dataclasses.replace(obj, metadata=metadata)
    assert type(structs.replace(obj, metadata=metadata)) is resource.cls


def test_replace_by_the_same_is_the_same() -> None:
    """No change, no copy; and the copy is as frozen as the original."""
    spec = PodSpec(hostname="x")
    assert structs.replace(spec, hostname=spec.hostname) is spec
    copy = structs.replace(spec, hostname="y")
    with pytest.raises(dataclasses.FrozenInstanceError):
        copy.hostname = "z"  # type: ignore[misc]


def test_classes_have_slots_only() -> None:
    """What structs.py relies on: no __post_init__, every field in a slot."""

    def below(cls: type[Struct]) -> set[type[Struct]]:
        return {cls}.union(*(below(sub) for sub in cls.__subclasses__()))

    # dataclass(slots=True) makes a second class; the first lives on as garbage.
    for cls in (cls for cls in below(Struct) if "__slots__" in vars(cls)):
        assert not hasattr(cls, "__post_init__"), cls
        assert structs.layout(cls).make(structs.layout(cls).defaults) == cls()


def test_equal_specs_are_one() -> None:
    """Pods of one template share their decoded spec, and what follows from it."""
    data = {"spec": {"containers": [{"name": "c", "image": "nginx", "foo": 1}]}}
    one, two = (codec.decode(Pod, {**data, "metadata": {"name": name}}) for name in "ab")
    assert one.spec is two.spec
    assert defaults.apply_defaults(one).spec is defaults.apply_defaults(two).spec
    assert codec.unknown_fields(one) == ["spec.containers[0].foo"]
    assert codec.from_json(Pod, codec.to_json(one)) == one


def test_memory_is_bounded_and_by_identity() -> None:
    """An equal object is another object; the oldest results are forgotten."""
    calls: list[str] = []

    @memo.by_identity
    def name(container: Container) -> str:
        calls.append(container.name)
        return container.name

    first = Container(name="c")
    assert [name(first), name(first), name(Container(name="c"))] == ["c"] * 3
    assert len(calls) == 2
    for number in range(memo.SIZE):
        name(Container(name=str(number)))
    calls.clear()
    name(first)
    assert calls == ["c"]

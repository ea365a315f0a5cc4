"""The shape that keeps the code readable: files of one idea, packages that say what they are, maps that are true."""

import ast
import dataclasses
import re
from pathlib import Path

import pytest

from netpod.api import codec, registry
from netpod.api.registry import Resource

ROOT = Path(__file__).parents[2]
MAX_LINES = 400
SOURCES = sorted(
    path
    for part in ("netpod", "cli", "tests", "benchmarks")
    for path in (ROOT / part).rglob("*.py")
)
PACKAGES = [path for path in SOURCES if path.name == "__init__.py"]
MODULES = [path for path in SOURCES if path.name != "__init__.py"]


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_file_is_longer_than_one_idea() -> None:
    """Over 400 lines a file holds more than one."""
    long = {_name(path): len(path.read_text().splitlines()) for path in SOURCES}
    assert not {name: count for name, count in long.items() if count > MAX_LINES}


def test_every_module_and_package_says_what_it_is_for() -> None:
    """A docstring is the first thing in every file."""
    silent = [_name(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text()))]
    assert not silent


def test_every_directory_of_netpod_is_a_package() -> None:
    """A directory without __init__.py would be importable and not installed."""
    folders = {path.parent for path in MODULES if _name(path).startswith(("netpod/", "cli/"))}
    assert folders <= {path.parent for path in PACKAGES}


def test_every_package_is_installed() -> None:
    """pyproject.toml lists packages by name, because cli/ is installed as netpod_cli."""
    text = (ROOT / "pyproject.toml").read_text()
    for package in PACKAGES:
        name = _name(package.parent).replace("/", ".")
        name = "netpod_" + name if name.startswith("cli") else name
        assert f'"{name}"' in text, name


def test_every_path_in_the_architecture_exists() -> None:
    """A map of what is no longer there is worse than none."""
    text = (ROOT / "ARCHITECTURE.md").read_text()
    found = set(
        re.findall(r"`((?:netpod|cli|tests|benchmarks|docs|vagrant|examples)/[\w./-]*)`", text)
    )
    assert found, "ARCHITECTURE.md names no file"
    assert not [path for path in sorted(found) if not (ROOT / path).exists()]


@pytest.mark.parametrize(
    "resource", registry.RESOURCES, ids=lambda it: f"{it.api_version}.{it.kind}"
)
def test_every_resource_survives_the_codec(resource: Resource) -> None:
    """Decode, encode and decode again: nothing is lost, unknown fields neither."""
    manifest = {
        "apiVersion": resource.api_version,
        "kind": resource.kind,
        "metadata": {"name": "x", "labels": {"a": "b"}, "future": {"deep": [1]}},
        "unheardOf": "kept",
    }
    obj = codec.decode_object(manifest)
    assert isinstance(obj, resource.cls)
    encoded = codec.encode(obj)
    assert encoded["unheardOf"] == "kept"
    assert encoded["metadata"]["future"] == {"deep": [1]}
    assert codec.decode(resource.cls, encoded) == obj
    assert codec.from_json(resource.cls, codec.to_json(obj)) == obj


@pytest.mark.parametrize(
    "resource", registry.RESOURCES, ids=lambda it: f"{it.api_version}.{it.kind}"
)
def test_every_resource_is_found_by_all_its_names(resource: Resource) -> None:
    """Plural, singular, short names and kind lead to one entry."""
    assert dataclasses.is_dataclass(resource.cls)
    assert registry.by_kind(resource.api_version, resource.kind) is resource
    assert registry.by_plural(resource.group, resource.version, resource.plural) is resource
    if resource.group not in ("autoscaling", "events.k8s.io", "policy"):
        for word in (resource.plural, resource.singular, *resource.short_names):
            assert registry.lookup(word).kind == resource.kind

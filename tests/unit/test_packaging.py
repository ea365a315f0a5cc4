"""What pyproject.toml installs is what there is."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_package_is_installed() -> None:
    """A package that pyproject.toml forgets would be missing on every machine but the developer's."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    listed = set(project["tool"]["setuptools"]["packages"])
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "netpod").rglob("__init__.py")
    }
    assert listed == found | {"netpod_cli", "netpod_cli.examples"}


def test_every_library_is_locked() -> None:
    """constraints.txt names a version of everything netpod and its tests import, and no address."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {*project["dependencies"], *project["optional-dependencies"]["test"]}
    text = (ROOT / "constraints.txt").read_text()
    locked = {line.partition("==")[0].lower().replace("_", "-") for line in text.splitlines()}
    assert {name.lower().replace("_", "-") for name in wanted} <= locked
    assert "://" not in text
    assert all("==" in line for line in text.splitlines())

"""What a wheel holds: names that are ours alone, types, and the command."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


ROOT = Path(__file__).parent.parent
PACKAGES = {"torchloom", "torchloom_models", "torchloom_workflows", "torchloom_api"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel as a package index would get it."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("torchloom-*.whl")
    return zipfile.ZipFile(file)


def _top_level(wheel: zipfile.ZipFile) -> set[str]:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    return {top for top in tops if not top.endswith(".dist-info")}


def test_takes_no_name_but_its_own_in_site_packages(wheel: zipfile.ZipFile) -> None:
    """The import names are the four packages; a plain `models` or `api` would be another's name."""
    assert _top_level(wheel) == PACKAGES


def test_ships_its_types(wheel: zipfile.ZipFile) -> None:
    """Each package says that it is typed (PEP 561)."""
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(wheel.namelist())


def test_ships_every_module(wheel: zipfile.ZipFile) -> None:
    """Every module of the four source roots is in the wheel, subpackages included."""
    modules = {
        str(file.relative_to(root))
        for root in (ROOT / name for name in ("orchestrator", "models", "workflows", "api"))
        for file in root.glob("torchloom*/**/*.py")
    }
    assert modules <= set(wheel.namelist())


def test_installs_the_command(wheel: zipfile.ZipFile) -> None:
    """The wheel installs `torchloom`, and carries the licence."""
    names = wheel.namelist()
    (points,) = (name for name in names if name.endswith(".dist-info/entry_points.txt"))
    assert "torchloom = torchloom_api.cli:main" in wheel.read(points).decode()
    assert any(name.endswith("licenses/LICENSE") for name in names)


def test_pins_what_it_was_tested_with() -> None:
    """constraints.txt gives exact versions, and no path or build of one machine."""
    lines = [
        line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#"
    ]
    assert all(line.count("==") == 1 for line in lines)
    assert not [line for line in lines if " @ " in line or "+" in line]


def _imported(file: Path) -> set[str]:
    """Give the top-level names of what a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def test_declares_everything_that_it_imports() -> None:
    """What a module imports is a declared dependency, not one that another package brings along."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    declared = {
        canonicalize_name(Requirement(line).name)
        for line in [*project["dependencies"], *optional["openvino"], *optional["postgres"]]
    }
    imported = set().union(*(_imported(file) for file in ROOT.glob("*/torchloom*/**/*.py")))
    theirs = imported - PACKAGES - sys.stdlib_module_names
    providers = packages_distributions()
    undeclared = {
        name: providers.get(name)
        for name in theirs
        if not declared & {canonicalize_name(provider) for provider in providers.get(name, [])}
    }
    assert not undeclared

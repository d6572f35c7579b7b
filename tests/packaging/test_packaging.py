"""The distribution: what it needs, what is in its wheel, and that it works away from the repository."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import abn
from tests.conftest import HOME

PROJECT = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def listed(file: str) -> set[str]:
    """The requirements in a file, without comments and without those it takes from another."""
    lines = [line.partition("#")[0].strip() for line in (HOME / file).read_text().splitlines()]
    return {line for line in lines if line and not line.startswith("-r")}


def test_the_two_command_way_installs_what_the_distribution_asks_for():
    assert listed("requirements.txt") == {*PROJECT["dependencies"], *EXTRAS["app"]}
    assert listed("requirements-dev.txt") == {*EXTRAS["train"], *EXTRAS["dev"]}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-build-isolation", "--no-deps", "--no-index"]
    subprocess.run([*command, "-w", str(folder), str(HOME)], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder with the wheel's files, as pip unpacks them."""
    folder = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(installed: Path, cwd: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.process
def test_the_wheel_has_one_version_its_types_and_what_comes_with_the_code(wheel):
    assert wheel.name == f"adaptive_bias_networks-{abn.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {f"abn/{path.relative_to(HOME / 'abn')}" for path in (HOME / "abn").rglob("*.py")}
    for folder in ("checkpoints", "results", "assets/examples"):
        files = [path for path in (HOME / folder).rglob("*") if path.is_file()]
        expected |= {f"abn/bundled/{path.relative_to(HOME)}" for path in files}
    assert expected | {"abn/py.typed"} <= names
    assert not [name for name in names if name.startswith(("tests", "benchmarks"))]


@pytest.mark.process
def test_installed_it_finds_its_checkpoints_results_and_pictures_from_another_folder(installed, tmp_path):
    code = (
        "import abn; from abn.common.bundled import bundled; from abn.checkpoints.network import BASELINE; "
        "from abn.experiment.folder import read_results; "
        "print(abn.__file__, abn.load_checkpoint(BASELINE).info.architecture, "
        "len(read_results(bundled('results')).groups) > 0, any(bundled('assets/examples').glob('*.png')))"
    )
    done = run(installed, tmp_path, "-c", code)
    assert done.stdout.split() == [str(installed / "abn" / "__init__.py"), "resnet-s", "True", "True"], done.stderr


@pytest.mark.process
def test_installed_the_command_lists_its_subcommands(installed, tmp_path):
    done = run(installed, tmp_path, "-m", "abn", "--help")
    for name in ("app", "inspect", "replay", "train", "reference", "convert", "push", "reproduce", "audit", "awaken"):
        assert f"\n  {name} " in done.stdout
    assert "\n  recipe-search " in done.stdout and done.stderr == ""
    assert run(installed, tmp_path, "-m", "abn", "--version").stdout == f"abn {abn.__version__}\n"

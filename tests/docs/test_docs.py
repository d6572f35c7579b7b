"""README and `docs/`: links lead somewhere, commands exist with their options, figures are those of `results/`."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
import typer

from abn.cli.main import cli

HOME = Path(__file__).resolve().parents[2]
PAGES = [HOME / "README.md", HOME / "CONTRIBUTING.md", HOME / "CHANGELOG.md", *sorted((HOME / "docs").glob("*.md"))]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def fill():
    spec = importlib.util.spec_from_file_location("fill", HOME / "docs" / "fill.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(page: Path) -> set[str]:
    """What GitHub makes of a page's headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    for target in LINK.findall(page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        assert file.exists(), f"{page.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{page.name} links to {target}"


def test_every_page_is_linked_from_readme():
    linked = {
        (HOME / target.partition("#")[0]).resolve() for target in LINK.findall((HOME / "README.md").read_text())
    }
    assert {page.resolve() for page in PAGES[1:]} <= linked


def test_readme_is_short():
    assert len((HOME / "README.md").read_text().splitlines()) <= 160


@pytest.mark.parametrize("page", fill().pages(), ids=lambda page: page.name)
def test_figures_are_those_of_the_results(page):
    assert page.read_text() == fill().filled(page.read_text()), "run python docs/fill.py"


def test_every_result_has_its_place():
    places = set(re.findall(fill().PLACE, "".join(page.read_text() for page in fill().pages())))
    groups = {f"results/{path.parent.name}" for path in (HOME / "results").glob("*/table.json")}
    audits = {f"results/audit/{path.name}" for path in (HOME / "results" / "audit").glob("*.json")}
    assert groups | audits <= {source for source, _ in places}


def commands(page: Path) -> list[list[str]]:
    """Every `abn …` line of a page's shell blocks and inline code, as words."""
    text = page.read_text()
    lines = [line for block in re.findall(r"```bash\n(.*?)```", text, re.S) for line in block.splitlines()]
    lines += re.findall(r"`(abn [^`]+)`", text)
    return [shlex.split(line, comments=True) for line in lines if line.strip().startswith("abn ") and "…" not in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_have_the_options_that_are_named(page):

    known = typer.main.get_command(cli).commands
    for _, name, *words in commands(page):
        if name == "--help":
            continue
        assert name in known, f"{page.name}: abn {name}"
        options = {
            option for parameter in known[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options, f"abn {name} {words}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_benchmarks_that_are_named_are_there(page):
    for name in re.findall(r"python -m benchmarks\.(\w+)", page.read_text()):
        assert (HOME / "benchmarks" / f"{name}.py").is_file(), f"{page.name}: benchmarks.{name}"

"""Write the figures of `results/` into the documentation, where a page marks their place.

    python docs/fill.py

A place is what stands between `<!-- from results/NAME -->` and `<!-- end -->`: the table of a folder of runs, or what
a JSON file found. A test compares every place with the results, so that no page states a figure of its own.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HOME))  # so that it runs where the project is not installed

from abn.experiment import awaken, make_table, recipe_search  # noqa: E402
from abn.experiment.folder import TABLE_FILE  # noqa: E402

PLACE = re.compile(r"<!-- from (results/[\w./-]+) -->\n(.*?)<!-- end -->\n", re.DOTALL)


def section(source: str) -> str:
    """What a file or folder of `results/` says, as Markdown that ends with a line break.

    Args:
        source: relative to the project's folder, such as "results/strong-20" or "results/audit/resnet-dmb.json".

    Raises:
        ValueError: for a JSON file of a kind that has no Markdown.
    """
    path = HOME / source
    if path.is_dir():
        return make_table.markdown(json.loads((path / TABLE_FILE).read_text())).strip() + "\n"
    found = json.loads(path.read_text())
    if path.name == awaken.FILE:
        return awaken.markdown(found).strip() + "\n"
    if path.name == recipe_search.FILE:
        return recipe_search.markdown(found).strip() + "\n"
    if path.parent.name == "audit":
        return "\n\n".join(f"**{each['question']}** {each['answer']}" for each in found["answers"]) + "\n"
    raise ValueError(
        f"{source} has no Markdown; expected a folder of runs, an audit, {awaken.FILE} or {recipe_search.FILE}"
    )


def filled(text: str) -> str:
    """A page with every marked place as `results/` has it now."""
    return PLACE.sub(lambda place: f"<!-- from {place[1]} -->\n{section(place[1])}<!-- end -->\n", text)


def pages() -> list[Path]:
    """README and every page of `docs/`."""
    return [HOME / "README.md", *sorted((HOME / "docs").glob("*.md"))]


if __name__ == "__main__":
    for page in pages():
        before = page.read_text()
        after = filled(before)
        if after != before:
            page.write_text(after)
            print(page.relative_to(HOME))

"""Pictures that come late: what a visitor does meanwhile gives them up."""

from __future__ import annotations

from abn.app.inspector.visitors import Pairs
from abn.common.data import Cifar10
from abn.ui.page.build import build_page


def cancels(page, name):
    """(component, its event) of all that cancels the event of a function."""
    late = next(number for number, function in page.fns.items() if function.name == name)
    config = page.get_config_file()
    parts = {part["id"]: part for part in config["components"]}
    found = set()
    for event in config["dependencies"]:
        if late in event["cancels"]:
            for target, kind in event["targets"]:
                props = parts[target]["props"]
                found.add((props.get("elem_id") or props.get("value") or parts[target]["type"], kind))
    return found


def test_a_search_is_given_up_for_another_picture_other_networks_and_an_opened_file(
    inspector, examples, pictures, labels
):
    page = build_page(Pairs(inspector, folders=True), examples, Cifar10(pictures, labels, pictures, labels))
    assert cancels(page, "disagreement") == {
        ("picture", "input"), ("examples", "select"), ("Draw a test image", "click"), ("open-result", "upload"),
        ("textbox", "change"),  # where a page keeps what it compares
    }  # fmt: skip

"""Pictures that come late: what a visitor does meanwhile gives them up."""

from __future__ import annotations

from abn.data import Cifar10
from abn.pairs import Pairs
from abn.ui.page import build_page


def test_a_search_is_given_up_for_another_picture_other_networks_and_an_opened_file(
    inspector, examples, pictures, labels
):
    page = build_page(Pairs(inspector, folders=True), examples, Cifar10(pictures, labels, pictures, labels))
    search = next(number for number, function in page.fns.items() if function.name == "disagreement")
    config = page.get_config_file()
    parts = {part["id"]: part for part in config["components"]}
    found = set()
    for event in config["dependencies"]:
        if search in event["cancels"]:
            for target, kind in event["targets"]:
                props = parts[target]["props"]
                found.add((props.get("elem_id") or props.get("value") or parts[target]["type"], kind))
    assert found == {
        ("picture", "input"), ("examples", "select"), ("Draw a test image", "click"), ("open-result", "upload"),
        ("state", "change"),
    }  # fmt: skip

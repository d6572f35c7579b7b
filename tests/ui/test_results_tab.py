"""The Results tab: what a person reads there, and where there is nothing to read."""

from __future__ import annotations

import json

import pytest

from abn.app.inspector.visitors import Pairs
from abn.experiment import runs as experiment
from abn.experiment.folder import Results, read_results
from abn.ui.page.build import build_page
from abn.ui.tabs import results_words as words
from tests.results_files import VERDICT, table, write_json, write_results, write_run


def components(inspector, results: Results | None) -> dict[str, dict]:
    """elem_id → properties, of what a page with these results opens with."""
    config = build_page(Pairs(inspector, folders=False), [], results=results).get_config_file()
    return {each["props"].get("elem_id"): each["props"] for each in config["components"]}


@pytest.fixture
def folder(tmp_path):
    return write_results(tmp_path / "results")


def group(folder):
    return read_results(folder).groups[0]


# --- words ------------------------------------------------------------------------------------------------


def test_the_first_sentence_is_the_tables_verdict_with_its_n(folder):
    assert words.answer(read_results(folder)) == f"**{VERDICT}** That is by the paper's recipe, 3 epochs, n = 2."


def test_another_recipe_than_the_papers_is_said(folder):
    (folder / "paper-3").rename(folder / "strong-3")
    for path in (folder / "strong-3").iterdir():
        path.write_text(path.read_text().replace('"paper"', '"strong"'))
    said = words.answer(read_results(folder))
    assert said == f"**{VERDICT}** That is by the recipe strong, not the paper's, 3 epochs, n = 2."


def test_a_table_without_a_pair_answers_nothing(folder):
    contrasts = [{**table()["contrasts"][2], "arm": "resnet-s", "label": "ResNet-DMB − ResNet-S"}]
    write_json(folder / "paper-3" / "table.json", table(contrasts=contrasts))
    assert words.answer(read_results(folder)).startswith("**Not answered yet:**")
    assert words.contrasts(group(folder)) == [["ResNet-DMB − ResNet-S", "0", "–", "–", "–", "–", "–", "–"]]


def test_rows_of_the_arms_with_the_papers_own_below_where_they_were_trained_alike(folder, monkeypatch):
    assert not any("paper" in row[0] for row in words.arms(group(folder)))  # three epochs; the paper has fifteen
    monkeypatch.setattr(experiment, "PAPER_EPOCHS", 3)
    assert words.arms(group(folder)) == [
        ["ResNet-S", "2", "90.50 ± 0.71", "90.50 ± 0.71", "2,777,674"],
        ["ResNet-DMB", "2", "90.70 ± 0.28", "90.70 ± 0.28", "2,957,794"],
        ["SE", "1", "92.00", "92.50", "2,958,242"],
        ["Awake", "0", "–", "–", "2,957,794"],
        ["the paper's ResNet-S", "1", "–", "91.31", "–"],
        ["the paper's ResNet-DMB", "1", "–", "91.68", "–"],
    ]


def test_fewer_runs_with_a_best_epoch_than_runs_are_said(folder):
    arms = table()["arms"]
    arms[0]["best"] = {"n": 1, "mean": 90.0, "sd": None}
    write_json(folder / "paper-3" / "table.json", table(arms=arms))
    assert words.arms(group(folder))[0][3] == "90.00 (n = 1)"


def test_rows_and_sentences_of_the_contrasts(folder):
    rows = words.contrasts(group(folder))
    assert rows[0] == [
        "ResNet-DMB − ResNet-S",
        "2",
        "+0.20",
        "−3.60 to +4.00",
        "1",
        "−1.10 to +1.50",
        "0.62",
        "13 (5 to 80)",
    ]
    assert rows[1] == ["ResNet-DMB − SE", "1", "−1.50", "–", "–", "–", "–", "–"]
    said = words.verdicts(group(folder))
    assert f"- **ResNet-DMB − ResNet-S:** {VERDICT}" in said and "- **ResNet-DMB − SE:** One seed" in said
    assert said.endswith("\n- No seed has both ResNet-DMB and one of these yet: Awake.")


def test_a_run_that_diverged_is_told(folder):
    path = folder / "paper-3" / "se-0.jsonl"
    lines = path.read_text().splitlines()
    last = {**json.loads(lines[2]), "diverged": True}
    path.write_text("\n".join([*lines[:2], json.dumps(last)]))
    write_json(folder / "paper-3" / "table.json", table(diverged=["SE, seed 0 (epoch 3)"]))
    said = group(folder)
    assert (
        "- **Diverged (the loss was no longer a number), so not counted:** SE, seed 0 (epoch 3)."
        in words.verdicts(said)
    )
    assert next(row for row in words.runs(said.runs) if row[0] == "SE")[2:4] == ["diverged in epoch 3", "–"]


def test_what_the_banks_did_is_told_where_it_is_known(folder):
    assert words.banks(group(folder)) == ""
    write_json(folder / "paper-3" / "table.json", table(banks=["Awake, n = 1: the bank is <b>used</b>."]))
    said = words.banks(group(folder))
    assert "counts as idle" in said and "\n- Awake, n = 1: the bank is " in said and "<b>" not in said


def test_rows_of_the_runs(folder):
    rows = words.runs(group(folder).runs)
    assert rows[4] == ["ResNet-DMB", 2, "2 of 3", "–", "–", "2.0", "CPU, 1 threads", "2.14"]
    assert rows[5][:6] == ["SE", 0, "3 of 3", "92.00", "92.50", "3.0"]


def test_the_curves_in_words(folder):
    assert words.curves(group(folder).runs).splitlines() == [
        "- ResNet-S: 51.00 % after epoch 1 (n = 2) to 90.50 % after epoch 3 (n = 2)",
        "- ResNet-DMB: 50.00 % after epoch 1 (n = 3) to 90.70 % after epoch 3 (n = 2)",
        "- SE: 48.00 % after epoch 1 (n = 1) to 92.00 % after epoch 3 (n = 1)",
    ]


def test_the_curves_in_numbers(folder):
    rows, headings = words.curve_table(group(folder).runs)
    assert headings == ["epoch", "ResNet-S (%)", "ResNet-DMB (%)", "SE (%)"]
    assert rows == [
        ["1", "51.00", "50.00", "48.00"],
        ["2", "70.50", "71.33", "92.50"],
        ["3", "90.50", "90.70", "92.00"],
    ]


def test_runs_that_were_tested_at_their_end_alone_have_no_curves(tmp_path):
    write_run(tmp_path / "paper-3", "resnet-s", 0, (None, None, 91.0))
    assert words.curves(group(tmp_path).runs).startswith("There are no curves")


def test_problems_are_counted_and_the_first_ones_named():
    assert words.problems(()) == ""
    assert words.problems(["a|b"]) == "**1 problem with the files:**\n\n- a\\|b"
    said = words.problems([f"p{i}" for i in range(12)])
    assert said.startswith("**12 problems") and "- p9\n- and 2 more" in said and "p10" not in said


def test_text_from_files_is_no_markup(folder):
    evil = "![x](http://e.com/p.png) <img src=x>"
    contrasts = [{**table()["contrasts"][0], "label": evil, "verdict": evil}]
    write_json(
        folder / "paper-3" / "table.json", table(contrasts=contrasts, command="a`b\n```\n# c", problems=[evil])
    )
    for said in (words.answer(read_results(folder)), words.verdicts(group(folder)), words.going_on(group(folder))):
        assert "![x](" not in said and "<img" not in said
    assert "\na'b ''' # c\n" in words.going_on(group(folder))


def test_rows_of_an_audit(folder):
    (audit,) = read_results(folder).audits
    said = words.audited(audit)
    assert "**Dynamic, or just a rescale?** Freezing the factors costs 1.25 points." in said
    assert "Over 10,000 images: resnet-dmb (recipe strong, 10 epochs, seed 0), 92.00 % with nothing frozen" in said
    assert words.blocks(audit) == [
        ["layer1.0", "64", "0.0004", "75.0 %", "0.9999", "70 / 10 / 10 / 10", "2.0 %", "under 0.1 %"],
        ["layer1.1", "64", "0", "–", "1.0000", "100 / 0 / 0 / 0", "1.0 %", "–"],
    ]
    assert "Re-estimating bn2 costs +0.34 points (+0.11 to +0.57) by itself;" in said
    assert words.conditions(audit) == [
        ["nothing frozen", "92.00", "–", "91.66", "–"],
        ["all factors 1", "30.00", "+62.00 (+61.00 to +63.00)", "90.75", "+1.25 (+1.00 to +1.50)"],
        ["without the bank", "91.99", "+0.01 (−0.05 to +0.07)", "–", "–"],
    ]


# --- the tab ----------------------------------------------------------------------------------------------


def test_without_results_the_tab_is_one_sentence_with_the_command(inspector):
    found = components(inspector, None)
    assert "No results yet" in found["results-answer"]["value"]
    assert "`abn reproduce --data DIR`" in found["results-answer"]["value"]
    assert not [name for name in found if name and name.startswith("results-") and name != "results-answer"]
    assert "audit-about" not in found


def test_without_an_audit_its_command_is_said(inspector, folder):
    (folder / "audit" / "resnet-dmb.json").unlink()
    found = components(inspector, read_results(folder))
    assert "`abn audit checkpoints/resnet-dmb --data DIR`" in found["audit-about"]["value"]
    assert "audit-answers" not in found


def test_a_spoilt_folder_does_not_keep_the_page_from_opening(inspector, tmp_path):
    write_run(tmp_path / "paper-3", "resnet-s", 0, (50.0,))
    (tmp_path / "paper-3" / "resnet-s-0.jsonl").open("a").write("{")
    write_run(tmp_path / "paper-3", "resnet-s", 1, (50.0,), recipe="strong")
    found = components(inspector, read_results(tmp_path))
    assert "mixed recipes in one table" in found["results-going-on"]["value"]
    assert str(tmp_path) not in str(found)
    assert found["results-points"]["visible"] is False


def test_nothing_of_it_is_sent_when_a_picture_is_inspected(inspector, folder):
    write_json(folder / "strong-3" / "table.json", table(recipe="strong"))
    config = build_page(Pairs(inspector, folders=False), [], results=read_results(folder)).get_config_file()
    names = {each["id"]: each["props"].get("elem_id") or "" for each in config["components"]}
    for dependency in config["dependencies"]:
        outputs = [names[each] for each in dependency["outputs"] if names[each].startswith("results-")]
        if outputs not in ([], ["results-group"]):  # a link sets the group
            assert [names[target] for target, _ in dependency["targets"]] == ["results-group"]
            assert "results-arms" in outputs


# --- in a browser -----------------------------------------------------------------------------------------


def test_a_person_reads_the_answer_the_numbers_and_the_points(visit):
    expect = pytest.importorskip("playwright.sync_api").expect
    page = visit()
    page.get_by_role("tab", name="Results").click()
    expect(page.locator("#results-answer")).to_contain_text(VERDICT)
    expect(page.locator("#results-arms [data-testid='cell-1-2']")).to_contain_text("90.70 ± 0.28")
    expect(page.locator("#results-contrasts-table [data-testid='cell-0-3']")).to_contain_text("−3.60 to +4.00")
    expect(page.locator("#audit-answers")).to_contain_text("The bank is idle.")
    page.wait_for_function("document.querySelector('#results-points .js-plotly-plot')?._fullData?.length")
    drawn = page.evaluate(
        "Array.from(document.querySelector('#results-points .js-plotly-plot')._fullData"
        ".find(t => t.name === 'ResNet-DMB').x)"
    )
    assert drawn == pytest.approx([90.5, 90.9], abs=1e-4)
    assert "tab=results" in page.url


def test_a_link_opens_the_tab(visit):
    expect = pytest.importorskip("playwright.sync_api").expect
    page = visit("?tab=results")
    expect(page.locator("#results-answer")).to_contain_text(VERDICT)
    expect(page.locator("#results-points .main-svg").first).to_be_visible()

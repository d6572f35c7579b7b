"""The real page in a real browser: values that a person would read."""

from __future__ import annotations

import json
import re
import threading
from functools import partial
from urllib.parse import parse_qsl, urlencode, urlsplit

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from abn.app.export import export_of, to_json
from abn.app.figures.drawing import block_factors
from abn.app.inspector.inspector import Inspector
from abn.app.pictures.fitting import fit
from abn.app.pictures.reading import read_picture
from abn.checkpoints.network import open_network
from abn.checkpoints.store import save_checkpoint
from abn.common.data import CLASS_NAMES
from tests.conftest import awake

expect = pytest.importorskip("playwright.sync_api").expect


def heatmap(page, selector="#factor-heatmap"):
    """The numbers a figure's first heatmap draws, NaN where a cell is blank."""
    rows = page.evaluate(
        "s => Array.from(document.querySelector(s + ' .js-plotly-plot')._fullData"
        ".find(t => t.type === 'heatmap').z, row => Array.from(row, v => v === null ? NaN : v))",
        selector,
    )
    return np.array(rows, float)


def upload(page, path):
    page.locator("#picture input[type=file]").first.set_input_files(path)


def wait_for_meta(page, selector, key, value):
    page.wait_for_function(
        "([s, k, v]) => JSON.stringify(document.querySelector(s + ' .js-plotly-plot')?.layout?.meta?.[k]) === v",
        arg=[selector, key, value],
    )


def wait_for_map(page, selector, values):
    """Until a figure's heatmap has these values, as its largest one tells."""
    values = np.asarray(values)
    cell = np.unravel_index(np.abs(values).argmax(), values.shape)
    page.wait_for_function(
        "([s, r, c, v]) => Math.abs((document.querySelector(s + ' .js-plotly-plot')?._fullData"
        "?.find(t => t.type === 'heatmap')?.z[r][c] ?? NaN) - v) < 1e-3 * Math.abs(v) + 1e-6",
        arg=[selector, int(cell[0]), int(cell[1]), float(values[cell])],
    )


def test_opens_with_an_example_inspected(page, first_example):
    for side, network in zip(("baseline", "dmb"), first_example.networks, strict=True):
        top = page.locator(f"#top-{side}")
        expect(top.locator("h2")).to_have_text(network.predicted_name)
        expect(top).to_contain_text(f"{100 * network.probabilities.max():.0f}%")
    said = "They agree" if first_example.agree else "They disagree"
    expect(page.locator("#agreement")).to_contain_text(said)
    expect(page.locator("#agreement")).to_contain_text(first_example.dmb.predicted_name)


def test_the_heatmap_draws_the_deviations_of_the_picture(page, first_example):
    z = heatmap(page)
    for row, block in zip(z, block_factors(first_example.dmb), strict=True):
        channels = len(block.factors)
        np.testing.assert_allclose(row[:channels], block.deviation, rtol=1e-4, atol=1e-4)
        assert np.isnan(row[channels:]).all()


def test_raw_factors_are_one_switch_away(page, first_example):
    page.get_by_text("raw factor", exact=True).click()
    wait_for_meta(page, "#factor-heatmap", "mode", '"raw"')
    z = heatmap(page)
    for row, block in zip(z, first_example.dmb.blocks, strict=True):
        np.testing.assert_allclose(row[: len(block.factors)], block.factors, rtol=1e-5)


def test_a_click_in_the_heatmap_opens_the_channels_exact_sum(page, first_example):
    plot = page.locator("#factor-heatmap .nsewdrag").first
    box = plot.bounding_box()
    # The right end of the last row: a channel that only the widest block has.
    at = {"x": box["width"] * 0.9, "y": box["height"] * 5.5 / 6}
    plot.hover(position=at)
    plot.click(position=at)
    text = page.locator("#channel-text")
    expect(text).to_contain_text("layer3.1 channel")
    channel = int(re.search(r"channel (\d+)", text.inner_text())[1])
    assert 215 <= channel <= 245
    exact = first_example.dmb.block("layer3.1").channel_sum(channel)
    expect(text).to_contain_text(f"factor 1 + tanh m = {exact.factor:.5f}")
    expect(text).to_contain_text(f"linear term {exact.linear_term:+.5f}")
    assert abs(exact.residual) < 1e-6
    wait_for_meta(page, "#factor-heatmap", "chosen", f"[5,{channel}]")


def test_a_row_of_the_unusual_channels_opens_its_sum(page, first_example):
    cell = page.locator("#unusual-channels [data-testid='cell-2-1']")
    channel = int(cell.inner_text())
    block = page.locator("#unusual-channels [data-testid='cell-2-0']").inner_text().strip()
    cell.click()
    expect(page.locator("#channel-text")).to_contain_text(f"{block} channel {channel}:")


def test_an_upload_is_inspected_at_once(page, inspector, pictures, tmp_path):
    path = tmp_path / "mine.png"
    Image.fromarray(pictures[7]).save(path)
    upload(page, path)
    expect(page.locator("#fitting")).to_contain_text("32 × 32: all of it is used, pixel for pixel.")
    expected = inspector.inspect(pictures[7])
    expect(page.locator("#top-dmb h2")).to_have_text(expected.dmb.predicted_name)
    page.wait_for_function(
        "v => Math.abs(document.querySelector('#factor-heatmap .js-plotly-plot')._fullData"
        ".find(t => t.type === 'heatmap').z[0][0] - v) < 1e-3",
        arg=float(block_factors(expected.dmb)[0].deviation[0]),
    )


def test_a_bad_upload_leaves_the_last_result_marked_as_such(page, first_example, tmp_path):
    path = tmp_path / "song.png"
    path.write_bytes(b"ID3 this is no picture")
    upload(page, path)
    expect(page.locator("#failure")).to_contain_text("belongs to the picture and settings before it")
    expect(page.locator("#top-dmb h2")).to_have_text(first_example.dmb.predicted_name)
    toast = page.locator(".toast-body, [data-testid='toast-body']").first
    expect(toast).to_contain_text("picture")
    assert "Traceback" not in page.content()
    assert str(tmp_path) not in page.content()


def test_attribution_maps_are_those_of_the_library(page, inspector, first_example):
    page.get_by_role("tab", name="Attribution").click()
    target = first_example.dmb.predicted_name
    expect(page.locator("#attribution-status")).to_contain_text(f"Saliency for {target}.")
    maps = inspector.attribute(first_example.pixels, target, None, "saliency", {}).maps
    for side, values in zip(("baseline", "dmb", "difference"), (*maps, maps[1] - maps[0]), strict=True):
        wait_for_map(page, f"#attribution-{side}", values)
        drawn = heatmap(page, f"#attribution-{side}")
        np.testing.assert_allclose(drawn, values, rtol=1e-3, atol=1e-5)


def test_a_click_on_a_class_makes_it_the_target(page, first_example):
    second = first_example.dmb.class_names[int(np.argsort(first_example.dmb.probabilities)[-2])]
    page.locator("#top-dmb").get_by_text(second, exact=True).click()
    page.get_by_role("tab", name="Attribution").click()
    expect(page.locator("#attribution-status")).to_contain_text(f"Saliency for {second}.")


def test_a_slow_method_waits_for_the_button(page):
    page.get_by_role("tab", name="Attribution").click()
    expect(page.locator("#attribution-status")).to_contain_text("Saliency for")
    page.locator("#method input").click()
    page.get_by_role("option", name="Occlusion (slow)").click()
    expect(page.locator("#attribution-status")).to_contain_text("Occlusion is slow: about")
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("#attribution-status")).to_contain_text("Occlusion for")


def test_a_plot_fits_its_tab_after_the_window_changed(page):
    page.get_by_role("tab", name="Gate weights").click()
    page.locator("#gate-weights .js-plotly-plot").wait_for()
    page.get_by_role("tab", name="Factors").click()
    page.set_viewport_size({"width": 390, "height": 844})
    page.get_by_role("tab", name="Gate weights").click()
    page.wait_for_function(
        "() => { const p = document.querySelector('#gate-weights .js-plotly-plot');"
        " const width = e => e.getBoundingClientRect().width;"
        " return p && width(p) > 100 && width(p.querySelector('.main-svg')) <= width(p.parentElement) + 1 }"
    )
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_test_image_shows_its_true_class(page, pictures, labels, inspector):
    page.get_by_role("button", name="Draw a test image").click()
    expect(page.locator("#truth")).to_contain_text("its true class is")
    index = int(re.search(r"image (\d+)", page.locator("#truth").inner_text())[1])
    expect(page.locator("#truth")).to_contain_text(inspector.class_names[labels[index]])
    expected = inspector.inspect(pictures[index]).dmb.predicted_name
    expect(page.locator("#top-dmb h2")).to_have_text(expected)


def test_the_newest_of_quick_changes_stands_at_the_end(page, inspector, pictures, tmp_path):
    paths = []
    for index in (11, 12, 13):
        paths.append(tmp_path / f"{index}.png")
        Image.fromarray(pictures[index]).save(paths[-1])
    page.get_by_role("tab", name="Attribution").click()
    for path in paths:
        upload(page, path)
        page.wait_for_timeout(150)
    page.locator("#method input").click()
    page.get_by_role("option", name="Grad-CAM").click()
    expected = inspector.inspect(pictures[13])
    target = expected.dmb.predicted_name
    expect(page.locator("#attribution-status")).to_contain_text(f"Grad-CAM for {target}.")
    values = inspector.attribute(pictures[13], target, None, "grad_cam", {}).maps[1]
    wait_for_map(page, "#attribution-dmb", values)
    page.wait_for_timeout(2000)  # whatever is still under way would come now
    expect(page.locator("#top-dmb h2")).to_have_text(target)
    np.testing.assert_allclose(heatmap(page, "#attribution-dmb"), values, rtol=1e-3, atol=1e-5)
    page.get_by_role("tab", name="Factors").click()
    deviation = block_factors(expected.dmb)[5].deviation
    np.testing.assert_allclose(heatmap(page)[5], deviation, rtol=1e-3, atol=1e-3)


def test_a_failed_attribution_is_marked(page):
    page.get_by_role("tab", name="Attribution").click()
    expect(page.locator("#attribution-status")).to_contain_text("Saliency for")
    page.locator("#target input").click()
    page.get_by_role("option", name="ship", exact=True).click()
    expect(page.locator("#attribution-status")).to_contain_text("Saliency for ship.")
    expect(page.get_by_role("option")).to_have_count(0)  # the list that was just used fades away
    page.locator("#against input").click()
    page.get_by_role("option", name="ship", exact=True).click()
    expect(page.locator("#attribution-status")).to_contain_text("The last request failed")


def test_an_example_is_one_click_away(page, inspector, examples):
    page.locator("#examples button").nth(3).click()
    expected = inspector.inspect(fit(read_picture(examples[3])).pixels)
    expect(page.locator("#top-dmb h2")).to_have_text(expected.dmb.predicted_name)
    page.wait_for_function(
        "v => Math.abs((document.querySelector('#factor-heatmap .js-plotly-plot')?._fullData"
        "?.find(t => t.type === 'heatmap')?.z[0][0] ?? NaN) - v) < 1e-3",
        arg=float(block_factors(expected.dmb)[0].deviation[0]),
    )


def test_the_networks_differ_on_the_image_drawn_for_that(page):
    page.get_by_role("button", name="Draw one they disagree on").click()
    expect(page.locator("#truth")).to_contain_text("its true class is")
    expect(page.locator("#agreement")).to_contain_text("They disagree")


@pytest.fixture
def search(monkeypatch):
    """A search for a disagreement that goes on for as long as the test."""
    go_on, ended = threading.Event(), threading.Event()

    def slow(*_):
        go_on.wait(600)
        ended.set()

    monkeypatch.setattr(Inspector, "find_disagreement", slow)
    yield
    go_on.set()
    assert ended.wait(60)


def start_search(page):
    page.get_by_role("button", name="Draw one they disagree on").click()
    expect(page.locator("#picture [data-testid=status-tracker]")).to_contain_text("processing")


def given_up(page):
    """Expects that the server is told to drop an answer that is still waited for."""
    return page.expect_request(lambda request: request.url.endswith("/cancel"))


@pytest.mark.usefixtures("search")
def test_a_search_is_given_up_when_a_file_is_opened(visit, inspector, first_example, tmp_path):
    page = visit("?tab=take-away")
    start_search(page)
    (tmp_path / "result.json").write_bytes(to_json(export_of(inspector, first_example)))
    with given_up(page):
        page.locator("input[type=file][accept*='json']").set_input_files(tmp_path / "result.json")
    expect(page.locator("#failure")).to_contain_text("Shown from a file")


@pytest.mark.usefixtures("search")
def test_a_search_is_given_up_when_other_networks_are_chosen(page, other_checkpoint):
    start_search(page)
    with given_up(page):
        load_networks(page, baseline=other_checkpoint)
    expect(page.locator("#top-baseline")).to_contain_text("ResNet-DMB (my-net)")


def test_the_table_of_all_channels_can_be_searched(page, first_example):
    page.get_by_text("All channels, to sort and to search").click()
    table = page.locator("#all-channels")
    expect(table.locator("[data-testid='cell-0-0']")).to_be_visible()
    assert table.locator("input").count() >= 1


def test_what_the_networks_make_of_the_examples_is_said_when_asked(page, inspector, examples):
    said = page.locator("#examples-said")
    page.get_by_text("What the networks make of them").click()
    expect(said).to_contain_text(f"Of {len(examples)} drawings, called what was meant")
    first = inspector.inspect(fit(read_picture(examples[0])).pixels)
    row = said.locator("tbody tr").first
    expect(row).to_contain_text(examples[0].stem)
    expect(row).to_contain_text(first.dmb.predicted_name)


# --- the address as a link ---


def query(page):
    return dict(parse_qsl(urlsplit(page.url).query))


def test_a_link_brings_back_picture_settings_and_channel(visit, inspector, pictures, labels):
    asked = {
        "picture": "test/23", "fit": "pad", "method": "occlusion", "window": "6", "fill": "black", "target": "frog",
        "against": "ship", "block": "layer2.1", "channel": "77", "show": "raw", "order": "value",
        "opacity": "0.25",
    }  # fmt: skip
    page = visit("?" + urlencode(asked))
    expect(page.locator("#truth")).to_contain_text(f"test image 23; its true class is {CLASS_NAMES[labels[23]]}")
    seen = inspector.inspect(pictures[23])
    expect(page.locator("#top-dmb h2")).to_have_text(seen.dmb.predicted_name)
    exact = seen.dmb.block("layer2.1").channel_sum(77)
    expect(page.locator("#channel-text")).to_contain_text(
        f"layer2.1 channel 77: linear term {exact.linear_term:+.5f}"
    )
    wait_for_meta(page, "#factor-heatmap", "mode", '"raw"')
    page.get_by_role("tab", name="Attribution").click()
    page.get_by_role("button", name="Compute").click()
    expect(page.locator("#attribution-status")).to_contain_text("Occlusion for frog against ship.")
    page.wait_for_function("new URL(location.href).searchParams.get('tab') === 'attribution'")
    assert query(page) == {**asked, "tab": "attribution"}
    page.locator("#attribution-dmb .heatmaplayer").first.wait_for()
    expected = inspector.attribute(pictures[23], "frog", "ship", "occlusion", {"window": 6, "fill": "black"}).maps[1]
    np.testing.assert_allclose(heatmap(page, "#attribution-dmb"), expected, rtol=1e-3, atol=1e-5)


def test_what_a_visitor_does_stands_in_the_link_and_changes_no_other_page(visit, pictures, tmp_path, first_example):
    mine, other = visit("?tab=gates&picture=example/ship"), visit()
    expect(mine.locator("#gates-text")).to_contain_text("The gate weights stay within")  # the tab is open
    mine.locator("#method input").click()
    mine.get_by_role("option", name="Grad-CAM").click()
    mine.wait_for_function("new URL(location.href).searchParams.get('method') === 'grad_cam'")
    assert query(mine) == {"tab": "gates", "picture": "example/ship", "method": "grad_cam"}
    expect(mine.locator("#linked")).to_contain_text("picture and settings")

    path = tmp_path / "mine.png"
    Image.fromarray(pictures[7]).resize((40, 40)).save(path)
    upload(mine, path)
    expect(mine.locator("#linked")).to_contain_text("not to your picture")
    mine.wait_for_function("!new URL(location.href).searchParams.has('picture')")

    again = visit("?" + urlsplit(mine.url).query)  # whoever opens it sees an example, with the same settings
    expect(again.locator("#top-dmb h2")).to_have_text(first_example.dmb.predicted_name)
    assert again.locator("#method input").input_value() == "Grad-CAM"
    assert other.locator("#method input").input_value() == "Saliency"
    expect(other.locator("#top-dmb h2")).to_have_text(first_example.dmb.predicted_name)
    assert set(query(other)) <= {"picture"}


def test_a_link_that_asks_for_what_is_not_there_says_so(visit, first_example, monkeypatch):
    monkeypatch.setattr(gr, "Warning", partial(gr.Warning, duration=None))  # else it may be gone before it is read
    page = visit(
        "?" + urlencode({"picture": "example/../x", "method": "<b>magic</b>", "window": "900", "order": "value"})
    )
    toast = page.locator("[data-testid='toast-body']").first
    expect(toast).to_contain_text("picture=example/../x")
    expect(toast).to_contain_text("method=<b>magic</b>")
    expect(toast).to_contain_text("window=900")
    assert page.locator("#method input").input_value() == "Saliency"
    expect(page.locator("#top-dmb h2")).to_have_text(first_example.dmb.predicted_name)
    assert page.get_by_label("sorted by value").is_checked()


# --- other networks ---


@pytest.fixture(scope="module")
def other_checkpoint(tmp_path_factory):
    return save_checkpoint(awake("resnet-dmb", 11), tmp_path_factory.mktemp("other") / "my-net")


def load_networks(page, baseline="", dmb=""):
    page.get_by_text("Compare other networks", exact=True).click()
    page.locator("#network-baseline textarea").fill(str(baseline))
    page.locator("#network-dmb textarea").fill(str(dmb))
    page.get_by_role("button", name="Load", exact=True).click()


def test_other_networks_change_one_visitors_page_alone(visit, inspector, first_example, other_checkpoint):
    mine, other = visit(), visit()
    load_networks(mine, baseline=other_checkpoint)
    expect(mine.locator("#networks-status")).to_contain_text("You compare ResNet-DMB (my-net) and ResNet-DMB (")
    twins = Inspector(open_network(other_checkpoint), inspector.dmb, torch.device("cpu"))
    expected = twins.inspect(first_example.pixels)
    expect(mine.locator("#top-baseline")).to_contain_text("ResNet-DMB (my-net)")
    expect(mine.locator("#top-baseline h2")).to_have_text(expected.baseline.predicted_name)
    mine.locator("#factor-network").get_by_text("ResNet-DMB (my-net)").click()
    wait_for_meta(mine, "#factor-heatmap", "mode", '"raw"')  # it carries no reference
    drawn = heatmap(mine)
    for row, block in zip(drawn, expected.baseline.blocks, strict=True):
        np.testing.assert_allclose(row[: len(block.factors)], block.factors, rtol=1e-5)

    expect(other.locator("#top-baseline h2")).to_have_text(first_example.baseline.predicted_name)
    assert "my-net" not in other.content()
    mine.get_by_role("button", name="Reset", exact=True).click()
    expect(mine.locator("#top-baseline h2")).to_have_text(first_example.baseline.predicted_name)
    expect(mine.locator("#factor-network")).to_be_hidden()


def test_other_networks_look_at_the_last_picture_also_when_it_was_taken_away(
    page, inspector, first_example, other_checkpoint
):
    page.get_by_label("Remove Image").first.click()
    expect(page.locator("#failure")).to_contain_text("There is no picture")
    load_networks(page, baseline=other_checkpoint)
    expected = Inspector(open_network(other_checkpoint), inspector.dmb, torch.device("cpu")).inspect(
        first_example.pixels
    )
    expect(page.locator("#top-baseline")).to_contain_text("ResNet-DMB (my-net)")
    expect(page.locator("#top-baseline h2")).to_have_text(expected.baseline.predicted_name)
    expect(page.locator("#failure")).to_contain_text("There is no picture")


def test_a_files_result_keeps_its_labels_until_the_next_picture(
    visit, inspector, first_example, other_checkpoint, tmp_path
):
    page = visit("?tab=take-away")
    (tmp_path / "result.json").write_bytes(to_json(export_of(inspector, first_example)))
    page.locator("input[type=file][accept*='json']").set_input_files(tmp_path / "result.json")
    expect(page.locator("#failure")).to_contain_text("Shown from a file")
    load_networks(page, baseline=other_checkpoint)
    expect(page.locator("#networks-status")).to_contain_text("You compare ResNet-DMB (my-net)")
    expect(page.locator("#top-baseline")).to_contain_text("ResNet-S")
    assert page.get_by_text("Two image classifiers").inner_text().count("ResNet-S") == 1
    page.get_by_role("tab", name="Attribution").click()
    expect(page.locator("#attribution-status")).to_contain_text("The file holds no attribution maps")
    expect(page.locator("#attribution-dmb .js-plotly-plot")).to_have_count(0)
    page.locator("#examples button").first.click()
    expect(page.locator("#top-baseline")).to_contain_text("ResNet-DMB (my-net)")
    expect(page.locator("#failure")).to_be_hidden()


def test_networks_that_cannot_be_had_change_nothing(page, first_example):
    load_networks(page, dmb="/no/such/folder")
    expect(page.locator("[data-testid='toast-body']").first).to_contain_text("there is no such folder")
    expect(page.locator("#networks-status")).to_contain_text("Nothing was changed")
    expect(page.locator("#top-dmb h2")).to_have_text(first_example.dmb.predicted_name)


# --- take away, and open again ---


def test_a_result_is_taken_away_and_opened_by_another_visitor(visit, inspector, examples, tmp_path):
    mine = visit("?picture=example/frog&method=grad_cam&tab=take-away")
    expect(mine.locator("#take-away-holds")).to_contain_text("attribution maps too (Grad-CAM for")
    with mine.expect_download() as download:
        mine.get_by_role("button", name="All values (JSON)").click()
    assert download.value.suggested_filename == "frog.json"
    download.value.save_as(tmp_path / "frog.json")
    frog = next(path for path in examples if path.stem == "frog")
    expected = inspector.inspect(fit(read_picture(frog)).pixels)
    values = json.loads((tmp_path / "frog.json").read_text())
    np.testing.assert_allclose(
        values["dmb"]["blocks"]["layer3.1"]["factors"], expected.dmb.blocks[5].factors, rtol=1e-5
    )

    other = visit("?tab=take-away")
    other.locator("input[type=file][accept*='json']").set_input_files(tmp_path / "frog.json")
    expect(other.locator("#failure")).to_contain_text("Shown from a file, not computed here")
    expect(other.locator("#top-dmb h2")).to_have_text(expected.dmb.predicted_name)
    other.get_by_role("tab", name="Attribution").click()
    expect(other.locator("#attribution-status")).to_contain_text("from the file")
    wait_for_map(other, "#attribution-dmb", values["attribution"]["dmb"]["map"])
    np.testing.assert_allclose(
        heatmap(other, "#attribution-dmb"), values["attribution"]["dmb"]["map"], rtol=1e-4, atol=1e-6
    )
    other.locator("#examples button").first.click()  # and on with a picture of this page
    expect(other.locator("#failure")).to_be_hidden()
    expect(other.locator("#attribution-status")).to_contain_text("Saliency for")


def test_another_file_than_a_result_is_refused_in_a_sentence(visit, first_example, tmp_path):
    page = visit("?tab=take-away")
    (tmp_path / "other.json").write_text('{"hello": [1, 2, 3]}')
    page.locator("input[type=file][accept*='json']").set_input_files(tmp_path / "other.json")
    expect(page.locator("[data-testid='toast-body']").first).to_contain_text("This is no export of this program")
    expect(page.locator("#top-dmb h2")).to_have_text(first_example.dmb.predicted_name)

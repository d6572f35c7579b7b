"""An exported page, opened from a file in a real browser that can reach no host."""

from __future__ import annotations

import json

import numpy as np
import pytest

from abn.app.export import to_html
from abn.app.figures import drawing

expect = pytest.importorskip("playwright.sync_api").expect


@pytest.fixture(scope="module")
def report(export, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_bytes(to_html(export))
    return path


@pytest.fixture
def opened(browser, report):
    """Opens the page, with options of a browser context; a request to any host or a complaint fails the test."""
    strangers, complaints, contexts = [], [], []

    def route(handler):
        if handler.request.url.startswith("file://"):
            handler.continue_()
        else:
            strangers.append(handler.request.url)
            handler.abort()

    def open_page(script="", **options):
        context = browser.new_context(offline=True, **options)
        context.set_default_timeout(120_000)
        contexts.append(context)
        context.route("**/*", route)
        if script:
            context.add_init_script(script)
        page = context.new_page()
        page.on("request", lambda r: r.url != report.as_uri() and strangers.append(r.url))
        page.on("console", lambda m: complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(report.as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in strangers if not url.startswith(("blob:", "data:"))] == []
    assert complaints == []


def test_the_page_shows_what_was_found_offline(opened, export):
    page = opened(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page.locator("html[data-drawn=yes]").wait_for()
    first, second = export.result.networks
    verdict = (
        f"both say {first.predicted_name}" if export.result.agree
        else f"{first.label} says {first.predicted_name}, {second.label} {second.predicted_name}"
    )  # fmt: skip
    expect(page.locator("h1")).to_have_text(f"spot.png: {verdict}")
    for network in export.result.networks:
        share = f"{100 * network.probabilities.max():.1f} %"
        row = page.locator("tr", has=page.get_by_text(network.predicted_name, exact=True)).filter(has_text=share)
        expect(row.first).to_be_visible()
    rows = page.evaluate(
        "Array.from(document.getElementById('factors-dmb')._fullData[0].z, r => Array.from(r, v => v ?? NaN))"
    )
    for row, block in zip(rows, drawing.block_factors(export.result.dmb), strict=True):
        np.testing.assert_allclose(row[: len(block.factors)], block.deviation, rtol=1e-5)
    for name in ("gates-dmb", "attribution-baseline", "attribution-dmb", "attribution-difference", "responses"):
        expect(page.locator(f"#{name} .main-svg").first).to_be_visible()
    delta = export.attribution.dmb.convergence_delta.item()
    expect(page.get_by_text(f"Convergence delta {delta:+.3g} (logit units).")).to_be_visible()
    expect(page.locator("#manifest")).to_contain_text(export.manifest.dmb.weights_sha256)
    embedded = json.loads(page.locator("#abn-manifest").text_content())
    assert embedded["pixels_sha256"] == export.manifest.pixels_sha256
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    fill = page.evaluate("getComputedStyle(document.querySelector('#responses .main-svg text')).fill")
    assert fill == "rgb(230, 237, 243)"


def test_a_narrow_light_page_does_not_scroll_sideways(opened):
    page = opened(viewport={"width": 390, "height": 800}, color_scheme="light")
    page.locator("html[data-drawn=yes]").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_a_browser_that_cannot_unpack_the_figures_says_so_and_keeps_the_numbers(opened, export):
    page = opened("delete window.DecompressionStream")
    expect(page.locator("#undrawn")).to_contain_text("The figures could not be drawn (DecompressionStream")
    expect(page.locator("#manifest")).to_contain_text(export.manifest.baseline.weights_sha256)

"""The page for everyone: by keyboard, by screen reader, in both themes, on every width."""

from __future__ import annotations

import re
import threading
from collections import Counter

import pytest

from abn.app.export import to_html
from abn.app.figures import regions
from abn.app.inspector.inspector import Inspector
from abn.app.pictures.fitting import fit
from abn.app.pictures.reading import read_picture
from abn.ui import words
from abn.ui.names import PLOTS
from abn.ui.tabs.factors import block_factors

expect = pytest.importorskip("playwright.sync_api").expect
TABS = ("factors", "gates", "attribution", "responses", "take-away", "results", "glossary")
WIDTHS = (390, 768, 1280, 1920)

# What axe finds and this page cannot mend, as (rule, part of the element's HTML).
GRADIOS_OWN = (("nested-interactive", 'class="toast-header'),)  # a message's button to close it lies in another

FOCUS = """() => {
  const e = document.activeElement, style = getComputedStyle(e);
  return {
    name: e.getAttribute('aria-label') || e.getAttribute('alt') || e.textContent.trim() || e.querySelector('img')?.alt
      || e.value || '',
    role: e.getAttribute('role') || e.type || e.tagName, within: e.closest('[id]')?.id || '',
    seen: e !== document.body && style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2,
  };
}"""

# Boxes of visible parts, none of which holds another: no two may share more than a pixel's breadth.
OVERLAPS = """() => {
  const boxes = [...document.querySelectorAll('main .block, main button')]
    .filter(e => e.checkVisibility({opacityProperty: true, visibilityProperty: true}) && !e.querySelector('.block')
      && !e.closest('.modebar, .hide, .sr-only'))
    .map(e => [e, e.getBoundingClientRect()]).filter(([, box]) => box.width > 1 && box.height > 1);
  const found = [], name = e => e.id || e.textContent.trim().slice(0, 40) || e.className;
  boxes.forEach(([a, r], i) => boxes.slice(i + 1).forEach(([b, s]) => {
    const wide = Math.min(r.right, s.right) - Math.max(r.left, s.left);
    const high = Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top);
    if (wide > 1 && high > 1 && !a.contains(b) && !b.contains(a)) found.push(`${name(a)} and ${name(b)}`);
  }));
  return found;
}"""


def open_tab(page, tab):
    page.locator(f"#tab-{tab}-button").click()
    expect(page.locator(f"#tab-{tab}")).to_be_visible()
    drawn = {
        "gates": "gate-weights", "attribution": "attribution-difference", "responses": "responses",
        "results": "audit-conditions",
    }.get(tab)  # fmt: skip
    if drawn:
        page.locator(f"#{drawn} .main-svg").first.wait_for()


def wait_for_mode(page, mode):
    page.wait_for_function(
        "m => document.querySelector('#factor-heatmap .js-plotly-plot')?.layout?.meta?.mode === m", arg=mode
    )


# --- axe ---


def serious(page, axe):
    """What axe finds that is serious or worse, but for what is known of Gradio: (rule, HTML, why)."""
    found = []
    for violation in axe.run(page).response["violations"]:
        for node in violation["nodes"]:
            known = any(rule == violation["id"] and part in node["html"] for rule, part in GRADIOS_OWN)
            if violation["impact"] in ("serious", "critical") and not known:
                found.append((violation["id"], node["html"][:200], node["failureSummary"]))
    return found


def open_accordions(page):
    """Whatever is folded away on the tab that is open."""
    for _ in range(10):
        folded = page.locator("button.label-wrap:not(.open):visible")
        if not folded.count():
            return
        folded.first.click()
    raise AssertionError("an accordion does not open")


def wait_until_still(page):
    """Until nothing is computed or fades in any more, so that texts have the contrast they keep."""
    page.wait_for_function(
        "[...document.querySelectorAll('[data-testid=status-tracker]')]"
        ".every(e => !/processing|queue/.test(e.innerText))"
    )
    page.wait_for_timeout(700)  # what is computed no more fades out after as long
    page.wait_for_function(
        "document.getAnimations().every(a => a.playState === 'finished'"
        " || a.effect.getComputedTiming().endTime === Infinity)"
    )


@pytest.mark.parametrize(("theme", "width"), [("light", 1280), ("dark", 1280), ("light", 390)])
def test_axe_finds_nothing_serious(visit, theme, width):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(f"?__theme={theme}", theme=theme, width=width)
    assert page.evaluate("document.body.classList.contains('dark')") is (theme == "dark")
    found = []
    for tab in TABS:
        open_tab(page, tab)
        open_accordions(page)
        if tab == "factors":  # a slow method's options, and a list that is open
            page.locator("#method input").click()
            page.get_by_role("option", name="SmoothGrad").click()
        wait_until_still(page)
        found += [(tab, *each) for each in serious(page, axe)]
    assert found == []


def test_axe_finds_nothing_serious_where_something_was_refused(page, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    page.locator("#picture input[type=file]").set_input_files(broken)
    expect(page.locator(".toast-body").first).to_be_visible()
    wait_until_still(page)
    assert serious(page, axe) == []


def test_axe_finds_nothing_serious_in_an_exported_page(browser, export, tmp_path):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    report = tmp_path / "report.html"
    report.write_bytes(to_html(export))
    found = []
    for theme, width in (("light", 1280), ("dark", 390)):
        context = browser.new_context(
            offline=True, color_scheme=theme, viewport={"width": width, "height": 900}, bypass_csp=True
        )  # axe is a script that the page's own policy would refuse
        page = context.new_page()
        page.goto(report.as_uri())
        page.locator("html[data-drawn=yes]").wait_for(timeout=120_000)
        page.locator("summary").click()
        found += [(theme, *each) for each in serious(page, axe)]
        context.close()
    assert found == []


# --- names ---


def test_every_plot_has_a_name_also_after_it_was_drawn_again(page):
    for tab in TABS[:-1]:
        open_tab(page, tab)
    drawing = page.locator("#factor-heatmap .main-svg").first
    expect(drawing).to_have_attribute("aria-label", PLOTS["factor-heatmap"])
    expect(page.locator("#attribution-dmb .main-svg").first).to_have_attribute(
        "aria-label", PLOTS["attribution-dmb"].format(network="ResNet-DMB")
    )
    expect(page.locator("#attribution-difference .main-svg").first).to_have_attribute(
        "aria-label", PLOTS["attribution-difference"].format(title="ResNet-DMB minus ResNet-S")
    )
    plots = page.locator(".js-plotly-plot")
    expect(plots).to_have_count(len(PLOTS))
    expect(plots.locator(".main-svg[role=img]")).to_have_count(len(PLOTS))
    open_tab(page, "factors")
    page.locator("#channel input").fill("7")
    page.keyboard.press("Enter")
    expect(page.locator("#channel-sum .main-svg").first).to_have_attribute(
        "aria-label", PLOTS["channel-sum"].format(block="layer1.0", channel=7)
    )


def test_groups_accordions_and_examples_have_names(page, examples):
    expect(page.get_by_role("radiogroup", name="Show each factor as")).to_be_visible()
    expect(page.get_by_role("group", name="ResNet-DMB: its highest classes")).to_be_visible()
    expect(page.get_by_role("button", name=f"Example 3 of {len(examples)}: {examples[2].stem}")).to_be_visible()
    accordion = page.get_by_role("button", name="All channels, to sort and to search")
    expect(accordion).to_have_attribute("aria-expanded", "false")
    accordion.click()
    expect(accordion).to_have_attribute("aria-expanded", "true")
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.get_by_role("main").count() == 1
    assert page.get_by_role("heading", level=1).count() == 1


def test_the_attribution_maps_are_said_in_numbers_too(page, inspector, first_example):
    open_tab(page, "attribution")
    maps = inspector.attribute(first_example.pixels, first_example.dmb.predicted_name, None, "saliency", {}).maps
    found = [regions(values) for values in (*maps, maps[1] - maps[0])]
    said = page.locator("#attribution-regions")
    for label, parts in zip(("ResNet-S", "ResNet-DMB", "ResNet-DMB minus ResNet-S"), found, strict=True):
        expect(said).to_contain_text(words.regions(label, parts, adds_up=False).replace("*", ""))
    page.get_by_role("button", name="The maps in numbers").click()
    for column, parts in enumerate(found, start=2):
        cell = page.locator(f"#attribution-table [data-testid='cell-6-{column}']")
        expect(cell).to_have_text(f"{parts[6].value(False):+.4g}")


# --- keyboard ---


def tab_to(page, name, stops=90):
    """Press Tab until the element of that name has the focus, which has to be in sight at every stop."""
    for _ in range(stops):
        page.keyboard.press("Tab")
        at = page.evaluate(FOCUS)
        assert at["seen"], at
        if re.search(name, at["name"]) or re.search(name, at["within"]):
            return at
    raise AssertionError(f"{name!r} was not reached within {stops} stops")


def test_the_keyboard_alone_chooses_an_example_a_way_to_show_it_and_a_channel(page, inspector, examples):
    tab_to(page, f"^Example 4 of {len(examples)}")
    page.keyboard.press("Enter")
    seen = inspector.inspect(fit(read_picture(examples[3])).pixels)
    expect(page.locator("#agreement")).to_contain_text(f"{100 * seen.dmb.probabilities.max():.1f} %")

    # A plot that is drawn anew takes the focus of its buttons along: each is waited for before Tab goes on.
    page.wait_for_function(
        "v => Math.abs((document.querySelector('#factor-heatmap .js-plotly-plot')?._fullData?.[0].z[0][0] ?? NaN)"
        " - v) < 1e-3",
        arg=float(block_factors(seen.dmb)[0].deviation[0]),
    )
    expect(page.locator("#channel-text")).to_contain_text(
        f"linear term {seen.dmb.block('layer1.0').channel_sum(0).linear_term:+.5f}"
    )
    tab_to(page, "^factor-mode$")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    wait_for_mode(page, "percentile")
    tab_to(page, "^Block$")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.locator("#block input")).not_to_have_value("layer1.0")
    block = page.locator("#block input").input_value()
    tab_to(page, "^Channel$")
    expect(page.get_by_role("option")).to_have_count(0)  # no list stays open over the page
    page.keyboard.press("Control+a")
    page.keyboard.type("17")
    page.keyboard.press("Tab")
    exact = seen.dmb.block(block).channel_sum(17)
    expect(page.locator("#channel-text")).to_contain_text(f"{block} channel 17: linear term {exact.linear_term:+.5f}")


def test_a_picture_that_does_nothing_when_pressed_is_no_stop(page):
    shown = page.locator("#sees .image-container > button:has(img)")
    expect(shown).to_have_attribute("tabindex", "-1")


def test_the_keyboard_alone_opens_a_row_an_accordion_and_a_tab(page):
    tab_to(page, "^Gate weights$")
    page.keyboard.press("Enter")
    expect(page.locator("#gates-text")).to_contain_text("The gate weights stay within")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    at = tab_to(page, "^unusual-channels$", stops=30)
    while at["role"] != "gridcell":
        at = tab_to(page, "^unusual-channels$", stops=1)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    block, channel = (page.locator(f"#unusual-channels [data-testid='cell-1-{i}']").inner_text() for i in (0, 1))
    expect(page.locator("#channel-text")).to_contain_text(f"{block.strip()} channel {channel.strip()}:")
    tab_to(page, "^All channels")
    page.keyboard.press("Enter")
    expect(page.locator("#all-channels [data-testid='cell-0-0']")).to_be_visible()


# --- widths ---


# Plots follow the width of their tab, a moment later.
FITTED = """() => [...document.querySelectorAll('.js-plotly-plot')].filter(e => e.checkVisibility()).every(plot => {
  const width = e => e.getBoundingClientRect().width, drawing = plot.querySelector('.main-svg');
  return drawing && Math.abs(width(drawing) - width(plot)) <= 1 && width(plot) <= width(plot.parentElement) + 1;
})"""


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overlaps_or_scrolls_sideways(visit, width):
    page = visit(width=width)
    for tab in TABS:
        open_tab(page, tab)
        open_accordions(page)
        page.wait_for_function(FITTED)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, tab
        assert page.evaluate(OVERLAPS) == [], tab


# Texts of visible plots that lie under plotly's own buttons.
COVERED = """() => [...document.querySelectorAll('.js-plotly-plot')].filter(e => e.checkVisibility()).flatMap(plot =>
{
  const bar = plot.querySelector('.modebar').getBoundingClientRect();
  return [...plot.querySelectorAll('.main-svg text')].filter(text => {
    const box = text.getBoundingClientRect();
    return box.width && Math.min(bar.right, box.right) - Math.max(bar.left, box.left) > 1
      && Math.min(bar.bottom, box.bottom) - Math.max(bar.top, box.top) > 1;
  }).map(text => text.textContent);
})"""


@pytest.mark.parametrize("width", [390, 1280])
def test_no_plots_buttons_cover_its_texts(visit, width):
    page = visit(width=width)
    for tab in TABS[:-1]:
        open_tab(page, tab)
        page.wait_for_function(FITTED)
        assert page.evaluate(COVERED) == [], tab


def test_a_colour_bar_keeps_its_colours_when_the_address_changes(page):
    page.get_by_text("raw factor", exact=True).click()
    page.wait_for_function("new URL(location.href).searchParams.get('show') === 'raw'")
    wait_for_mode(page, "raw")
    fill = page.locator("#factor-heatmap .cbfill").first.evaluate("e => e.style.fill")
    # A reference with an address in it means another page as soon as the address here is another.
    assert re.fullmatch(r"""url\(["']?#[\w-]+["']?\)""", fill), fill


# --- waiting ---


def test_who_waits_is_told_so(page, monkeypatch):
    go_on, inspect = threading.Event(), Inspector.inspect

    def slow(self, pixels):
        assert go_on.wait(60)
        return inspect(self, pixels)

    monkeypatch.setattr(Inspector, "inspect", slow)
    try:
        page.locator("#examples button").nth(2).click()
        expect(page.locator("#agreement [data-testid=status-tracker]")).to_contain_text("processing")
        expect(page.locator("#agreement [data-testid=status-tracker]")).to_have_css("opacity", "1")
    finally:
        go_on.set()
    expect(page.locator("#agreement [data-testid=status-tracker]")).to_have_css("opacity", "0")


def test_who_waits_for_others_is_told_the_place(visit, monkeypatch):
    """Four at once are inspected; of those who come then, each is told how many are before."""
    go_on, inspect = threading.Event(), Inspector.inspect
    pages = [visit() for _ in range(6)]

    def slow(self, pixels):
        assert go_on.wait(60)
        return inspect(self, pixels)

    monkeypatch.setattr(Inspector, "inspect", slow)
    try:
        for page in pages:
            page.locator("#examples button").nth(2).click()
        for _ in range(20):
            said = [page.locator("#agreement [data-testid=status-tracker]").inner_text() for page in pages]
            places = Counter(re.search(r"processing|queue: .|$", text)[0] for text in said)
            if places == {"processing": 4, "queue: 1": 1, "queue: 2": 1}:
                break
            pages[0].wait_for_timeout(1000)
        else:
            raise AssertionError(said)
    finally:
        go_on.set()
    for page in pages:
        expect(page.locator("#agreement [data-testid=status-tracker]")).to_have_css("opacity", "0")

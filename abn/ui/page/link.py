"""The address in the browser as a link to what the page shows: settings, channel, and a picture it can have again."""

from __future__ import annotations

import html
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import anyio
import anyio.to_thread
import gradio as gr
from gradio.components import Component

from abn.app.inspector.visitors import MOST_AT_ONCE, MOST_SECONDS, MOST_WAITING, BusyError, Pair, Pairs
from abn.checkpoints.info import CheckpointError
from abn.checkpoints.sources import HubSource
from abn.common.memory import DeviceMemoryError
from abn.common.texts import escape
from abn.interpret.attribution.methods import Option, named_options
from abn.interpret.reference.file import ReferenceFileError
from abn.ui import about
from abn.ui.edge import as_gradio_error
from abn.ui.events import HIDDEN
from abn.ui.page.latest import Latest, Superseded
from abn.ui.page.pair_state import PairState
from abn.ui.page.picture_column import Origins
from abn.ui.page.picture_input import PictureInput
from abn.ui.page.shown import Compared, Refit, Shown, compared_networks
from abn.ui.tabs.attribution_controls import AttributionControls

LARGEST = 10**6  # of a whole number; no network has as many channels
LONGEST = 200  # characters of a value; nothing that a link can say is longer
MOST_LINKS = 60
"""That wait for their networks at a time. Each holds a place among the events that are worked on at once, of which
others need some."""
AGAIN = 1.0  # seconds until a link's networks are tried again while the server loads others

# What happens on the page before the link was read is not yet the visitor's doing.
READ = "() => { window.linkWasRead = true; }"

# Settings that are as the page opens with them stay out of the address.
WRITE = """(...values) => {{
  if (!window.linkWasRead) return;
  const names = {names}, usual = {usual}, url = new URL(location.href);
  names.forEach((name, i) => {{
    const value = values[i];
    if (value === null || value === undefined || value === '' || value === usual[i]) url.searchParams.delete(name);
    else url.searchParams.set(name, value);
  }});
  history.replaceState(history.state, '', url);
}}"""

WRITE_TAB = """() => {{
  if (window.linkWasRead) {{
    const url = new URL(location.href);
    url.searchParams.set('tab', '{tab}');
    history.replaceState(history.state, '', url);
  }}
  ({after})();
}}"""

# Said by the button itself, for a moment, and by a screen reader whose place is on it.
COPY = """() => {
  const asked = () => window.prompt('The link to this page:', location.href);
  const button = document.querySelector('#copy-link');
  const told = () => {
    button.textContent = 'Copied';
    setTimeout(() => { button.textContent = 'Copy the link'; }, 2000);
  };
  if (navigator.clipboard) navigator.clipboard.writeText(location.href).then(told, asked); else asked();
}"""


def pair_places(pair: Pair) -> list[str]:
    """(left, right) as a link names them: Hub ids with their commit, "" for the app's own and for a folder."""
    places = [choice and choice.place for choice in (pair.baseline, pair.dmb)]
    return [str(place) if isinstance(place, HubSource) else "" for place in places]


def note(seen: Shown) -> str:
    """How much of what is shown the address carries, in words."""
    if seen.opened is not None:
        return about.LINK_OPENED
    said = about.LINK_SHOWN if seen.origin else about.LINK_UPLOAD
    chosen = filter(None, (seen.pair.baseline, seen.pair.dmb))
    return said if all(isinstance(one.place, HubSource) for one in chosen) else f"{said} {about.LINK_FOLDER}"


def parse(component: Component, option: Option | None, text: str) -> Any:
    """A setting's value from a link.

    Args:
        option: what the component sets, where it is an option of a method.

    Raises:
        ValueError: for a value that the component or the option does not take.
    """
    if option is not None and option.kind != "choice":
        return option.check(json.loads(text))
    if isinstance(component, gr.Number):
        return min(max(int(text), 0), LARGEST)
    if isinstance(component, gr.Slider):
        value = float(text)
        if not component.minimum <= value <= component.maximum:
            raise ValueError(text)
        return value
    if isinstance(component, gr.Checkbox):
        return {"true": True, "false": False}[text]
    if text not in [value for _, value in component.choices]:
        raise ValueError(text)
    return text


def build(
    page: gr.Blocks,
    pairs: Pairs,
    origins: Origins,
    pair: PairState,
    shown: gr.State,
    picture: PictureInput,
    places: Mapping[str, gr.Textbox],
    notice: gr.Markdown,
    controls: AttributionControls,
    settings: Mapping[str, Component],
    tabs: gr.Tabs,
    refit: Refit,
    choices: Latest,
) -> None:
    """Read a link's settings when the page opens, and write them when they change.

    Args:
        places: out of sight: "picture", the shown picture's origin; "left" and "right", as `pair_places` names them.
        notice: says that the link's networks are being loaded, until they are.
        settings: beside those of `controls`, by the name they have in a link.
        refit: everything that has the networks' names in it.
        choices: the link's networks change nothing where the visitor has chosen others meanwhile.
    """
    options = {name: option for name, (_, option) in named_options(controls.methods).items()}
    settings = {
        "target": controls.target, "against": controls.against, "method": controls.method, **controls.options,
        **settings,
    }  # fmt: skip
    tab_names = [tab.id for tab in tabs.children]
    # Of their own: a link that many open at once takes no thread that other visitors' events need.
    threads = anyio.CapacityLimiter(MOST_AT_ONCE + MOST_WAITING)
    waiting: set[int] = set()

    def load(names: list[str]) -> tuple[Pair, Compared, list[str]]:
        # Whoever made the link does not get to look for folders on this machine.
        chosen = pairs.choose(*names, folders=False)
        inspector = pairs.inspector(chosen)
        return chosen, compared_networks(inspector), pairs.notices(inspector)

    async def choose(request: gr.Request, number: int, names: list[str]) -> tuple[Pair, Compared, list[str]]:
        """The networks of a link, as soon as there is a place: all of a class may open it in the same minute."""
        if len(waiting) >= MOST_LINKS:
            raise BusyError("other links' networks are being loaded just now; open it again in a minute")
        waiting.add(number)
        ends = anyio.current_time() + MOST_SECONDS
        try:
            while True:
                try:
                    return await anyio.to_thread.run_sync(load, names, limiter=threads)
                except BusyError:
                    if anyio.current_time() > ends:
                        raise
                choices.require(request.session_hash, number)
                await anyio.sleep(AGAIN)
        finally:
            waiting.discard(number)

    async def open_networks(request: gr.Request) -> AsyncIterator[list[Any]]:
        """First the networks: the classes a link may name are theirs."""
        asked = [_value(request, name) for name in ("left", "right")]
        unchanged = [gr.skip()] * (3 + len(refit.components))
        if not any(asked):
            yield [gr.skip(), *unchanged]  # of an event that yields nothing, Gradio empties the outputs
            return
        names = " and ".join(filter(None, asked))
        yield [gr.Markdown(escape(about.LINK_LOADING.format(names=names)), visible=True), *unchanged]
        loaded = gr.Markdown(visible=False)
        number = choices.begin(request.session_hash)
        try:
            chosen, compared, notices = await choose(request, number, asked)
            choices.require(request.session_hash, number)
        except Superseded:
            yield [loaded, *unchanged]
            return
        except (CheckpointError, ReferenceFileError, DeviceMemoryError) as error:
            gr.Warning(html.escape(about.LINK_NETWORKS.format(reason=error), quote=False))
            yield [loaded, *unchanged]
            return
        for said in notices:
            gr.Warning(html.escape(said, quote=False))
        yield [loaded, chosen, *pair_places(chosen), *refit.update(compared)]

    @as_gradio_error
    def open_link(request: gr.Request, own_picture: Any, seen: Shown | None, pair: Pair) -> list[Any]:
        refused, values = [], []
        inspector = pairs.inspector(pair, at_hand=True)
        class_names = inspector.class_names
        # What the linked networks offer, where it is other than what the page was built with.
        offered = dict(zip(refit.components, refit.update(compared_networks(inspector)), strict=True))
        for name, component in settings.items():
            text = _value(request, name)
            try:
                if not text:
                    values.append(gr.skip())
                elif name in ("target", "against"):
                    values.append(class_names[class_names.index(text)])
                else:
                    fresh = offered.get(component)
                    taken = fresh if isinstance(fresh, Component) else component
                    values.append(parse(taken, options.get(name), text))
            except (ValueError, KeyError):  # JSON's errors among them
                refused.append(f"{name}={text}")
                values.append(gr.skip())
        origin = _value(request, "picture")
        found = origins.picture(origin) if origin else origins.first
        if found is None:
            refused.append(f"picture={origin}")
            found = origins.first
        if refused:
            gr.Warning(html.escape(about.LINK_REFUSED.format(what=", ".join(refused)), quote=False))
        tab = _value(request, "tab")
        # A visitor on a slow line may have sent a picture of their own by then, or opened a file.
        own = own_picture is not None or (seen is not None and seen.opened is not None)
        return [
            gr.skip() if own or found is None else found,
            gr.Tabs(selected=tab) if tab in tab_names else gr.skip(),
            *values,
        ]

    # No limit here but MOST_LINKS: a link's slow network is not to keep other visitors' pages from opening.
    opened = page.load(
        open_networks,
        None,
        [notice, pair, places["left"], places["right"], *refit.components],
        concurrency_limit=None,
        **HIDDEN,
    )
    read = opened.then(open_link, [picture, shown, pair], [picture, tabs, *settings.values()], **HIDDEN)
    read.then(None, None, None, js=READ, api_visibility="private")

    written = {**places, **settings}
    usual = [component.value for component in written.values()]
    gr.on(
        [component.change for component in written.values()], None, list(written.values()), None,
        js=WRITE.format(names=json.dumps(list(written)), usual=json.dumps(usual)), api_visibility="private",
    )  # fmt: skip


def _value(request: gr.Request, name: str) -> str:
    return str(request.query_params.get(name, ""))[:LONGEST]


def follow_tab(tab: gr.Tab, name: str, after: str) -> None:
    """Write the tab that is opened into the address.

    Args:
        after: JavaScript, a function to call then.
    """
    tab.select(None, None, None, js=WRITE_TAB.format(tab=name, after=after), api_visibility="private")

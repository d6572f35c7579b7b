"""A page is served to strangers only where everything that guards it takes effect."""

from __future__ import annotations

import inspect
from importlib import import_module

import gradio as gr
import pytest
from gradio import route_utils, routes

from abn.ui import mcp_tools, serving
from abn.ui.hardening.harden import harden
from abn.ui.hardening.internals import READ, REPLACED, VALUES, NotHardenedError, first_difference, follow
from abn.ui.page.picture_input import GuardedBlocks


@pytest.fixture
def page(tmp_path, monkeypatch):
    # As a fresh process has them, whatever other pages of this one have replaced; and so again afterwards.
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    for owner, name in ((routes, "cancel_tasks"), (routes, "safe_aclose_iterator"), (route_utils, "get_fn"),
                        (route_utils, "GradioMultiPartParser")):  # fmt: skip
        monkeypatch.setattr(owner, name, _original(getattr(owner, name)))
    with GuardedBlocks(analytics_enabled=False, delete_cache=(60, 60)) as page:
        number = gr.Number(1)
        gr.Button().click(lambda n: n + 1, number, number, api_name="next")
    page.queue()
    return page


def _original(found):
    from abn.ui.hardening import limits, queue_guard

    ours = {
        queue_guard._cancel: queue_guard._cancel_tasks, queue_guard._known: queue_guard._get_fn,
        queue_guard._close_iterator: import_module("gradio.utils").safe_aclose_iterator,
        limits.UploadParser: limits.GradioMultiPartParser,
    }  # fmt: skip
    return ours.get(found, found)


def owner_of(module: str, name: str):
    *owners, last = name.split(".")
    return follow(import_module(module), ".".join(owners)) if owners else import_module(module), last


def test_this_gradio_is_as_it_is_expected(page):
    assert set(harden(page, ["slow"])) == {"middleware", "lifespan"}
    assert route_utils.GradioMultiPartParser.__module__ == "abn.ui.hardening.limits"


@pytest.mark.parametrize(("module", "name", "parameters"), REPLACED)
def test_a_renamed_target_is_refused_by_name_and_nothing_is_replaced(page, monkeypatch, module, name, parameters):
    cancel = routes.cancel_tasks
    owner, last = owner_of(module, name)
    if last == "__init__":  # which every class has, if not its own
        monkeypatch.setattr(owner, last, None)
    else:
        monkeypatch.setattr(owner, f"{last}_renamed", getattr(owner, last), raising=False)
        monkeypatch.delattr(owner, last)
    with pytest.raises(NotHardenedError, match=f"not served to strangers: {module}.{name} is missing in Gradio"):
        harden(page, [])
    assert "push" not in vars(page._queue) and getattr(routes, "cancel_tasks", cancel) is cancel


@pytest.mark.parametrize(("module", "name", "parameters"), REPLACED)
def test_a_target_with_other_parameters_is_refused(page, monkeypatch, module, name, parameters):
    owner, last = owner_of(module, name)

    def changed(*something_else):
        raise AssertionError("not called")

    changed.__module__ = module
    assert list(inspect.signature(changed).parameters) != parameters.split()
    monkeypatch.setattr(owner, last, changed)
    with pytest.raises(NotHardenedError, match=f"{module}.{name} takes \\(something_else\\), not"):
        harden(page, [])


@pytest.mark.parametrize("name", READ)
def test_an_attribute_that_is_read_and_missing_is_refused(page, monkeypatch, name):
    owners, _, last = name.rpartition(".")
    owner = follow(page, owners) if owners else page
    holders = [owner, *type(owner).__mro__]
    monkeypatch.delattr(next(each for each in holders if last in vars(each)), last)
    with pytest.raises(NotHardenedError, match=f"gradio.Blocks.{name} is missing"):
        harden(page, [])


@pytest.mark.parametrize(("module", "name", "kind"), VALUES)
def test_a_value_of_another_kind_is_refused(page, monkeypatch, module, name, kind):
    monkeypatch.setattr(*owner_of(module, name), ())
    with pytest.raises(NotHardenedError, match=f"{module}.{name} is no {kind.__name__}"):
        harden(page, [])


def test_the_app_says_so_and_does_not_serve(page, monkeypatch):
    launched = []
    monkeypatch.setattr(page, "launch", lambda **options: launched.append(options))
    monkeypatch.delattr(route_utils, "get_fn")
    with pytest.raises(SystemExit, match="^app.py: this page is not served to strangers: gradio.route_utils.get_fn"):
        serving.serve(page, "127.0.0.1", None, public=True)
    assert launched == []


def test_on_ones_own_machine_the_page_runs_on_plain_gradio(page, monkeypatch):
    before = [getattr(owner, name) for owner, name in ((routes, "cancel_tasks"), (route_utils, "get_fn"))]
    launched = []
    monkeypatch.setattr(page, "launch", lambda **options: launched.append(options) or (None, "http://here/", None))
    assert serving.launch(page, "127.0.0.1", 7860) == "http://here/"
    assert set(launched[0]["app_kwargs"]) == {
        "exception_handlers",
        "middleware",
    }  # the app's own, by Gradio's options
    assert "push" not in vars(page._queue)
    assert before == [getattr(owner, name) for owner, name in ((routes, "cancel_tasks"), (route_utils, "get_fn"))]


def test_mcp_says_what_differs(page, monkeypatch):
    pytest.importorskip("gradio.mcp")
    assert first_difference(mcp_tools.REPLACED) is None
    owner, name = owner_of(*mcp_tools.REPLACED[0][:2])
    monkeypatch.delattr(owner, name)
    page.mcp_server_obj = object()
    with pytest.raises(RuntimeError, match=f"GradioMCPServer.{name} is missing in Gradio"):
        mcp_tools.adapt(page)

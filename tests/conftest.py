"""What tests share: small checkpoints of the real architectures, the served page, and a real browser.

Everything is made here, from a seed: no network, no data set, no trained weights.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pytest
import torch
from torch import nn

from abn.common.data import CLASS_NAMES, MEAN, STD, Cifar10
from abn.models.registry import ARCHITECTURES
from abn.models.resnet import ResNet

Value = TypeVar("Value")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
# Servers of pytest-xdist's workers look for a free port in ranges of their own.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
os.environ["GRADIO_SERVER_PORT"] = str(7860 + 200 * _worker)
torch.set_num_threads(1)  # tests run beside a browser and a server; the networks here are fed single pictures

HOME = Path(__file__).resolve().parents[1]
READY = "#factor-heatmap .js-plotly-plot .heatmaplayer"  # an example has been inspected
CHROMIUM_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]


def pytest_collection_modifyitems(items):
    """Mark what drives a browser, so that `-m "not browser"` runs without one."""
    for item in items:
        if "browser" in item.fixturenames:
            item.add_marker("browser")


def run_apart(coroutine: Coroutine[Any, Any, Value]) -> Value:
    """What a coroutine answers; in a thread of its own, since this one's loop may be the browser's."""
    with ThreadPoolExecutor() as pool:
        return pool.submit(asyncio.run, coroutine).result()


def awake(architecture: str, seed: int = 0) -> ResNet:
    """A network whose banks, gates, statistics and head all do something, as a trained one's do."""
    torch.manual_seed(seed)
    model = ARCHITECTURES[architecture].build()
    for name, parameter in model.named_parameters():
        if "biases" in name or "gate_fc" in name:
            nn.init.normal_(parameter, std=0.5)
    nn.init.normal_(model.linear.weight, std=0.5)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    return model.eval()


@pytest.fixture(scope="session")
def pictures() -> np.ndarray:
    """(60, 32, 32, 3) uint8: smooth random pictures, six a class."""
    coarse = np.random.default_rng(0).integers(0, 256, (60, 4, 4, 3)).astype(np.uint8)
    return coarse.repeat(8, axis=1).repeat(8, axis=2)


@pytest.fixture(scope="session")
def labels() -> np.ndarray:
    return np.arange(60) % len(CLASS_NAMES)


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory, pictures, labels) -> Path:
    """A folder with `resnet-s` and `resnet-dmb`, each with a reference over `pictures`."""
    from abn.checkpoints.store import load_checkpoint, save_checkpoint
    from abn.common.data import to_pixels
    from abn.interpret.reference.file import save_reference
    from abn.interpret.reference.measure import compute_reference

    folder = tmp_path_factory.mktemp("checkpoints")
    for seed, architecture in enumerate(("resnet-s", "resnet-dmb")):
        made = save_checkpoint(awake(architecture, seed), folder / architecture, seed=seed, epochs=1)
        model = load_checkpoint(made)
        reference = compute_reference(
            model, to_pixels(pictures), torch.from_numpy(labels), batch_size=30, class_names=CLASS_NAMES,
            mean=MEAN, std=STD, weights_sha256=model.info.weights_sha256,
        )  # fmt: skip
        save_reference(reference, made)
    return folder


@pytest.fixture(scope="session")
def inspector(checkpoints):
    from abn.app.inspector.inspector import Inspector
    from abn.checkpoints.network import load_network

    networks = [load_network(None, checkpoints / name) for name in ("resnet-s", "resnet-dmb")]
    return Inspector(*networks, torch.device("cpu"))


@pytest.fixture(scope="session")
def export(inspector, pictures):
    """The first picture, inspected and attributed, ready to be written."""
    from abn.app.export import PictureFile, export_of

    pair = inspector.attribute(pictures[0], "dog", "cat", "integrated_gradients", {"steps": 2})
    file = PictureFile("/home/somebody/spot.png", "ab" * 32, (64, 32), "crop", (16, 0, 48, 32))
    return export_of(inspector, inspector.inspect(pictures[0]), pair, file)


@pytest.fixture(scope="session")
def two_modulated(tmp_path_factory):
    """An inspector of two ResNet-DMBs with three classes, K = 2 and 3, and no reference."""
    from abn.app.inspector.inspector import Inspector
    from abn.checkpoints.network import load_network
    from abn.checkpoints.store import save_checkpoint
    from abn.models.resnet import resnet_dmb

    networks = []
    for num_biases in (2, 3):
        torch.manual_seed(num_biases)
        folder = tmp_path_factory.mktemp("modulated") / f"k{num_biases}"
        save_checkpoint(resnet_dmb(3, num_biases).eval(), folder, class_names=["a", "=b()", "<c>"])
        networks.append(load_network(None, folder))
    return Inspector(*networks, torch.device("cpu"))


@pytest.fixture(scope="session")
def examples() -> list[Path]:
    return sorted((HOME / "assets" / "examples").glob("*.png"), key=lambda path: path.stem)


@pytest.fixture(scope="session")
def url(inspector, examples, pictures, labels, tmp_path_factory) -> str:
    """Address of the served page, with `pictures` as its data set and the results of `tests.results_files`."""
    os.environ["GRADIO_TEMP_DIR"] = str(tmp_path_factory.mktemp("uploads"))
    from abn.app.inspector.visitors import Pairs
    from abn.experiment.folder import read_results
    from abn.ui.page.build import build_page
    from abn.ui.serving import free_port, launch
    from tests.results_files import write_results

    data = Cifar10(pictures, labels, pictures, labels)
    results = read_results(write_results(tmp_path_factory.mktemp("results")))
    page = build_page(Pairs(inspector, folders=True), examples, data, results=results)
    yield launch(page, "127.0.0.1", free_port("127.0.0.1"), public=True)
    page.close()


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of huggingface_hub's, which knows no token and no proxy; waits are short."""
    from huggingface_hub import constants

    import abn.checkpoints.hub.download

    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(constants, "AGENT_HARNESSES_PATH", str(tmp_path / "harnesses.json"))
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(abn.checkpoints.hub.download, "RETRY_WAITS", (0.01,))
    return folder


@pytest.fixture
def hub(cache, monkeypatch):
    """A Hub on this machine that holds one repository; huggingface_hub asks it alone."""
    from tests.hub_server import FILES, REPO, HubServer, Repository, use_endpoint

    with HubServer().serving() as server:
        server.repositories[REPO] = Repository()
        server.repositories[REPO].commit(FILES)
        use_endpoint(monkeypatch, server.endpoint)
        yield server


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium; missing, the browser tests are skipped, or fail where CI is set."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        message = "no Chromium on the PATH: install Debian's package chromium to run the browser tests"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="session")
def browser(chromium):
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=CHROMIUM_OPTIONS)
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, url):
    """Opens a fresh visitor's page, every other host out of reach; errors on its console fail the test."""
    here = urlsplit(url).netloc
    contexts, strangers, complaints = [], [], []

    def route(handler):
        if urlsplit(handler.request.url).netloc in {here, ""}:
            handler.continue_()
        else:
            strangers.append(handler.request.url)
            handler.abort()

    def visit(query="", theme="light", width=1280):
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme))
        contexts[-1].set_default_timeout(60_000)
        contexts[-1].route("**/*", route)
        page = contexts[-1].new_page()
        page.on("console", lambda m: m.type in {"error", "warning"} and complaints.append(m.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(url + query)
        page.locator(READY).wait_for(state="attached")
        page.wait_for_function("window.linkWasRead")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert strangers == []
    assert complaints == []


@pytest.fixture
def page(visit):
    return visit()


@pytest.fixture(scope="session")
def first_example(inspector, examples):
    """What the networks make of the picture that the page opens with."""
    from abn.app.pictures.fitting import fit
    from abn.app.pictures.reading import read_picture

    return inspector.inspect(fit(read_picture(examples[0])).pixels)

"""Files kept for pages are whole from the moment they have a name."""

from __future__ import annotations

import threading
from pathlib import Path

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from abn.ui.page.kept_files import KeptImage, keep
from abn.ui.page.picture_input import PictureInput

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)


@pytest.fixture(params=[KeptImage, PictureInput])
def component(request, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with gr.Blocks():
        return request.param(format="png")


@pytest.mark.parametrize("value", [PIXELS, Image.fromarray(PIXELS)], ids=["pixels", "picture"])
def test_a_picture_is_stored_as_it_is_where_gradio_looks_for_it(component, tmp_path, value):
    path = Path(component.postprocess(value).path)
    assert np.array_equal(np.asarray(Image.open(path)), PIXELS)
    assert component.move_resource_to_block_cache(path) == str(path)  # and no second copy
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == [path]
    assert component.temp_files == {str(path)}
    assert component.postprocess(None) is None


def test_its_format_is_the_one_asked_for(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    path = Path(KeptImage(format="webp").postprocess(PIXELS).path)
    assert path.name == "image.webp" and Image.open(path).format == "WEBP"


def test_it_has_gr_images_own_frontend(component):
    assert component.get_block_name() == component.get_block_class() == "image"
    assert component.get_config().keys() == gr.Image().get_config().keys()


def test_of_two_who_are_shown_the_same_each_reads_all_of_it(component):
    path = component.postprocess(PIXELS).path
    content, ended, broken = Path(path).read_bytes(), threading.Event(), []

    def read():
        while not ended.is_set():
            if Path(path).read_bytes() != content:
                broken.append(path)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for _ in range(300):
        assert component.postprocess(PIXELS).path == path
    ended.set()
    for reader in readers:
        reader.join()
    assert broken == []


def test_two_may_store_the_same_file_at_once(component):
    content, paths = PIXELS.tobytes() * 20, []
    start = threading.Barrier(4)

    def store():
        start.wait()
        paths.extend(keep(component, content, "a.bin") for _ in range(50))

    threads = [threading.Thread(target=store) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 200 and len(set(paths)) == 1  # nobody's scratch file was taken away by another
    assert [each.name for each in Path(paths[0]).parent.iterdir()] == ["a.bin"]
    assert Path(paths[0]).read_bytes() == content

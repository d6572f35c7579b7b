"""Mutated files, as `PictureInput` and the networks meet them: a picture or a sentence, and nothing else."""

from __future__ import annotations

import hashlib

import gradio as gr
import numpy as np
import pytest
from gradio.data_classes import ImageData

from abn.app.pictures.fitting import fit
from abn.app.pictures.formats import MAX_PIXELS
from abn.app.pictures.reading import read_picture
from abn.ui.page.picture_input import GuardedBlocks, PictureInput
from benchmarks.mutations import MUTATIONS, TRACE, good_files, mutated

COUNT = 300


@pytest.fixture(scope="module")
def files():
    return good_files(np.random.default_rng(0))


def test_every_file_is_read_before_it_is_mutated(files):
    pixels = {name: np.asarray(read_picture(content)) for name, content in files.items()}
    assert len(pixels) == 35
    upright = {name: image.shape for name, image in pixels.items()}
    assert set(upright.values()) == {(48, 48, 3)}
    np.testing.assert_array_equal(pixels["rgb.png"], pixels["rgb.tiff"])
    np.testing.assert_array_equal(pixels["rgb.png"], pixels["rgb.bmp"])
    turned = np.rot90(pixels["rgb.png"].astype(int), -1)  # quality 75 of a noisy picture, so not to the last bit
    assert (
        np.abs(turned - pixels["exif.jpg"]).mean()
        < np.abs(pixels["rgb.png"].astype(int) - pixels["exif.jpg"]).mean() / 3
    )


def test_mutations_are_the_same_for_the_same_seed_and_all_kinds_occur(files):
    first, second = ([mutated(random, files) for _ in range(COUNT)] for random in map(np.random.default_rng, (1, 1)))
    assert first == second
    assert len({hashlib.sha256(content).digest() for _, content in first}) > 0.95 * COUNT
    names = " ".join(name for name, _ in first)
    assert all(mutation.__name__.lstrip("_") in names for mutation in MUTATIONS)


def test_a_mutated_file_gives_a_picture_or_a_sentence(files, inspector, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    with GuardedBlocks(analytics_enabled=False):
        entrance = PictureInput()
    random, read, refused = np.random.default_rng(2), 0, set()
    for number in range(COUNT):
        name, content = mutated(random, files)
        path = tmp_path / f"{number}-{name}"
        path.write_bytes(content)
        try:
            picture = entrance.preprocess(
                ImageData(path=str(path), orig_name=name, meta={"_type": "gradio.FileData"})
            )
        except gr.Error as error:
            refused.add(error.message)
            continue
        read += 1
        assert picture.mode == "RGB"
        assert picture.width * picture.height <= MAX_PIXELS
        fitted = fit(picture)
        assert fitted.pixels.shape == (32, 32, 3)
        if read % 10 == 0:
            assert np.isfinite(inspector.inspect(fitted.pixels).dmb.probabilities).all()
    assert read > COUNT / 10
    assert len(refused) > 5
    for message in refused:
        assert 20 < len(message) < 500
        assert not TRACE.search(message)
        assert str(tmp_path) not in message

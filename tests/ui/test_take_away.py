"""What the page offers as files: the same as the library writes, of what is shown, under a harmless name."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from abn.app import export
from abn.app.export import PictureFile
from abn.app.inspector.visitors import OWN, Pairs
from abn.ui.page.shown import Shown, compared_in, compared_networks
from abn.ui.tabs.take_away import FILES, exported, file_name


@pytest.fixture(scope="module")
def pairs(inspector):
    return Pairs(inspector, folders=True)


@pytest.fixture(scope="module")
def seen(inspector, pictures):
    return Shown(OWN, inspector.inspect(pictures[3]), PictureFile("my ship.png", "ab" * 32))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("my ship.png", "my-ship"),
        ("example/ship-2", "ship-2"),
        ("../../etc/passwd", "passwd"),
        ('\u202e"><script>.png', "script"),
        ("…", "picture"),
        (None, "picture"),
        ("CON.png", "_CON"),
        ("lpt1.jpg", "_lpt1"),
        ("x" * 300 + ".jpg", "x" * 60),
    ],
)
def test_files_have_harmless_names(seen, name, expected):
    assert file_name(Shown(OWN, seen.result, PictureFile(name))) == expected


def test_maps_are_taken_along_only_if_they_are_this_results(pairs, inspector, seen):
    pair = inspector.attribute(seen.result.pixels, "dog", "cat", "saliency", {})
    other = Shown(OWN, seen.result, seen.file)
    assert exported(pairs, seen, (seen, pair)).attribution is pair
    assert exported(pairs, seen, (other, pair)).attribution is None
    assert exported(pairs, seen, None).attribution is None


def test_what_came_from_a_file_goes_away_as_it_came(pairs, seen):
    found = export.read_export(export.to_json(exported(pairs, seen, None)))
    opened = Shown(OWN, found.result, found.manifest.picture, opened=found)
    assert exported(pairs, opened, None) is found
    assert export.to_json(exported(pairs, opened, None)) == export.to_json(exported(pairs, seen, None))


def test_each_button_makes_its_file(pairs, seen):
    found = exported(pairs, seen, None)
    made = {ending: write(found, "ship") for ending, write in FILES.values()}
    assert json.loads(made[".json"])["dmb"]["predicted"] == seen.result.dmb.predicted_name
    with np.load(io.BytesIO(made[".npz"])) as arrays:
        assert len(arrays.files) > 10
    assert b"<!doctype html>" in made[".html"][:200].lower()
    contents = {
        ending: zipfile.ZipFile(io.BytesIO(data)).namelist() for ending, data in made.items() if "zip" in ending
    }
    assert {name.rpartition(".")[2] for name in contents["-pictures.zip"]} == {"png", "json"}
    assert {name.rpartition(".")[2] for name in contents["-tables.zip"]} == {"csv", "json"}
    assert {name.rpartition(".")[2] for name in contents[".zip"]} == {"png", "csv", "json", "npz", "html"}
    assert all(name.startswith("ship/") for names in contents.values() for name in names)


def test_labels_and_choices_are_those_of_the_networks_or_of_a_result(inspector, seen):
    of_networks, of_result = compared_networks(inspector, own=True), compared_in(seen.result)
    assert of_networks.own
    assert not of_result.own
    for part in ("labels", "class_names", "modulated", "channels"):
        assert getattr(of_networks, part) == getattr(of_result, part)

"""`abn inspect PICTURE … --out DIR` as a person runs it."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from abn.app.bulk import run as bulk
from abn.app.export import document, read_export, write_folder
from abn.app.inspector.inspector import Inspector
from abn.app.pictures.files import find_pictures
from abn.checkpoints import network as bundled
from abn.cli import inspect as command_line
from abn.cli.main import main
from abn.common.files import _beside
from abn.common.memory import DeviceMemoryError
from tests.conftest import HOME


@pytest.fixture
def run(checkpoints, monkeypatch, capsys, tmp_path):
    """Runs the command in `tmp_path` with the tests' checkpoints; answers with exit code, stdout and stderr."""
    monkeypatch.setattr(bundled, "BASELINE", checkpoints / "resnet-s")
    monkeypatch.setattr(bundled, "DMB", checkpoints / "resnet-dmb")
    monkeypatch.delenv("ABN_BASELINE", raising=False)
    monkeypatch.delenv("ABN_DMB", raising=False)
    monkeypatch.chdir(tmp_path)

    def run_command(*arguments):
        with pytest.raises(SystemExit) as caught:
            main(["inspect", *map(str, arguments)])
        return caught.value.code, *capsys.readouterr()

    return run_command


@pytest.fixture
def album(tmp_path, pictures):
    """A folder: a.png, sub/a.png (another picture), sub/copy/a.png (the first again), and what is no picture."""
    folder = tmp_path / "album"
    for place, pixels in (("", pictures[0]), ("sub", pictures[1]), ("sub/copy", pictures[0])):
        (folder / place).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / place / "a.png")
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff half a picture")
    (folder / "notes.txt").write_text("passed over")
    (folder / ".hidden.png").write_bytes(b"passed over too")
    return folder


def bundles(out):
    return sorted(path.name for path in out.iterdir() if path.name != bulk.SUMMARY_FILE)


def test_every_picture_gets_a_bundle_and_the_broken_one_a_sentence(run, album, inspector, pictures, tmp_path):
    out = tmp_path / "out"
    code, said, progress = run(album, "missing.png", "--out", out, "--kinds", "json,csv", "--batch-size", 2)
    assert code == 1
    assert "3 of 5 pictures inspected" in said
    assert "2 of 5 failed:\n  album/broken.jpg: This JPEG file is damaged" in said
    assert "  missing.png: There is no such file" in said
    assert "5/5" in progress
    names = bundles(out)
    assert len(names) == 3 and all(name.startswith("a-") for name in names)
    assert {path.name for path in (out / names[0]).iterdir()} == {
        "manifest.json", "result.json", "probabilities.csv", "factors.csv", "gate_weights.csv", "attribution.csv",
    }  # fmt: skip
    rows = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    assert [row["picture"] for row in rows] == [
        "album/a.png", "album/broken.jpg", "album/sub/a.png", "album/sub/copy/a.png", "missing.png",
    ]  # fmt: skip
    for row, index in ((rows[0], 0), (rows[2], 1), (rows[3], 0)):
        export = read_export((out / row["bundle"] / "result.json").read_bytes())
        assert np.array_equal(export.result.pixels, pictures[index])
        alone = inspector.inspect(pictures[index])
        np.testing.assert_allclose(export.result.dmb.probabilities, alone.dmb.probabilities, atol=1e-5)
        for side, network in zip(("baseline", "dmb"), alone.networks, strict=True):
            assert row[f"{side}_predicted"] == network.predicted_name
            assert float(row[f"{side}_raw_softmax"]) == pytest.approx(network.probabilities.max(), abs=1e-5)
        # Without --target each picture is asked about what the second network says of it.
        assert export.attribution.target == alone.dmb.predicted_name
        pair = inspector.attribute(pictures[index], export.attribution.target, None, "saliency", {})
        np.testing.assert_allclose(export.attribution.maps[1], pair.maps[1], atol=1e-4 * np.abs(pair.maps[1]).max())
        assert row["agree"] == ("yes" if alone.agree else "no")
        assert f"{row['picture']}  " in said
    assert rows[1]["problem"].startswith("This JPEG file is damaged")
    assert rows[3]["bundle"] == f"{rows[0]['bundle']}-2"  # the same file twice


def test_options_reach_every_bundle_and_a_second_run_replaces_the_first(run, album, tmp_path):
    out = tmp_path / "out"
    common = (album / "a.png", "--out", out, "--kinds", "json")
    assert run(*common, "--method", "none")[0] == 0
    (name,) = bundles(out)
    assert read_export((out / name / "result.json").read_bytes()).attribution is None
    code, said, _ = run(
        *common, "--method", "integrated_gradients", "--option", "steps=3", "--option", "baseline=mean",
        "--target", "dog", "--against", "cat", "--fit", "pad",
    )  # fmt: skip
    assert code == 0 and "1 of 1 pictures inspected" in said and "failed" not in said
    assert bundles(out) == [name]
    manifest = read_export((out / name / "result.json").read_bytes()).manifest
    assert manifest.question.options == {"steps": 3, "baseline": "mean"}
    assert (manifest.question.target, manifest.question.against) == ("dog", "cat")
    assert (manifest.picture.name, manifest.picture.size, manifest.picture.fit) == ("a.png", (32, 32), "pad")


def test_pictures_asked_the_same_question_together_keep_their_own_maps(inspector, album, pictures, tmp_path):
    job = bulk.Job(target="dog", method="input_x_gradient", kinds=["json"])
    found = list(find_pictures([album / "a.png", album / "sub" / "a.png"]))
    rows = bulk.run(inspector, found, tmp_path / "out", job)
    for row, pixels in zip(rows, pictures, strict=False):
        maps = read_export((tmp_path / "out" / row.bundle / "result.json").read_bytes()).attribution.maps
        alone = inspector.attribute(pixels, "dog", None, "input_x_gradient", {}).maps
        for values, expected in zip(maps, alone, strict=True):
            np.testing.assert_allclose(values, expected, atol=1e-4 * np.abs(expected).max())


def test_zips_hold_the_same(run, album, tmp_path):
    assert run(album / "a.png", "--out", tmp_path / "out", "--zip", "--kinds", "npz")[0] == 0
    (name,) = bundles(tmp_path / "out")
    assert name.startswith("a-") and name.endswith(".zip")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dmb", "/no/such/folder"), "there is no such folder"),
        (("--device", "tpu"), "device 'tpu' is not to be had"),
        (("--target", "unicorn"), "there is no class 'unicorn'; there are airplane, automobile"),
        (("--target", "dog", "--against", "dog"), "dog is set against itself"),
        (("--kinds", "json,pdf"), "'--kinds': 'pdf' is not one of json, csv, npz, png, html"),
        (("--batch-size", "0"), "'--batch-size': Input should be greater than or equal to 1"),
        (("--option", "steps=3"), "saliency has no option 'steps'; it has none"),
        (("--method", "occlusion", "--option", "window=wide"), "window is 'wide'; expected a whole number"),
        (("--method", "occlusion", "--option", "window"), "--option is 'window'; expected NAME=VALUE"),
        (
            ("--method", "occlusion", "--option", "window=4", "--option", "stride=8"),
            "stride is 8, more than the window's 4 pixels",
        ),
        (("--method", "none", "--option", "a=b"), "--option a=b is given without a method"),
    ],
)
def test_nonsense_ends_in_code_2_before_anything_is_written(run, album, tmp_path, arguments, message):
    code, said, complaint = run(album, "--out", tmp_path / "out", *arguments)
    assert code == 2
    assert said == ""
    assert message in complaint
    assert not (tmp_path / "out").exists()


def test_a_picture_that_says_the_other_class_itself_fails_alone(run, album, inspector, pictures, tmp_path):
    said_itself = inspector.inspect(pictures[0]).dmb.predicted_name
    code, said, _ = run(album / "a.png", "--out", tmp_path / "out", "--kinds", "json", "--against", said_itself)
    assert code == 2  # nothing else was to be done
    assert f"ResNet-DMB says {said_itself} itself; name another class as the target." in said
    assert bundles(tmp_path / "out") == []


FULL = DeviceMemoryError("The memory of cuda:0 is full.")


def failing(monkeypatch, name, error, concerned):
    """Has the inspector's `name` end with an error where `concerned` says so of its first argument."""
    as_it_is = getattr(Inspector, name)

    def fail(inspector, pixels, *arguments):
        if concerned(pixels):
            raise error
        return as_it_is(inspector, pixels, *arguments)

    monkeypatch.setattr(Inspector, name, fail)


def test_a_full_memory_fails_the_batch_it_concerns_and_no_other(run, album, pictures, tmp_path, monkeypatch):
    failing(monkeypatch, "inspect_many", FULL, lambda pixels: (pixels[0] == pictures[1]).all())
    out = tmp_path / "out"
    code, said, _ = run(album, "--out", out, "--kinds", "json", "--batch-size", 1)
    assert code == 1
    assert "2 of 4 pictures inspected" in said
    assert "  album/sub/a.png: The memory of cuda:0 is full." in said
    assert len(bundles(out)) == 2
    rows = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    assert rows[2]["problem"] == "The memory of cuda:0 is full."


def test_a_picture_that_a_network_cannot_answer_fails_and_no_other(run, album, pictures, tmp_path, monkeypatch):
    error = ValueError("ResNet-S answers this picture with NaN or infinity.")
    failing(monkeypatch, "inspect_many", error, lambda pixels: any((each == pictures[1]).all() for each in pixels))
    out = tmp_path / "out"
    code, said, _ = run(album, "--out", out, "--kinds", "csv", "--batch-size", 4)
    assert code == 1
    assert "2 of 4 pictures inspected" in said
    assert "  album/sub/a.png: ResNet-S answers this picture with NaN or infinity." in said
    assert len(bundles(out)) == 2


def test_a_full_memory_fails_the_attribution_of_one_target(run, album, inspector, pictures, tmp_path, monkeypatch):
    first, second = (inspector.inspect(pictures[index]).dmb.predicted_name for index in (0, 1))
    assert first != second  # two targets, so two attributions
    failing(monkeypatch, "attribute_many", FULL, lambda pixels: (pixels == pictures[1]).all())
    code, said, _ = run(album / "a.png", album / "sub" / "a.png", "--out", tmp_path / "out", "--kinds", "json")
    assert code == 1
    assert "1 of 2 pictures inspected" in said and "1 of 2 failed:\n  a.png: The memory of cuda:0 is full." in said


def test_a_bundle_that_cannot_be_written_does_not_stop_the_others(run, album, tmp_path, monkeypatch):
    def full_once(export, folder, kinds):
        if export.manifest.picture.sha256.startswith(first):
            raise OSError(28, "No space left on device")
        write_folder(export, folder, kinds)

    out = tmp_path / "out"
    run(album / "a.png", "--out", out, "--kinds", "json")
    first = bundles(out)[0].removeprefix("a-")
    shutil.rmtree(out)
    monkeypatch.setattr(bulk, "write_folder", full_once)
    code, said, _ = run(album / "a.png", album / "sub" / "a.png", "--out", out, "--kinds", "json")
    assert code == 1
    assert "a.png: Its bundle could not be written (No space left on device); make room" in said
    assert len(bundles(out)) == 1


def test_a_disk_that_is_full_for_the_summary_too_loses_no_word_of_it(run, album, tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    run(album / "a.png", "--out", out, "--kinds", "json")
    monkeypatch.setattr(bulk, "replace_file", full)
    code, said, complaint = run(album / "a.png", album / "broken.jpg", "--out", out, "--kinds", "json")
    assert code == 1
    assert "1 of 2 pictures inspected" in said and "1 of 2 failed:\n  broken.jpg: " in said
    assert "summary.csv could not be written (No space left on device)" in complaint
    assert not (out / "summary.csv").exists()  # the older one is of another run


def test_a_run_that_is_stopped_leaves_a_summary_of_what_it_wrote(run, album, tmp_path, monkeypatch):
    def stop_at_the_second(export, folder, kinds):
        if bundles(out):
            raise KeyboardInterrupt
        write_folder(export, folder, kinds)

    out = tmp_path / "out"
    monkeypatch.setattr(bulk, "write_folder", stop_at_the_second)
    code, _, complaint = run(album / "a.png", album / "sub" / "a.png", "--out", out, "--kinds", "json")
    assert code == 130 and "stopped; every bundle in" in complaint
    (row,) = csv.DictReader((out / "summary.csv").read_text().splitlines())
    assert [row["bundle"]] == bundles(out)


def test_what_a_run_beside_takes_away_while_it_is_swept_does_not_stop_the_sweep(tmp_path, monkeypatch):
    old = tmp_path / ".a-0123abcd.99"
    old.mkdir()
    monkeypatch.setattr(bulk.Path, "lstat", lambda path: (path.stat() and old.rmdir()) or old.stat())
    bulk._sweep(tmp_path)
    assert not old.exists()


def test_a_result_that_could_not_be_opened_again_is_not_written(run, album, tmp_path, monkeypatch):
    monkeypatch.setattr(document, "LARGEST_EXPORT", 100_000)
    out = tmp_path / "out"
    code, said, _ = run(album / "a.png", "--out", out)
    assert code == 2
    assert "  a.png: With bias banks of up to K = 4 vectors, the result.json would have more than the 100,000" in said
    assert bundles(out) == []
    assert run(album / "a.png", "--out", out, "--kinds", "csv,npz")[0] == 0


def test_the_folder_written_to_is_not_read_again(album, tmp_path):
    found = list(find_pictures([album, album / "a.png", album], leave_out=album / "sub"))
    assert [one.shown for one in found] == ["album/a.png", "album/broken.jpg"]
    (tmp_path / "empty").mkdir()
    assert [one.shown for one in find_pictures([tmp_path / "empty"])] == ["empty/"]


def test_names_too_long_for_any_file_fail_alone(run, album, tmp_path):
    code, said, _ = run("x" * 300, album / "a.png", "--out", tmp_path / "out", "--kinds", "csv")
    assert code == 1
    assert "1 of 2 pictures inspected" in said
    assert f"  {'x' * 300}: The file could not be read (File name too long); send a picture as PNG" in said
    code, said, complaint = run(album / "a.png", "--out", "x" * 300)
    assert (code, said) == (2, "")
    assert f"{'x' * 300} cannot be written to (File name too long); name another folder with --out" in complaint


def test_a_link_to_itself_fails_alone(run, album, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "circle.png").symlink_to("circle.png")
    code, said, _ = run(tmp_path / "pictures", album / "a.png", "--out", tmp_path / "out", "--kinds", "csv")
    assert code == 1
    assert "1 of 2 pictures inspected" in said
    assert "pictures/circle.png: The file could not be read" in said


def forbid(monkeypatch, folder):
    """Has the system refuse to look into a folder, as it does for everybody but root."""

    def refusing(name, call):
        def look(path, *arguments, **options):
            if folder in (Path(path), *Path(path).parents) and (name == "scandir" or folder != Path(path)):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path, *arguments, **options)

        return look

    for name in ("stat", "scandir"):
        monkeypatch.setattr(os, name, refusing(name, getattr(os, name)))


def test_what_is_forbidden_is_among_the_failed(run, album, tmp_path, monkeypatch):
    forbid(monkeypatch, album / "sub")
    code, said, _ = run(album, album / "sub" / "a.png", "--out", tmp_path / "out", "--kinds", "csv")
    assert code == 1
    assert "1 of 4 pictures inspected" in said
    assert "  album/sub/: The folder could not be looked into (Permission denied); look at its permissions." in said
    assert "  a.png: The file could not be read (Permission denied)" in said
    assert [(one.shown, one.problem[:35]) for one in find_pictures([album / "sub"])] == [
        ("sub/", "The folder could not be looked into")
    ]


def test_a_forbidden_folder_to_write_to_is_a_sentence(run, album, tmp_path, monkeypatch):
    (tmp_path / "forbidden").mkdir()
    forbid(monkeypatch, tmp_path / "forbidden")
    assert command_line._no_file(tmp_path / "forbidden" / "out").name == "out"


def test_a_files_name_cannot_command_the_terminal(tmp_path):
    name = "a\x1b[2J\nb.png"
    (tmp_path / name).write_bytes(b"")
    assert [one.shown for one in find_pictures([tmp_path])] == [f"{tmp_path.name}/a?[2J?b.png"]


@pytest.mark.parametrize("letter", ["a", "é", "字", "𐍈"])
def test_names_are_cut_to_what_a_file_system_takes_and_at_no_letters_middle(letter, album, inspector, tmp_path):
    size = len(letter.encode())
    for folder in ("once", "twice"):
        (tmp_path / folder).mkdir()
        shutil.copy(album / "a.png", tmp_path / folder / f"x{letter * (250 // size)}.png")
    job = bulk.Job(method=None, kinds=["csv"], zipped=True)
    found = list(find_pictures([tmp_path / "once", tmp_path / "twice"]))
    rows = bulk.run(inspector, found, tmp_path / "out", job)
    assert [row.problem for row in rows] == ["", ""]
    assert sorted(row.bundle for row in rows) == bundles(tmp_path / "out")
    for row, ending in zip(rows, ("", "-2"), strict=True):
        kept = row.bundle.removesuffix(f"{ending}.zip")[: -len("-01234567")]
        assert kept == "x" + letter * (179 // size)


def test_leftovers_of_a_killed_run_are_swept_once_they_are_old(tmp_path):
    bundle = tmp_path / "a-0123abcd"
    paths = [
        _beside(bundle), _beside(bundle, "old"), _beside(tmp_path / "a-0123abcd-2.zip"), tmp_path / ".a-0123abcd.77",
        tmp_path / ".a-notes.77", _beside(tmp_path / "b-0123abcd"),
    ]  # fmt: skip
    for path in paths:
        path.mkdir()
    for path in paths[:-1]:
        os.utime(path, (0, 0))
    bulk._sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(paths[-2:])


def test_two_modulated_networks_of_other_classes(two_modulated, album, tmp_path):
    job = bulk.Job(method="grad_cam", kinds=["json", "csv", "npz", "png", "html"])
    rows = bulk.run(two_modulated, list(find_pictures([album / "a.png"])), tmp_path / "out", job)
    assert [row.problem for row in rows] == [""]
    folder = tmp_path / "out" / rows[0].bundle
    assert {"factors-baseline.png", "factors-dmb.png"} <= {path.name for path in folder.iterdir()}
    page = (folder / "report.html").read_text()
    assert 'id="gates-baseline"' in page and 'id="gates-dmb"' in page
    assert "The reference statistics of this checkpoint are not known" in page


@pytest.mark.process
def test_it_starts_as_a_module(checkpoints, album, tmp_path):
    environment = {"ABN_BASELINE": str(checkpoints / "resnet-s"), "ABN_DMB": str(checkpoints / "resnet-dmb")}
    command = [
        sys.executable,
        "-m",
        "abn",
        "inspect",
        str(album / "broken.jpg"),
        "--out",
        str(tmp_path / "out"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    done = subprocess.run(command, cwd=HOME, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "1 of 1 failed:\n  broken.jpg: This JPEG file is damaged" in done.stdout
    assert "Traceback" not in done.stderr and "Warning" not in done.stderr

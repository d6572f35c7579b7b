"""Visitors' own choices of networks: loaded once, shared, forgotten, and never another visitor's."""

from __future__ import annotations

import gc
import json
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from abn.app.export import export_of, to_json
from abn.app.export.stored import without_network
from abn.app.inspector import visitors as module
from abn.app.inspector.inspector import Inspector
from abn.app.inspector.visitors import MOST_BYTES, MOST_SECONDS, OWN, Choice, Pair, Pairs
from abn.checkpoints.network import Network, open_network
from abn.checkpoints.sources import HubSource
from abn.checkpoints.store import CheckpointError, save_checkpoint
from tests.conftest import awake
from tests.hub_server import FILES, REPO

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def own(inspector):
    return Pairs(inspector, folders=True)


@pytest.fixture(scope="module")
def second(tmp_path_factory):
    return save_checkpoint(awake("resnet-dmb", 5), tmp_path_factory.mktemp("pairs") / "second")


@pytest.fixture
def loads(monkeypatch, checkpoints):
    """What was loaded, and whether as for a stranger; a Hub id is answered from small checkpoints, at one commit."""
    loaded = []

    def open_counted(place, *, max_bytes=None, max_seconds=None, public_only=False, cache=None):
        assert not isinstance(place, HubSource) or (max_bytes, max_seconds) == (MOST_BYTES, MOST_SECONDS)
        loaded.append((place, public_only))
        if not isinstance(place, HubSource):
            return open_network(place)
        network = open_network(checkpoints / place.repo.split("/")[1])
        network.model.info = replace(network.model.info, commit=COMMIT, source=str(place))
        return Network(network.label, network.model, network.reference)

    monkeypatch.setattr(module, "open_network", open_counted)
    return loaded


def test_nothing_chosen_is_the_apps_own(own, inspector):
    assert own.choose("", " ") == OWN
    assert own.inspector(OWN) is inspector


def test_two_modulated_networks_are_told_apart_by_the_names_of_their_folders(own, second, pictures):
    pair = own.choose(str(second), "")
    chosen = own.inspector(pair)
    assert [network.label for network in chosen.networks] == ["ResNet-DMB (second)", "ResNet-DMB (resnet-dmb)"]
    assert list(chosen.modulated) == ["baseline", "dmb"]
    seen = chosen.inspect(pictures[0])
    assert seen.side("baseline") is seen.baseline
    assert seen.baseline.is_modulated
    assert not np.allclose(seen.baseline.blocks[0].factors, seen.dmb.blocks[0].factors)


def test_a_static_baseline_has_no_side_of_its_own(inspector, pictures):
    seen = inspector.inspect(pictures[0])
    assert seen.side("baseline") is seen.side("dmb") is seen.dmb


def test_one_checkpoint_on_both_sides_is_left_and_right(own, second):
    chosen = own.inspector(own.choose(str(second), str(second)))
    assert [network.label for network in chosen.networks] == ["ResNet-DMB (left)", "ResNet-DMB (right)"]


def test_a_checkpoint_is_loaded_once_for_all(own, second, loads):
    pair = own.choose("", str(second))
    for _ in range(3):
        own.inspector(pair)
    assert len(loads) == 1


def test_a_folder_that_is_chosen_again_is_read_again(own, second, loads):
    for _ in range(2):  # it may have been trained on, or measured, in between
        own.choose("", str(second))
    assert len(loads) == 2


def test_an_older_load_of_a_folder_does_not_take_a_newer_ones_place(own, second, monkeypatch):
    """A visitor's load is slow; meanwhile the weights are replaced, and another visitor chooses them."""
    begun, go_on = threading.Event(), threading.Event()

    def slow_first(place, **_):
        network = open_network(place)
        if not begun.is_set():
            begun.set()
            go_on.wait(60)
        return network

    monkeypatch.setattr(module, "open_network", slow_first)
    with ThreadPoolExecutor(1) as pool:
        older = pool.submit(own.choose, "", str(second))
        begun.wait(60)
        save_checkpoint(awake("resnet-dmb", 6), second)
        newer = own.choose("", str(second))
        go_on.set()
        with pytest.raises(CheckpointError, match="the weights are others than when it was chosen"):
            older.result(60)
    assert own.inspector(newer).dmb.model.info.weights_sha256 == newer.dmb.weights_sha256
    save_checkpoint(awake("resnet-dmb", 5), second)  # as the other tests expect it


def test_what_a_visitor_keeps_of_other_networks_does_not_keep_them(own, second, checkpoints, pictures, tmp_path):
    folder = shutil.copytree(checkpoints / "resnet-dmb", tmp_path / "named")
    inspector = own.inspector(own.choose(str(second), str(folder)))
    whole = inspector.inspect(pictures[0])
    kept = without_network(whole)
    export = [to_json(export_of(inspector, result)) for result in (whole, kept)]
    assert export[0] == export[1]
    network = [weakref.ref(block.reference.factors.quantiles) for block in whole.dmb.blocks]
    network += [weakref.ref(block.bias_bank) for block in whole.dmb.blocks]
    del inspector, whole
    own._loaded.clear()
    gc.collect()
    assert all(part() is None for part in network)
    block = kept.dmb.blocks[0]
    assert block.reference.factors.percentile(block.factors).shape == (64,)


def test_many_at_once_load_once(own, second, loads):
    pair = Pair(None, Choice(second.resolve(), json.loads((second / "config.json").read_text())["weights_sha256"]))
    threads = [threading.Thread(target=own.inspector, args=(pair,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1


def test_the_least_used_is_forgotten_and_loaded_anew(inspector, second, checkpoints, loads):
    pairs = Pairs(inspector, folders=True, most=1)
    pair = pairs.choose("", str(second))
    pairs.choose("", str(checkpoints / "resnet-dmb"))
    assert len(loads) == 2
    assert pairs.inspector(pair).dmb.name == "second"
    assert len(loads) == 3


def test_other_weights_than_those_chosen_are_refused(inspector, checkpoints, tmp_path):
    folder = save_checkpoint(awake("resnet-dmb", 6), tmp_path / "mine")
    pairs = Pairs(inspector, folders=True, most=1)
    pair = pairs.choose("", str(folder))
    pairs.choose("", str(checkpoints / "resnet-dmb"))  # and the first is forgotten
    save_checkpoint(awake("resnet-dmb", 7), folder)
    with pytest.raises(
        CheckpointError, match=r"^mine: the weights are others than when .* choose the networks anew$"
    ):
        pairs.inspector(pair)
    again = pairs.choose("", str(folder))
    assert again.dmb.place == pair.dmb.place
    assert pairs.inspector(again).dmb.model.info.weights_sha256 == again.dmb.weights_sha256
    with pytest.raises(CheckpointError, match="choose the networks anew"):
        pairs.inspector(pair)  # also where the new ones are loaded already


def test_a_hubs_choice_stays_at_its_commit(own, inspector, loads):
    pair = own.choose("", "somebody/resnet-dmb")
    assert pair == Pair(
        None, Choice(HubSource("somebody/resnet-dmb", COMMIT), inspector.dmb.model.info.weights_sha256)
    )
    own.inspector(pair)
    assert len(loads) == 1  # kept under its commit
    own.choose("", "somebody/resnet-dmb")
    assert len(loads) == 2  # the branch is asked for anew


def test_what_lacked_something_is_fetched_anew_by_whoever_chooses_it_next(own, loads, monkeypatch):
    """As a reference that the Hub's storage did not give just then."""
    counted = module.open_network

    def lacking(place, **options):
        network = counted(place, **options)
        return replace(network, notice="reference.safetensors could not be fetched" if len(loads) < 3 else None)

    monkeypatch.setattr(module, "open_network", lacking)
    name = f"somebody/resnet-dmb@{COMMIT}"  # as a link has it
    lacks = ["reference.safetensors could not be fetched"]
    pair = own.choose("", name)
    assert own.notices(own.inspector(pair)) == lacks
    assert len(loads) == 1  # and not for everything that is asked of it
    monkeypatch.setattr(module, "RENEW_EVERY", 0)
    with monkeypatch.context() as patched:

        def refuse(place, **options):
            assert own.notices(own.inspector(pair, at_hand=True)) == lacks  # others go on with what there is
            raise CheckpointError("the Hub cannot be reached", str(place))

        patched.setattr(module, "open_network", refuse)
        assert own.choose("", name) == pair and own.notices(own.inspector(pair)) == lacks
    for _ in range(3):
        pair = own.choose("", name)
    assert len(loads) == 3 and own.notices(own.inspector(pair)) == []


def test_what_is_lacking_for_good_is_not_fetched_by_everybody(own, loads, monkeypatch):
    counted = module.open_network
    monkeypatch.setattr(
        module, "open_network", lambda *args, **options: replace(counted(*args, **options), notice="!")
    )
    for _ in range(5):
        own.choose("", f"somebody/resnet-dmb@{COMMIT}")
    assert len(loads) == 2  # the first, and one more within `RENEW_EVERY`


def test_a_failure_is_not_kept(own, second, monkeypatch, loads):
    calls = []

    def refuse(place, **_):
        calls.append(place)
        raise CheckpointError("not today", str(place))

    with monkeypatch.context() as patched:
        patched.setattr(module, "open_network", refuse)
        for _ in range(2):
            with pytest.raises(CheckpointError, match="not today"):
                own.choose("", str(second))
    assert len(calls) == 2
    assert own.choose("", str(second)).dmb.place == second.resolve()


def test_networks_that_cannot_be_compared_are_refused(own, checkpoints, tmp_path):
    with pytest.raises(CheckpointError, match="ResNet-S modulates no channels"):
        own.choose("", str(checkpoints / "resnet-s"))
    other = save_checkpoint(awake("resnet-dmb"), tmp_path / "other", class_names=[f"c{i}" for i in range(10)])
    with pytest.raises(CheckpointError, match="compared on the same classes"):
        own.choose("", str(other))


@pytest.mark.parametrize("name", ["/etc/passwd", "..", "~", "a/b/c"])
def test_where_folders_are_not_allowed_none_is_looked_at(inspector, name, monkeypatch, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    monkeypatch.chdir(tmp_path)
    for pairs, allowed in ((Pairs(inspector, folders=False), True), (Pairs(inspector, folders=True), False)):
        with pytest.raises(CheckpointError, match="the Hub has no such names") as caught:
            pairs.choose("", name, folders=allowed)
        assert "folder" not in caught.value.reason


def test_a_folder_with_a_hubs_name_is_not_opened_for_a_stranger(inspector, loads, tmp_path, monkeypatch):
    (tmp_path / "somebody" / "resnet-dmb").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    pair = Pairs(inspector, folders=False).choose("", "somebody/resnet-dmb")
    assert pair.dmb.place == HubSource("somebody/resnet-dmb", COMMIT)
    assert loads == [(HubSource("somebody/resnet-dmb", "main"), True)]  # and nothing that only our token may read


def test_the_hub_is_asked_for_so_many_networks_at_once_and_no_more(own, loads, monkeypatch):
    release, begun = threading.Event(), threading.Semaphore(0)
    answer = module.open_network

    def slow(place, **options):
        begun.release()
        release.wait(60)
        return answer(place, **options)

    monkeypatch.setattr(module, "open_network", slow)
    threads = [
        threading.Thread(target=own.choose, args=("", f"user{i}/resnet-dmb")) for i in range(module.MOST_AT_ONCE)
    ]
    for thread in threads:
        thread.start()
    for _ in threads:
        assert begun.acquire(timeout=60)
    with pytest.raises(CheckpointError, match="other networks are being loaded just now; try again in a minute"):
        own.choose("", "late/resnet-dmb")
    release.set()
    for thread in threads:
        thread.join()
    assert own.choose("", "late/resnet-dmb").dmb.place.repo == "late/resnet-dmb"


def test_so_many_wait_for_one_slow_network_and_no_more(own, loads, monkeypatch):
    release, begun, refused = threading.Event(), threading.Event(), threading.Semaphore(0)
    answer, outcomes = module.open_network, []

    def slow(place, **options):
        begun.set()
        release.wait(60)
        return answer(place, **options)

    def choose():
        try:
            outcomes.append(own.choose("", "somebody/resnet-dmb"))
        except CheckpointError as error:
            outcomes.append(str(error))
            refused.release()

    monkeypatch.setattr(module, "open_network", slow)
    threads = [threading.Thread(target=choose) for _ in range(1 + module.MOST_WAITING + 3)]
    for thread in threads:
        thread.start()
    assert begun.wait(60)
    try:
        for _ in range(3):
            assert refused.acquire(timeout=60)
    finally:
        release.set()
        for thread in threads:
            thread.join()
    pairs, words = outcomes[3:], outcomes[:3]
    assert words == ["somebody/resnet-dmb: other networks are being loaded just now; try again in a minute"] * 3
    assert len(pairs) == 1 + module.MOST_WAITING
    assert set(pairs) == {own.choose("", "somebody/resnet-dmb")}


# --- what strangers' networks leave on the disk ---


@pytest.fixture
def upload(hub, second):
    """The files of `second` on the Hub; answers with their commit."""
    hub.repositories[REPO].commit({path.name: path.read_bytes() for path in second.iterdir()})
    return hub.repositories[REPO].revisions["main"]


def test_a_strangers_network_leaves_no_file(inspector, upload, second, cache, tmp_path, pictures):
    (tmp_path / "scratch").mkdir()
    pairs = Pairs(inspector, folders=False, scratch=tmp_path / "scratch", most=1)
    pair = pairs.choose(REPO, "")
    assert pair.baseline.place == HubSource(REPO, upload)
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not cache.exists()
    here = Inspector(open_network(second), inspector.dmb, inspector.device)
    seen, expected = (each.inspect(pictures[0]).baseline.probabilities for each in (pairs.inspector(pair), here))
    assert np.array_equal(seen, expected)


def test_what_is_forgotten_is_fetched_anew_and_again_leaves_no_file(inspector, upload, hub, cache, tmp_path):
    pairs = Pairs(inspector, folders=False, scratch=tmp_path / "scratch", most=1)
    pair = pairs.choose(REPO, "")
    other = {**hub.repositories[REPO].commits[upload], "README.md": b"another card"}
    pairs.choose(f"{REPO}@{hub.repositories[REPO].commit(other, 'other')}", "")
    assert pairs.inspector(pair).baseline.model.info.commit == upload
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not cache.exists()


def test_what_was_forgotten_is_not_fetched_where_others_would_wait_for_the_hub(
    inspector, upload, hub, cache, tmp_path
):
    pairs = Pairs(inspector, folders=False, scratch=tmp_path / "scratch", most=1)
    pair = pairs.choose(REPO, "")
    assert pairs.inspector(pair, at_hand=True).baseline.model.info.commit == upload
    other = {**hub.repositories[REPO].commits[upload], "README.md": b"another card"}
    pairs.choose(f"{REPO}@{hub.repositories[REPO].commit(other, 'other')}", "")
    asked = len(hub.requests)
    with pytest.raises(CheckpointError, match=r"the server has forgotten it, .* load it again"):
        pairs.inspector(pair, at_hand=True)
    assert len(hub.requests) == asked
    # Whoever owns the machine waits for it.
    local = Pairs(inspector, folders=True)
    assert local.inspector(pair, at_hand=True).baseline.model.info.commit == upload
    assert len(hub.requests) > asked


def test_what_is_of_no_use_leaves_no_file_either(inspector, hub, cache, tmp_path):
    hub.repositories[REPO].commit({**FILES, "config.json": b"{"})
    with pytest.raises(CheckpointError, match="config.json"):
        Pairs(inspector, folders=False, scratch=tmp_path / "scratch").choose(REPO, "")
    assert list((tmp_path / "scratch").iterdir()) == []
    assert not cache.exists()


def test_what_the_host_has_in_the_cache_stays_as_it_is(inspector, upload, cache, tmp_path):
    open_network(REPO)
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    Pairs(inspector, folders=False, scratch=tmp_path / "scratch").choose(REPO, "")
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


def test_the_owner_of_the_machine_keeps_what_was_fetched(own, upload, cache):
    own.choose(REPO, "")
    assert [path.name for path in cache.glob("models--*/snapshots/*")] == [upload]

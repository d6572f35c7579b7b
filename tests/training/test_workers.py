"""Data-parallel training: two processes by gloo on the CPU, under torchrun."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from abn.cli.main import main
from abn.common.data import Cifar10, DataError
from abn.common.devices import DeviceError
from abn.training import run as training
from abn.training import run_state, workers
from abn.training.batches import Batches, split_data
from abn.training.evaluation import evaluate
from abn.training.run_state import TrainingError
from abn.training.workers import ALONE, Workers, joined
from tests.training.test_training import (
    CPU,
    TINY,
    environment,
    explode,
    go,
    pictures,
    same_weights,
    tiny_network,
    tiny_run,
)

HERE = Path(__file__).parent
# 21 images in batches of 8: shares of 4 and 4, twice, then of 2 and 3. 7 test images: 3 and 4.
TRAINED, TESTED = 21, 7


# --- one worker's part ---


@pytest.mark.parametrize("world_size", [1, 2, 3, 8])
@pytest.mark.parametrize("n", [1, 7, 8, 80, 128])
def test_shares_are_contiguous_complete_and_nearly_equal(world_size, n):
    shares = [Workers(rank, world_size).share(5, 5 + n) for rank in range(world_size)]
    assert [i for share in shares for i in range(share.start, share.stop)] == list(range(5, 5 + n))
    sizes = [share.stop - share.start for share in shares]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("num_images", "batch_size", "smallest"), [(17, 8, 1), (1, 8, 1), (8, 1, 1), (18, 8, 2)])
def test_a_share_without_an_image_is_refused(num_images, batch_size, smallest):
    Workers(0, smallest).require_shares(num_images, batch_size)
    with pytest.raises(TrainingError) as caught:
        Workers(0, smallest + 1).require_shares(num_images, batch_size)
    assert str(caught.value) == (
        f"{num_images} training images leave {smallest} for an epoch's smallest batch; expected one for each of "
        f"{smallest + 1} workers: start fewer (--nproc_per_node), or change --holdout"
    )


def test_one_process_alone_has_no_process_group_and_all_of_everything(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with joined("abn.training.run") as alone:
        assert alone == ALONE
        assert not workers.dist.is_initialized()
    values, network = torch.ones(2), tiny_network()
    assert alone.sum(values) is values
    assert alone.wrap(network) is network
    assert alone.gradient_weight(values.sum(), 5, 5) is None
    assert alone.describe("CPU") == "CPU"


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_every_worker_has_a_gpu_of_its_own(monkeypatch, name):
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert Workers(5, 8).choose_device(name) == torch.device("cuda:1")
    assert chosen == [torch.device("cuda:1")]
    assert Workers(5, 8).choose_device("cpu") == CPU
    with pytest.raises(DeviceError, match="--device is cuda:0 for 8 workers; expected auto, cuda or cpu"):
        Workers(5, 8).choose_device("cuda:0")
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(DeviceError, match="2 GPUs are too few .* or pass --device cpu"):
        Workers(5, 8).choose_device(name)


# --- two of them ---

JOB = """
import sys
from pathlib import Path

import torch

torch.set_num_threads(1)
from abn.training import run as training
from tests.training import test_workers

training.ARCHITECTURES["tiny"] = test_workers.TINY
training.RECIPES["paper"] = test_workers.tiny_run().recipe
training.gains_by_bfloat16 = lambda device: False
getattr(test_workers, sys.argv[1])(Path(sys.argv[2]))
"""


def torchrun(folder: Path, function: str, *options: str) -> subprocess.CompletedProcess:
    """Call a function of this file in two workers."""
    job = folder / "job.py"
    job.write_text(JOB)
    # Not --standalone: a machine need not be able to look its own name up.
    launcher = ["--nproc-per-node", "2", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", *options]
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *launcher, str(job), function, str(folder)],
        env=environment(), capture_output=True, text=True, timeout=600,
    )  # fmt: skip


def command(folder: Path, out: str, *options: str) -> list[str]:
    data = ["--arch", "tiny", "--device", "auto", "--epochs", "3", "--data", str(folder)]
    return [*data, "--out", str(folder / out), *options]


def lose_a_worker(folder: Path) -> None:
    """The second worker is killed in the second epoch, before its second batch."""
    # torchrun, which looks after its workers now and then, would end the survivor before that says what it sees.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    original = Batches.epoch

    def broken(self, number):
        for i, batch in enumerate(original(self, number)):
            if (self.workers.rank, number, i) == (1, 1, 1):
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch

    Batches.epoch = broken
    main(["train", *command(folder, "killed")])


def message(work: Callable[[], object]) -> str:
    with pytest.raises((DataError, TrainingError)) as caught:
        work()
    return str(caught.value)


def do_everything(folder: Path) -> None:
    """Several runs in one process group, what each worker saw of them in a file, and at last a user's error."""
    training.train = lambda *given, **options: _runs(folder, *given, **options)
    main(["train", *command(folder, "killed", "--resume")])


def _runs(folder: Path, run, data, out, device, *, workers, **options):
    def go_together(name, data=data, **changed):
        return go(run, folder / name, data, workers=workers, **changed)

    def fail(*_):
        raise DataError(f"the data of rank {workers.rank} are bad")

    network, log = go_together("whole")
    seen = {"device": str(device), "world_size": workers.world_size, "log": log}
    seen["resumed"] = go_together("killed", resume=True)[1]
    seen["from one"] = go_together("of one", resume=True)[1]
    seen["evaluated"] = evaluate(network, split_data(data, 0, device)[1], workers)
    seen["small"] = message(lambda: go_together("small", pictures(17)))
    seen["agreed"] = message(lambda: workers.agree(fail if workers.rank == 1 else int))
    told = []
    go_together("told", after_epoch=lambda log: told.append(len(log)))
    seen["told"] = told
    with pytest.MonkeyPatch.context() as patch:
        explode(patch, 1, 1)
        seen["diverged"] = message(lambda: go_together("diverged"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_state, "replace_file", _fail_to_write)
        seen["disk"] = message(lambda: go_together("disk"))
    torch.save(network.state_dict(), folder / f"weights-{workers.rank}.pt")
    (folder / f"seen-{workers.rank}.json").write_text(json.dumps(seen))
    return go_together("whole")


def _fail_to_write(*_):
    raise OSError(5, "Input/output error")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """With the data, and a run of one process that stopped after its first epoch."""
    folder = tmp_path_factory.mktemp("workers")
    np.savez(folder / "cifar10.npz", **vars(pictures(TRAINED, TESTED)))

    class StopError(Exception):
        pass

    def stop(log):
        if log:
            raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(training.ARCHITECTURES, "tiny", TINY)
        patch.setattr(training, "gains_by_bfloat16", lambda device: False)
        with pytest.raises(StopError):
            go(tiny_run(), folder / "of one", pictures(TRAINED, TESTED), after_epoch=stop)
    return folder


@pytest.fixture(scope="module")
def killed(folder):
    done = torchrun(folder, "lose_a_worker")
    return done, run_state.restore(folder / "killed", tiny_run().settings())


@pytest.fixture(scope="module")
def done(folder, killed):
    return torchrun(folder, "do_everything")


@pytest.fixture(scope="module")
def seen(folder, done):
    assert (folder / "seen-1.json").exists(), done.stderr
    first, second = (json.loads((folder / f"seen-{rank}.json").read_text()) for rank in range(2))
    assert first.pop("told") == [0, 1, 2, 3]
    assert second.pop("told") == []  # rank 0 alone is told of an epoch
    assert first == second
    return first


def train_in_halves(data: Cifar10) -> tuple[nn.Module, list[dict]]:
    """What two workers should do, in one process: two forward passes a batch, gradients weighted by their images."""
    run = tiny_run()
    torch.manual_seed(run.seed)
    network = tiny_network().train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-4)
    batches = Batches(split_data(data, 0, CPU)[0], 8, run.seed)
    log = []
    for epoch in range(run.recipe.epochs):
        network.train()
        losses, correct = 0.0, 0
        for batch, (images, labels) in enumerate(batches.epoch(epoch)):
            optimizer.param_groups[0]["lr"] = run.recipe.learning_rate(epoch, batch, len(batches))
            half = len(labels) // 2
            statistics = []
            for share in (slice(0, half), slice(half, None)):
                logits = network(images[share])
                loss = F.cross_entropy(logits, labels[share], reduction="sum")
                (loss / len(labels)).backward()
                losses += loss.item()
                correct += (logits.argmax(1) == labels[share]).sum().item()
                statistics.append({name: buffer.clone() for name, buffer in network.named_buffers()})
            network.load_state_dict(statistics[0], strict=False)  # rank 0 has not seen the second half
            optimizer.step()
            optimizer.zero_grad()
        accuracy, loss = evaluate(network, split_data(data, 0, CPU)[1])
        log.append(
            {
                "train_loss": losses / len(data.x_train),
                "train_accuracy": 100 * correct / len(data.x_train),
                "test_loss": loss,
                "test_accuracy": accuracy,
            }
        )
    return network.eval(), log


@pytest.mark.process
def test_two_workers_follow_one_process_that_normalises_each_half_batch_by_itself(folder, seen):
    assert (seen["device"], seen["world_size"]) == ("cpu", 2)
    network, expected = train_in_halves(pictures(TRAINED, TESTED))
    for record, other in zip(seen["log"], expected, strict=True):
        for name, value in other.items():
            assert record[name] == pytest.approx(value, rel=1e-5, abs=1e-4 if "accuracy" in name else 1e-6), name
        assert record["workers"] == 2
        assert record["device"].startswith("2 × ")
    first, second = (torch.load(folder / f"weights-{rank}.pt", weights_only=True) for rank in range(2))
    for name, value in network.state_dict().items():
        torch.testing.assert_close(first[name], value, rtol=1e-5, atol=1e-6)
    assert same_weights(first, second)  # the running statistics are among them
    lines = (folder / "whole" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == seen["log"]


@pytest.mark.process
def test_evaluation_counts_every_image_once(folder, seen):
    network = tiny_network()
    network.load_state_dict(torch.load(folder / "weights-0.pt", weights_only=True))
    expected = evaluate(network, split_data(pictures(TRAINED, TESTED), 0, CPU)[1])
    assert seen["evaluated"] == pytest.approx(expected, rel=1e-6)


@pytest.mark.process
def test_a_killed_worker_ends_the_job_and_the_run_resumes(killed, seen):
    process, state = killed
    assert process.returncode != 0
    assert "abn train: a worker is gone, see below; pass --resume to go on from the last" in process.stderr
    assert "Signal 9 (SIGKILL)" in process.stderr  # torchrun's own
    assert [record["epoch"] for record in state["log"]] == [1]
    for record, other in zip(seen["resumed"], seen["log"], strict=True):
        assert record | {"seconds": 0} == other | {"seconds": 0}


@pytest.mark.process
def test_a_run_may_go_on_with_another_number_of_workers(seen):
    assert [record["workers"] for record in seen["from one"]] == [1, 2, 2]


@pytest.mark.process
def test_what_goes_wrong_on_one_worker_stops_all_alike(seen):
    assert seen["small"].startswith("17 training images leave 1 for an epoch's smallest batch")
    assert seen["agreed"] == "the data of rank 1 are bad"
    assert seen["diverged"].startswith("the loss is ")
    assert "epoch 1 could not be stored" in seen["disk"] and "Input/output error" in seen["disk"]


@pytest.mark.process
def test_a_users_error_is_told_once(folder, done):
    assert done.returncode != 0
    expected = f"abn train: {folder / 'whole'} already holds a run; pass --resume to go on with it, or name another"
    assert done.stderr.count(expected) == 1
    assert "Error" not in done.stderr.split(expected)[0]
    assert "run_state.py" not in done.stderr  # no worker's traceback; torchrun prints one of its own

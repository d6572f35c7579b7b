import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

from abn.app.inspector.changes import Change
from abn.common import devices
from abn.common.devices import (
    alone_on,
    choose_device,
    describe_hardware,
    hand_back_freed_memory,
    keep_freed_memory,
    share_memory_pools,
)
from abn.interpret.attribution.attribute import Attribution

ROOT = Path(__file__).parents[2]
# 100 buffers of 10 MB are written and freed: how many MB of them are still there?
LEFT = """
import torch
{before}
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
at_first = resident()
buffers = [torch.ones(10_000_000, dtype=torch.uint8) for _ in range(100)]
assert resident() - at_first > 900
del buffers
print(resident() - at_first)
"""


def megabytes_left(before):
    done = subprocess.run(
        [sys.executable, "-c", LEFT.format(before=before)], cwd=ROOT, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return float(done.stdout)


def test_only_on_apples_gpu_one_thread_computes_at_a_time():
    def can_begin(device, seconds):
        def begin():
            with alone_on(torch.device(device)):
                return True

        held = alone_on(torch.device(device))
        with ThreadPoolExecutor(1) as pool, held, alone_on(torch.device(device)):  # what holds it may ask again
            return bool(wait([pool.submit(begin)], seconds).done)

    assert can_begin("cpu", 60)
    assert not can_begin("mps", 0.5)


def test_all_that_an_inspector_computes_is_computed_alone(inspector, pictures, labels, monkeypatch):
    """And nothing of it is brought from the device later."""
    held, passes, brought, on_cpu = [], [], [], Attribution.on_cpu
    monkeypatch.setattr(Attribution, "on_cpu", lambda self: brought.append(len(held)) or on_cpu(self))

    @contextmanager
    def alone(device):
        held.append(device)
        yield
        held.pop()

    monkeypatch.setattr("abn.app.inspector.inspector.alone_on", alone)
    handles = [
        network.model.register_forward_pre_hook(lambda *_: passes.append(len(held))) for network in inspector.networks
    ]
    try:
        for compute in (
            lambda: inspector.inspect(pictures[0]),
            lambda: inspector.intervene(pictures[0], Change()),
            lambda: inspector.attribute(pictures[0], "cat", None, "saliency", {}),
            lambda: inspector.find_disagreement(pictures, labels, np.random.default_rng(0)),
        ):
            compute()
            assert passes and all(passes)
            passes.clear()
        assert brought == [1, 1]
    finally:
        for handle in handles:
            handle.remove()


@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_freed_memory_is_kept_once_it_was_asked_for():
    assert megabytes_left("") < 500
    assert megabytes_left("from abn.common.devices import keep_freed_memory; assert keep_freed_memory()") > 900


# Six threads take memory at once: how many pools does glibc say that it has?
POOLS = """
import ctypes, threading
{before}
libc, meeting = ctypes.CDLL(None), threading.Barrier(6)
libc.malloc.restype = ctypes.c_void_p
def take():
    meeting.wait()
    for _ in range(1000):
        libc.malloc(5000)
    meeting.wait()
threads = [threading.Thread(target=take) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc.malloc_info(0, ctypes.c_void_p.in_dll(libc, "stdout"))
libc.fflush(None)
"""


def pools(before: str) -> int:
    ran = subprocess.run(
        [sys.executable, "-c", POOLS.format(before=before)], cwd=ROOT, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.count("<heap nr=")


@pytest.mark.process
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_threads_share_two_pools_of_memory_once_it_was_asked_for():
    assert pools("") > 2
    assert pools("from abn.common.devices import share_memory_pools; assert share_memory_pools()") <= 2


# Of 200 MB in small pieces every thousandth is kept: how many MB are still there, before and after?
HOLES = """
from abn.common.devices import hand_back_freed_memory
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
at_first = resident()
pieces = [bytes(2000) for _ in range(100_000)]
kept = pieces[::1000]
del pieces
print(resident() - at_first)
assert hand_back_freed_memory()
print(resident() - at_first)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the C library is not glibc")
def test_holes_between_what_is_kept_are_handed_back():
    said = subprocess.run([sys.executable, "-c", HOLES], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    before, after = map(float, said.split())
    assert before > 180 and after < 20


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert keep_freed_memory() is False
    assert share_memory_pools() is False
    assert hand_back_freed_memory() is False


@pytest.mark.parametrize(("threads", "said"), [(1, "CPU, 1 thread ("), (3, "CPU, 3 threads (")])
def test_hardware_is_counted_in_words(monkeypatch, threads, said):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert describe_hardware(choose_device("cpu")).startswith(said)


def test_only_cuda_gets_graphs_and_no_network_that_is_spread_over_processes(monkeypatch):
    asked = []
    monkeypatch.setattr(torch, "compile", lambda network, **options: asked.append(options) or network)

    class Spread(devices.DistributedDataParallel):
        def __init__(self):
            torch.nn.Module.__init__(self)

    for network, device in ((torch.nn.ReLU(), "cuda"), (torch.nn.ReLU(), "cpu"), (Spread(), "cuda")):
        assert devices.compiled(network, torch.device(device)) is network
    assert asked == [{"dynamic": False, "mode": mode} for mode in ("reduce-overhead", "default", "default")]

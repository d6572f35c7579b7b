"""Which device to compute on, what it is good at, and what it is called."""

from __future__ import annotations

import ctypes
import getpass
import os
import platform
import shutil
import tempfile
import threading
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel


class DeviceError(ValueError):
    """A device that this machine does not have; the message says which it has."""


def choose_device(name: str) -> torch.device:
    """ "auto" takes CUDA, then MPS, then the CPU.

    Raises:
        DeviceError: for a device this machine does not have.
    """
    cuda = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    available = ["cuda", *cuda] if cuda else []
    available += ["mps"] if torch.backends.mps.is_available() else []
    available += ["cpu"]
    if name == "auto":
        name = available[0]
    if name not in available:
        raise DeviceError(f"device {name!r} is not to be had on this machine; it has: {', '.join(available)}")
    return torch.device(name)


def gains_by_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices faster than float32 ones."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    if device.type == "cpu":  # no public name for these yet (torch 2.15)
        checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        return any(getattr(torch.cpu, check, lambda: False)() for check in checks)
    return False


def compute_in_full_float32() -> None:
    """Have CUDA's convolutions use all of float32's digits in this process.

    By default cuDNN rounds to TF32, which has three: numbers that are looked at, stored and compared with those of
    another machine need more. Training does not.
    """
    torch.backends.cudnn.allow_tf32 = False


_ON_MPS = threading.RLock()


def alone_on(device: torch.device) -> AbstractContextManager:
    """Hold it while computing on a device that does not bear several threads at once: Apple's, where two of them can
    end the process (pytorch#197805). There a short inspection waits for a long attribution."""
    return _ON_MPS if device.type == "mps" else nullcontext()


def images_at_once(device: torch.device, otherwise: int = 1000) -> int:
    """How many images a pass of these networks is fastest with: on a CPU, those whose activations its caches hold.

    Args:
        otherwise: for any other device.
    """
    return 32 if device.type == "cpu" else otherwise


def describe_hardware(device: torch.device) -> str:
    """One phrase for logs and model cards, e.g. "NVIDIA H200" or "CPU, 2 threads (AMD EPYC)"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple GPU ({platform.machine()})"
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.split(":")[1].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    threads = torch.get_num_threads()
    return f"CPU, {threads} {'thread' if threads == 1 else 'threads'} ({model})"


def require_compiler() -> None:
    """Refuse `torch.compile` on a machine that has no C++ compiler, before anything is read for it.

    Raises:
        DeviceError: where the compiler that PyTorch would call is not on the PATH.
    """
    if platform.system() == "Windows":
        return  # PyTorch finds Microsoft's compiler by other ways than the PATH
    name = os.environ.get("CXX", "clang++" if platform.system() == "Darwin" else "g++")
    if shutil.which(name) is None:
        raise DeviceError(
            f"--compile needs a C++ compiler, and there is no {name} on the PATH; install one (Debian: apt install "
            "g++), let CXX name another, or leave --compile out"
        )


def _name_compile_cache() -> None:
    """Give torch.compile a cache folder where the user has no name, by which PyTorch would call it."""
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # KeyError before Python 3.13, which raises OSError
        folder = Path(tempfile.gettempdir()) / f"torchinductor_{os.getuid()}"
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(folder))


def compiled(network: nn.Module, device: torch.device) -> nn.Module:
    """The network compiled for batches of few different shapes, each of which takes a while the first time.

    On CUDA its passes forward and back are graphs, which the host starts at once instead of kernel by kernel.
    """
    _name_compile_cache()
    graphs = device.type == "cuda" and not isinstance(network, DistributedDataParallel)
    return torch.compile(network, dynamic=False, mode="reduce-overhead" if graphs else "default")


def make_deterministic() -> None:
    """Ask PyTorch for the same bits in every run on a CUDA device; a CPU gives them anyway."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def keep_freed_memory() -> bool:
    """Have this process keep the memory it frees, for as long as it runs.

    A training step on a CPU takes and frees the same buffers of some ten megabytes each time. glibc hands those back
    to the system and asks for them anew, and the system fills every page with zeros first, in every step.

    Returns:
        False where the C library is not glibc, whose setting this is.
    """
    allow_maps_above, hand_back_above = -3, -1  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD of malloc.h
    return _tell_malloc({allow_maps_above: 2**30, hand_back_above: 2**31 - 1})


def share_memory_pools() -> bool:
    """Have all threads of this process take their memory from two pools.

    glibc gives new threads pools of their own, up to eight for each core. A server's threads come and go, and what
    some freed stays in pools that others do not use: its memory grew by a twentieth in three thousand requests.

    Returns:
        False where the C library is not glibc, whose setting this is.
    """
    most_arenas = -8  # M_ARENA_MAX of malloc.h
    return _tell_malloc({most_arenas: 2})


def hand_back_freed_memory() -> bool:
    """Give the pages within this process's memory pools that hold nothing any more back to the system.

    glibc itself hands back only what is free at a pool's end. Between what a server keeps for as long as it runs lie
    holes of what it freed, and requests of other sizes make more of them.

    Returns:
        False where the C library is not glibc, which alone has this call.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    ctypes.CDLL(None).malloc_trim(0)  # whether there was anything to give back does not matter
    return True


def _tell_malloc(settings: dict[int, int]) -> bool:
    if platform.libc_ver()[0] != "glibc":
        return False
    libc = ctypes.CDLL(None)
    return all(libc.mallopt(name, value) for name, value in settings.items())

"""CIFAR-10: class names, normalisation, and the arrays of a data folder.

A folder holds either `cifar10.npz` (uint8 `x_train` (50000, 32, 32, 3), `y_train`, `x_test`, `y_test`)
or the files torchvision's `CIFAR10` class keeps there, which can be downloaded on request. The archive may
hold `exact_train` and `exact_test` too, bool (N,): False where an image is not the official one's exact copy.
"""

from __future__ import annotations

import hashlib
import warnings
import zipfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tokenize import TokenError  # NumPy's, for a header it cannot read

import numpy as np
import torch
from filelock import FileLock
from numpy.exceptions import VisibleDeprecationWarning
from torch import Tensor

CLASS_NAMES = (
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
)  # fmt: skip
MEAN = (0.4914, 0.4822, 0.4465)
STD = (0.2023, 0.1994, 0.2010)
IMAGE_SIZE = 32
ARCHIVE = "cifar10.npz"
DOWNLOAD = "cifar-10-python.tar.gz"  # as torchvision calls what it fetches
FETCHED = "`abn train` and `abn reproduce` fetch CIFAR-10 with --download"  # also said by commands without the option


class DataError(ValueError):
    """A data folder that cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Cifar10:
    """uint8 images (N, 32, 32, 3) and labels (N,) in [0, 10), in the data set's own order.

    Attributes:
        inexact_train: how many training images are JPEG re-compressions of the official ones.
        inexact_test: the same of the test images.
    """

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    inexact_train: int = 0
    inexact_test: int = 0

    @property
    def fingerprint(self) -> str:
        """12 hexadecimal digits, of all labels and every 50th image, that tell these images from others."""
        parts = (self.y_train, self.y_test, self.x_train[::50], self.x_test[::50])
        content = b"".join(repr(part.shape).encode() + np.ascontiguousarray(part).tobytes() for part in parts)
        return hashlib.sha256(content).hexdigest()[:12]


def load_cifar10(folder: str | Path, download: bool = False) -> Cifar10:
    """Read the data set from a folder.

    Args:
        folder: holds `cifar10.npz`, or torchvision's `cifar-10-batches-py`.
        download: fetch it through torchvision where the folder holds neither.

    Raises:
        DataError: for a folder without the data set or that may not be read, one that holds a truncated or foreign
            file, and a download that fails or is cut short; what arrived of it is removed.
    """
    folder = Path(folder)
    archive = folder / ARCHIVE
    try:
        if archive.exists():
            return _read_archive(archive)
        if not download:
            return _read_torchvision(folder, download)
        with suppress(DataError):  # it is there, perhaps where nothing can be written
            return _read_torchvision(folder, False)
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".download.lock"):  # of several processes one fetches it, and the others find it there
            return _read_torchvision(folder, download)
    except PermissionError as error:
        name = error.filename or folder
        raise DataError(f"{name} is not open to this user ({error.strerror}); mend its permissions") from error
    except OSError as error:  # e.g. a name too long for any file
        raise DataError(f"{folder} cannot be read ({error.strerror}); name the data set's folder") from error


def _read_archive(archive: Path) -> Cifar10:
    remedy = f"make it anew, or remove it: {FETCHED}"
    names = ("x_train", "y_train", "x_test", "y_test")
    try:
        stored = np.load(archive, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with stored:
            missing = sorted(set(names) - set(stored.files))
            present = [name for name in (*names, "exact_train", "exact_test") if name in stored.files]
            arrays = {name: stored[name] for name in present}
        if not all(isinstance(array, np.ndarray) for array in arrays.values()):
            raise ValueError("a zip of other files")
    except PermissionError:
        raise
    except (zipfile.BadZipFile, zlib.error, TokenError, EOFError, OSError, ValueError) as error:
        raise DataError(f"{archive} is truncated or is no NumPy archive; {remedy}") from error
    if missing:
        raise DataError(f"{archive} has no array {missing}; {remedy}")
    inexact = {}
    for split in ("train", "test"):
        x = arrays[f"x_{split}"]
        _check_split(archive, split, x, arrays[f"y_{split}"])
        inexact[f"inexact_{split}"] = _count_inexact(archive, split, arrays.pop(f"exact_{split}", None), len(x))
    return Cifar10(**arrays, **inexact)


def _count_inexact(archive: Path, split: str, exact: np.ndarray | None, num_images: int) -> int:
    if exact is None:
        return 0
    if exact.dtype != np.bool_ or exact.shape != (num_images,):
        raise DataError(f"{archive}: exact_{split} is {exact.dtype} {exact.shape}; expected bool ({num_images},)")
    return int((~exact).sum())


def _check_split(archive: Path, split: str, x: np.ndarray, y: np.ndarray) -> None:
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE, 3) or len(x) == 0:
        raise DataError(
            f"{archive}: x_{split} is {x.dtype} {x.shape}; expected uint8 (N, {IMAGE_SIZE}, {IMAGE_SIZE}, 3)"
        )
    if y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer):
        raise DataError(f"{archive}: y_{split} is {y.dtype} {y.shape}; expected {len(x)} whole numbers")
    if y.min() < 0 or y.max() >= len(CLASS_NAMES):
        raise DataError(
            f"{archive}: y_{split} holds labels {y.min()} to {y.max()}; expected 0 to {len(CLASS_NAMES) - 1}"
        )


def _read_torchvision(folder: Path, download: bool) -> Cifar10:
    from torchvision.datasets import CIFAR10  # a second's import, needed only here

    arrays = {}
    for split in ("train", "test"):
        try:
            with warnings.catch_warnings():
                # The data set's pickles of 2009 give dtype() 0 for False. NumPy 2.4.0 to 2.4.4 warn of it, later and
                # earlier versions take it.
                warnings.filterwarnings("ignore", r"dtype\(\): align should be passed as", VisibleDeprecationWarning)
                dataset = CIFAR10(str(folder), train=split == "train", download=download)
        except RuntimeError as error:  # torchvision's, for a checksum that differs
            raise _incomplete(folder, CIFAR10.tgz_md5) if download else _not_there(folder) from error
        except HTTPException as error:
            raise _incomplete(folder, CIFAR10.tgz_md5) from error
        except PermissionError:
            raise
        except OSError as error:
            _remove_partial_download(folder, CIFAR10.tgz_md5)
            remedy = f"look at network and disk, or put {ARCHIVE} there"
            raise DataError(f"CIFAR-10 could not be stored in or fetched to {folder}: {error}; {remedy}") from error
        arrays[f"x_{split}"] = np.asarray(dataset.data)
        arrays[f"y_{split}"] = np.asarray(dataset.targets)
    return Cifar10(**arrays)


def _not_there(folder: Path) -> DataError:
    begun = f" (the download in {DOWNLOAD} is incomplete)" if (folder / DOWNLOAD).is_file() else ""
    return DataError(
        f"{folder} holds no {ARCHIVE} and no intact CIFAR-10{begun}; name the folder that does with --data; {FETCHED}"
    )


def _incomplete(folder: Path, md5: str) -> DataError:
    size = _remove_partial_download(folder, md5)
    return DataError(
        f"the download of CIFAR-10 to {folder} is incomplete or damaged ({size:,} bytes arrived and were removed); "
        f"try again, or put {ARCHIVE} there"
    )


def _remove_partial_download(folder: Path, md5: str) -> int:
    """Remove what torchvision fetched, unless it is whole; torchvision would fetch it anew in any case.

    Returns:
        How many bytes were removed.
    """
    from torchvision.datasets.utils import check_integrity

    partial = folder / DOWNLOAD
    with suppress(OSError):
        if partial.is_file() and not check_integrity(partial, md5):
            size = partial.stat().st_size
            partial.unlink()
            return size
    return 0


def normalise(
    pixels: Tensor, mean: tuple[float, ...] | Tensor = MEAN, std: tuple[float, ...] | Tensor = STD
) -> Tensor:
    """Pixels to what the networks are given.

    Args:
        pixels: (N, 3, H, W), uint8 0…255 or floating 0…1.
        mean, std: three numbers each; as tensors on the pixels' device they need no copy to it.

    Returns:
        (N, 3, H, W) float32, ``(pixels - mean) / std`` on the scale 0…1.
    """
    scale = 255.0 if pixels.dtype == torch.uint8 else 1.0
    shift = torch.as_tensor(mean, device=pixels.device).view(3, 1, 1)
    width = torch.as_tensor(std, device=pixels.device).view(3, 1, 1)
    return (pixels.float() / scale - shift) / width


def to_pixels(images: np.ndarray) -> Tensor:
    """(N, H, W, 3) uint8 → (N, 3, H, W) uint8 tensor in channels_last memory, without a copy."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2)

"""What the benchmarks that time something make of their options."""

from __future__ import annotations

import argparse

import torch

from abn.common.devices import DeviceError, choose_device
from abn.common.options import require_at_least_one


def device_and_counts(parser: argparse.ArgumentParser, args: argparse.Namespace, *counts: str) -> torch.device:
    """The device of `--device`; ends with the parser's message for one that is not to be had, or a count below 1.

    Args:
        counts: attributes of `args` that are numbers, lists of numbers, or None where they were left out.
    """
    require_at_least_one(parser, args, *counts)
    try:
        return choose_device(args.device)
    except DeviceError as error:
        parser.error(f"--device: {error}")

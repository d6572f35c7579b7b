"""Checks that several benchmarks make of their options."""

from __future__ import annotations

import argparse

import torch

from abn.common.devices import DeviceError, choose_device


def require_at_least_one(parser: argparse.ArgumentParser, args: argparse.Namespace, *names: str) -> None:
    """End with the parser's message if one of these options, or a number in its list, is below 1.

    None is one that was left out.

    Args:
        names: attributes of `args`, such as "batch_size" for --batch-size.
    """
    for name in names:
        value = getattr(args, name)
        for number in value if isinstance(value, list) else [value]:
            if number is not None and number < 1:
                parser.error(f"--{name.replace('_', '-')} is {number}; expected at least 1")


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

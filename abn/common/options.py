"""Checks that several commands make of their options."""

from __future__ import annotations

import argparse


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

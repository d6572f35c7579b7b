"""The page's sentences, computed from what was inspected."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from abn.app.export import Export
from abn.app.figures import Region
from abn.app.inspector.results import BlockResult, ChannelSum, NetworkResult, PictureResult
from abn.common.texts import escape
from abn.ui import about


def agreement(result: PictureResult) -> str:
    """Whether the networks say the same, with how much of the softmax."""
    labels = [escape(network.label) for network in result.networks]
    names = [escape(network.predicted_name) for network in result.networks]
    share = [f"{100 * network.probabilities[network.predicted]:.1f} %" for network in result.networks]
    if result.agree:
        return f"**They agree: {names[0]}** ({labels[0]} {share[0]}, {labels[1]} {share[1]} of the raw softmax)."
    return (
        f"**They disagree:** {labels[0]} says **{names[0]}** ({share[0]} of the raw softmax), "
        f"{labels[1]} says **{names[1]}** ({share[1]})."
    )


def opened(export: Export) -> str:
    """Of what a result that was read from a file is."""
    manifest = export.manifest
    return about.OPENED.format(
        first=escape(manifest.baseline.label), first_hash=manifest.baseline.weights_sha256[:8],
        second=escape(manifest.dmb.label), second_hash=manifest.dmb.weights_sha256[:8],
        hardware=escape(manifest.hardware),
    )  # fmt: skip


def examples(inspected: Sequence[tuple[str, PictureResult]]) -> str:
    """A table of what the networks call each example, misses included.

    Args:
        inspected: (file name without its ending, which begins with the class meant; result).
    """
    networks = inspected[0][1].networks
    lines = [f"| example | {networks[0].label} | {networks[1].label} |", "|---|---|---|"]
    right = [0, 0]
    for name, result in inspected:
        meant = name.split("-")[0]
        cells = []
        for side, network in enumerate(result.networks):
            hit = network.predicted_name == meant
            right[side] += hit
            share = f"{100 * network.probabilities[network.predicted]:.0f} %"
            cells.append(
                f"{network.predicted_name}, {share}" if hit else f"**{network.predicted_name}**, {share} (miss)"
            )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    counts = " and ".join(f"{network.label} {count}" for network, count in zip(networks, right, strict=True))
    return "\n".join(lines) + f"\n\nOf {len(inspected)} drawings, called what was meant: {counts}."


def own_share(network: NetworkResult) -> str:
    """How much of the picture's modulation is its own, and how much every picture gets."""
    share = network.own_share()
    if share is None:
        return missing_reference(network)
    ordinary = "" if share.median is None else f" ({100 * share.median:.1f} % for the median test image)"
    return (
        f"Of what {escape(network.label)} does to this picture's {_channels(network)} factors, "
        f"**{100 * share.share:.1f} %** is the picture's own{ordinary} and {100 * (1 - share.share):.1f} % is what "
        "every picture gets: shares of the squared distances from its factors to their means and from those to 1."
    )


def missing_reference(network: NetworkResult) -> str:
    return (
        f"This checkpoint of {escape(network.label)} carries no `reference.safetensors`, so its reference statistics "
        "over the data set are not known: deviations and percentiles cannot be shown, only raw values. "
        "`abn reference CHECKPOINT --data DIR` makes one."
    )


def static(network: NetworkResult) -> str:
    """For a network without modulation."""
    return (
        f"**{escape(network.label)}** has no factors: all {_channels(network)} are 1 by construction, for every "
        "picture."
    )


def _channels(network: NetworkResult) -> int:
    return sum(len(block.factors) for block in network.blocks)


def no_bank(network: NetworkResult) -> str:
    """For a modulated network without gates."""
    return f"**{escape(network.label)}** mixes its factors from no bank of biases, so it has no gate weights."


def channel_without_bank(block: BlockResult, channel: int) -> str:
    """One channel's factor and pre-activation, where that is no sum of parts that are known."""
    known = "" if block.preactivation is None else f", pre-activation {block.preactivation[channel]:+.5f}"
    return (
        f"**{escape(block.name)} channel {channel}**: factor {block.factors[channel]:.5f}{known}. This network has "
        "no bank of biases, so its pre-activation is no sum of bias terms."
    )


def channel_sum(channel: ChannelSum) -> str:
    """The exact sum with its residual, as printed beside its bars."""
    terms = " ".join(f"{value:+.5f}" for value in channel.bias_terms)
    return (
        f"**{escape(channel.block)} channel {channel.channel}**: linear term {channel.linear_term:+.5f}, "
        f"bias terms {terms}; sum m = {channel.preactivation:+.5f}, tanh m = {channel.factor - 1:+.5f}, "
        f"factor 1 + tanh m = {channel.factor:.5f}. The network's own value is {channel.network_factor:.5f}; "
        f"residual {channel.residual:+.1e}. An identity, not an attribution: it says how the factor came "
        "about, not what it does."
    )


def gates(names: Sequence[str], weights: np.ndarray, entropy: np.ndarray) -> str:
    """How far (blocks, K) gate weights are from uniform, and their (blocks,) entropy shares."""
    uniform, names = 1 / weights.shape[1], [escape(name) for name in names]
    spread = np.abs(weights - uniform).max(axis=1)
    return (
        f"The gate weights stay within {spread.max():.4f} of 1/{weights.shape[1]} for this picture (the widest are "
        f"in {names[spread.argmax()]}). Their entropy, as a share of the largest possible: {entropy.min():.5f} "
        f"({names[entropy.argmin()]}) to {entropy.max():.5f} ({names[entropy.argmax()]}); 1 is uniform."
    )


def regions(label: str, found: Sequence[Region], problem: str | None = None, *, adds_up: bool) -> str:
    """Where an attribution map is highest and lowest, and how much of its absolute sum lies there.

    Args:
        label: whose map.
        found: all its regions.
        problem: why the map says nothing, or None.
        adds_up: whether a region's value is the sum of its pixels', else it is their mean.
    """
    kind = "sum" if adds_up else "mean"
    name = f"**{escape(label)}**"
    if problem is not None:
        return f"{name}: {escape(problem)}."
    found = [each for each in found if not math.isnan(each.total)]
    if not found:
        return f"{name}: no region has a value."
    highest, lowest = (end(found, key=lambda each: each.value(adds_up)) for end in (max, min))
    said = [
        f"{way} in {_place(region)} ({kind} {region.value(adds_up):+.3g}; {100 * region.share:.0f} % of the absolute "
        "sum)"
        for way, region in (("highest", highest), ("lowest", lowest))
        if region.total * (1 if way == "highest" else -1) > 0
    ]
    return f"{name}: {' and '.join(said) or f'every region has a {kind} of 0'}."


def kept(seconds: int) -> str:
    """How long an upload is kept, of which sweeps every so many seconds delete those as old."""
    minutes = math.ceil(2 * seconds / 60)
    return about.KEPT.format(within="a minute" if minutes == 1 else f"{minutes} minutes")


def _place(region: Region) -> str:
    (top, bottom), (left, right) = region.rows, region.columns
    return f"rows {top}–{bottom}, columns {left}–{right}"

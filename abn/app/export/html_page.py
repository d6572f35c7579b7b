"""One HTML file that shows a picture's results to anybody, offline: figures, numbers, manifest.

It asks no host for anything, and its Content-Security-Policy sees to it. plotly.js takes two of its megabytes.
"""

from __future__ import annotations

import base64
import io
import json

import numpy as np
import plotly.graph_objects as go
from PIL import Image

from abn.app import figures
from abn.app.export.document import Export, manifest_json
from abn.app.export.html_parts import POLICY, SCRIPT, STYLE, packed_plotly
from abn.app.export.html_tables import (
    escape,
    gate_table,
    own_share,
    region_table,
    response_table,
    top_classes,
    unusual_table,
)
from abn.app.export.manifest import Origin
from abn.app.figures import drawing, notes
from abn.interpret.attribution.methods import METHODS

UNUSUAL = 10  # channels listed of each network


def to_html(export: Export) -> bytes:
    """The page, UTF-8."""
    page = _Page(export)
    body = "".join([page.head(), page.factors(), page.gates(), page.attribution(), page.responses(), page.manifest()])
    title = escape(f"{_name(export)}: {_verdict(export)}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
        f"<style>{STYLE}</style></head>\n<body><main>\n{body}</main>\n"
        f"{_json('abn-manifest', manifest_json(export))}{_json('figures', page.drawn())}"
        f'<script type="text/plain" id="plotly">{packed_plotly()}</script>\n<script>{SCRIPT}</script>\n'
        "</body></html>\n"
    ).encode()


def _json(identifier: str, content: str) -> str:
    # "<" could only stand in a text, where it would end the script or open a comment.
    return f'<script type="application/json" id="{identifier}">{content.replace("<", chr(92) + "u003c")}</script>\n'


def _name(export: Export) -> str:
    return export.manifest.picture.name or "Picture"


def _verdict(export: Export) -> str:
    first, second = export.result.networks
    if export.result.agree:
        return f"both say {first.predicted_name}"
    return f"{first.label} says {first.predicted_name}, {second.label} {second.predicted_name}"


class _Page:
    """Sections, and the figures that they ask for."""

    def __init__(self, export: Export) -> None:
        self.export = export
        self._figures: dict[str, go.Figure] = {}

    def drawn(self) -> str:
        """Identifier → figure, as JSON."""
        return (
            "{" + ",".join(f"{json.dumps(name)}:{figure.to_json()}" for name, figure in self._figures.items()) + "}"
        )

    def head(self) -> str:
        manifest, result = self.export.manifest, self.export.result
        tops = "".join(top_classes(network) for network in result.networks)
        return (
            f"<h1>{escape(_name(self.export))}: {escape(_verdict(self.export))}</h1>"
            '<p id="undrawn" class="problem" hidden></p>'
            "<noscript><p>The figures need JavaScript; the numbers below do not.</p></noscript>"
            f'<div class="picture"><figure><img class="pixels" src="{_data_url(result.pixels)}" '
            f'alt="What the networks were given: {result.pixels.shape[1]} × {result.pixels.shape[0]} pixels">'
            f'<figcaption class="aside">What the networks were given{_fitted(manifest.picture.fit)}'
            f'</figcaption></figure><div class="two">{tops}</div></div>{_not_shown(notes.PROBABILITIES)}'
        )

    def factors(self) -> str:
        parts = []
        for side, network in self.export.networks.items():
            if not network.is_modulated:
                count = sum(len(block.factors) for block in network.blocks)
                parts.append(f"<p>{escape(network.label)} has no factors: all {count} are 1, for every picture.</p>")
                continue
            mode = "deviation" if network.has_reference else "raw"
            blocks = drawing.block_factors(network)
            figure = self._place(f"factors-{side}", figures.factor_heatmap(blocks, mode), "Factors of every channel")
            parts.append(f"<h3>{escape(network.label)}</h3>{own_share(network)}{figure}")
            if network.has_reference:
                rows = figures.unusual_channels(blocks, UNUSUAL)
                parts.append(f"<p>{escape(figures.sentence_of_unusual(rows))}</p>{unusual_table(rows)}")
        return (
            "<h2>Factors</h2><p>Each cell is one channel of one block: what its convolution is multiplied with for "
            f"this picture, between 0 and 2.</p>{_not_shown(notes.FACTORS)}{''.join(parts)}"
        )

    def gates(self) -> str:
        parts = []
        for side, network in self.export.networks.items():
            if network.has_bank:
                figure = self._place(
                    f"gates-{side}", drawing.gate_weights(network, side), "Gate weights of every block"
                )
                parts.append(f"<h3>{escape(network.label)}</h3>{figure}{gate_table(network)}")
        if not parts:
            return ""
        return (
            "<h2>Gate weights</h2><p>How much of each bias vector this picture gets, block by block; they sum to "
            f"1.</p>{_not_shown(notes.GATES)}<div>{''.join(parts)}</div>"
        )

    def attribution(self) -> str:
        pair, question = self.export.attribution, self.export.manifest.question
        if pair is None:
            return ""
        method = METHODS[pair.method]
        options = ", ".join(f"{name} {value}" for name, value in question.options.items())
        *strips, difference = drawing.attribution(self.export.result, pair)
        title = drawing.difference_title(self.export.result)
        parts = []
        for (side, half), network, strip in zip(
            self.export.attributions.items(), self.export.result.networks, strips, strict=True
        ):
            text = ""
            if half.convergence_delta is not None:
                text = f"<p>Convergence delta {half.convergence_delta[0].item():+.3g} (logit units).</p>"
            if half.problems[0]:
                text += f'<p class="problem">{escape(half.problems[0])}</p>'
            name = f"Input, map and overlay of {network.label}"
            parts.append(
                f"<div><h3>{escape(network.label)}</h3>{text}{self._place(f'attribution-{side}', strip, name)}</div>"
            )
        labels = [*(network.label for network in self.export.result.networks), title]
        numbers = region_table(labels, [*pair.maps, pair.maps[1] - pair.maps[0]], method)
        return (
            f"<h2>Attribution: {escape(method.label)} for {escape(pair.target)}</h2><p>{escape(method.description)}"
            f"{escape(f' Options: {options}.' if options else '')}</p>{_not_shown(notes.ATTRIBUTION)}"
            f'<div class="two">{"".join(parts)}</div><h3>{escape(title)}</h3>'
            f"{self._place('attribution-difference', difference, 'Difference of the two maps')}"
            f"{_not_shown(notes.DIFFERENCE)}{numbers}"
        )

    def responses(self) -> str:
        figure = drawing.responses(self.export.result)
        if figure is None:
            return ""
        return (
            "<h2>Responses</h2><p>The mean output of each block's second convolution, one value a channel, before "
            f"any factor.</p>{_not_shown(notes.RESPONSES)}{self._place('responses', figure, 'Responses by block')}"
            f"{response_table(self.export.result)}"
        )

    def manifest(self) -> str:
        manifest, picture = self.export.manifest, self.export.manifest.picture
        rows: list[tuple[str, object]] = [("picture", picture.name or "unknown")]
        if picture.size is not None:
            rows.append(("its size", f"{picture.size[0]:,} × {picture.size[1]:,} pixels"))
        rows += [
            ("SHA-256 of its file", picture.sha256 or "unknown"),
            ("SHA-256 of its pixels", manifest.pixels_sha256),
        ]
        for origin in (manifest.baseline, manifest.dmb):
            rows.append((origin.label, f"{_origin(origin)}; SHA-256 of its weights {origin.weights_sha256}"))
        rows.append(("computed on", f"{manifest.device}: {manifest.hardware}"))
        versions = ", ".join(f"{name} {number}" for name, number in manifest.versions.items() if number is not None)
        rows.append(("versions", versions))
        lines = "".join(
            f'<tr><th scope="row">{escape(k)}</th><td class="break">{escape(v)}</td></tr>' for k, v in rows
        )
        return (
            '<h2>Where this comes from</h2><div class="scroll" tabindex="0">'
            f'<table id="manifest">{lines}</table></div>'
            '<p class="aside">The same as JSON, with every option, stands in this file as the script '
            "<code>abn-manifest</code>.</p>"
        )

    def _place(self, name: str, figure: go.Figure, label: str) -> str:
        self._figures[name] = figure
        return (
            f'<figure id="{name}" role="img" aria-label="{escape(label)}" '
            f'style="min-height:{figure.layout.height}px"></figure>'
        )


def _not_shown(sentence: str) -> str:
    return f'<p class="aside"><em>{notes.NOT_SHOWN}</em> {escape(sentence)}</p>'


def _data_url(pixels: np.ndarray) -> str:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return f"data:image/png;base64,{base64.b64encode(content.getvalue()).decode()}"


def _fitted(fit: str | None) -> str:
    return {"crop": ": the picture's centre square", "pad": ": all of it, with black bars"}.get(fit, "")


def _origin(origin: Origin) -> str:
    place = f"from the Hub, {origin.source}, commit {origin.commit}" if origin.commit else f"folder {origin.source}"
    biases = "" if origin.num_biases is None else f", K = {origin.num_biases}"
    return f"{origin.architecture}{biases}, {place}"

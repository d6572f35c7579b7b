"""Attribution maps: signed, on one symmetric scale, pixel by pixel, alone or over the picture."""

from __future__ import annotations

import textwrap

import numpy as np
import plotly.graph_objects as go

from abn.app.figures.style import (
    axis,
    colour_bar,
    colour_scale,
    new_figure,
    note,
    plain,
    symmetric_ticks,
    veil_scale,
)

MAP_HEIGHT = 340  # pixels
STRIP_HEIGHT = 296


def shared_limit(*maps: np.ndarray, quantile: float = 0.995) -> float:
    """One limit for several maps, so that equal colours mean equal values.

    Args:
        maps: any shapes; values that are not finite are passed over.
        quantile: of all absolute values, so that a few pixels cannot pale the rest; 1 for the largest. The
            figures say how many pixels lie beyond.

    Returns:
        The limit, above 0; 1.0 where all maps are blank.

    Raises:
        ValueError: for a quantile outside (0, 1].
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile is {quantile!r}; expected above 0 and at most 1")
    values = np.concatenate([np.abs(np.asarray(m, np.float64)).ravel() for m in maps] or [np.empty(0)])
    values = values[np.isfinite(values)]
    if not values.any():
        return 1.0
    # Where nearly all pixels are 0 the quantile is 0 too, and only the maximum can be a scale.
    return float(np.quantile(values, quantile) or values.max())


def attribution_map(
    values: np.ndarray,
    limit: float,
    title: str = "map",
    unit: str = "attribution, logit",
    blank: str | None = None,
) -> go.Figure:
    """A signed map alone, e.g. of one network, or the difference of two.

    Args:
        values: (H, W), signed.
        limit: the colours end at ±limit.
        title: what the map shows, printed above it.
        unit: the quantity and its unit, printed at the colour bar (38 letters fit a narrow page).
        blank: cause to be printed if the map is blank; None for what the values themselves say.

    Raises:
        ValueError: for values that are not (H, W), or a limit that is not above 0.
    """
    values = _checked_map(values, limit)
    figure = new_figure("attribution_map", MAP_HEIGHT, title=title, limit=limit)
    _add_panel(figure, 1, 1, title, values.shape)
    _add_map(figure, 1, values, limit, unit, colour_scale())
    _say_if_blank(figure, 1, values, blank)
    return figure


def attribution_strip(
    pixels: np.ndarray,
    values: np.ndarray,
    limit: float,
    opacity: float = 0.7,
    network: str = "",
    unit: str = "attribution, logit",
    blank: str | None = None,
) -> go.Figure:
    """One network's input, map and overlay side by side; give all networks the same `limit`.

    Args:
        pixels: (H, W, 3) what the network saw, uint8 or floating 0…1.
        values: (H, W), signed.
        limit, unit, blank: as in `attribution_map`.
        opacity: 0…1, that of a pixel at ±limit over the picture in grey: the stronger the attribution, the
            less of the picture shows.
        network: its name, for hover texts.

    Raises:
        ValueError: for shapes that do not agree, an opacity outside 0…1, or a limit that is not above 0.
    """
    pixels, values = _checked_pair(pixels, values, limit)
    _check_opacity(opacity)
    figure = new_figure("attribution_strip", STRIP_HEIGHT, network=network, limit=limit, opacity=opacity)
    for panel, title in enumerate(("input", "map", f"overlay {100 * opacity:.0f} %"), start=1):
        _add_panel(figure, panel, 3, title, values.shape)
    _add_picture(figure, 1, pixels)
    _add_map(figure, 2, values, limit, unit, colour_scale(), network)
    _add_picture(figure, 3, _grey(pixels))
    _add_map(figure, 3, values, limit, unit, veil_scale(opacity), network, bar=False)
    _say_if_blank(figure, 2, values, blank)
    return figure


def _add_panel(figure: go.Figure, panel: int, of: int, title: str, shape: tuple[int, int]) -> None:
    """Axes of one picture, square pixels, row 0 on top, a title above it."""
    height, width = shape
    suffix = "" if panel == 1 else str(panel)
    gap = 0.03
    left = (panel - 1) * (1 + gap) / of
    domain = [left, min(1.0, left + (1 + gap) / of - gap)]
    ticks = {
        "showgrid": False,
        "zeroline": False,
        "constrain": "domain",
    }
    figure.update_layout(
        {
            # Of several panels the last has its title where plotly's buttons are: they need a line above it.
            "margin": {"t": 26 if of == 1 else 50, "b": 106},
            f"xaxis{suffix}": axis(
                "column, pixels" if of == 1 else "column, px",
                domain=domain,
                anchor=f"y{suffix}",
                range=[-0.5, width - 0.5],
                tickvals=_pixel_ticks(width),
                **ticks,
            ),
            f"yaxis{suffix}": axis(
                ("row, pixels" if of == 1 else "row, px") if panel == 1 else None,
                anchor=f"x{suffix}",
                range=[height - 0.5, -0.5],
                tickvals=_pixel_ticks(height),
                showticklabels=panel == 1,
                scaleanchor=f"x{suffix}",
                # On a narrow page panels shrink: they stay below their titles, with the free room under them.
                constraintoward="top",
                **ticks,
            ),
        }
    )
    note(
        figure,
        plain(title),
        xref=f"x{suffix} domain",
        yref=f"y{suffix} domain",
        y=1,
        yanchor="bottom",
        yshift=2,
    )


def _pixel_ticks(size: int) -> list[int]:
    # Away from the ends, where the labels of neighbouring panels would meet.
    return sorted({size // 4, size // 2, 3 * size // 4})


def _add_picture(figure: go.Figure, panel: int, pixels: np.ndarray) -> None:
    figure.add_image(
        z=pixels,
        hovertemplate="row %{y}, column %{x}<br>red %{z[0]}, green %{z[1]}, blue %{z[2]} of 255<extra></extra>",
        **_axes(panel),
    )


def _add_map(
    figure: go.Figure,
    panel: int,
    values: np.ndarray,
    limit: float,
    unit: str,
    scale: list[list],
    network: str = "",
    bar: bool = True,
) -> None:
    finite = np.isfinite(values)
    beyond = int((np.abs(values[finite]) > limit * (1 + 1e-6)).sum())
    extent = f"{beyond} of {values.size} pixels beyond the scale" if beyond else "no pixel beyond the scale"
    if not finite.all():
        extent = f"{beyond} beyond the scale, {int((~finite).sum())} without value"
    ticks = symmetric_ticks(0, limit, bool(beyond), count=3)
    figure.add_heatmap(
        # A blank map's colour would say "0 everywhere" under the note that says why it is blank.
        z=np.full_like(values, np.nan) if _is_blank(values) else values,
        zmin=-limit,
        zmax=limit,
        colorscale=scale,
        zsmooth=False,
        showscale=bar,
        colorbar=colour_bar(f"{plain(unit)}<br>{extent}", ticks) if bar else None,
        hoverongaps=False,
        hovertemplate=f"{plain(network)} row %{{y}}, column %{{x}}<br><b>%{{z:+.4g}}</b> {plain(unit)}"
        "<extra></extra>".lstrip(),
        **_axes(panel),
    )


def _is_blank(values: np.ndarray) -> bool:
    return not np.nan_to_num(values).any()


def _say_if_blank(figure: go.Figure, panel: int, values: np.ndarray, cause: str | None) -> None:
    if not _is_blank(values):
        return
    if cause is None:
        finite = np.isfinite(values)
        cause = "every value is 0" if finite.any() else "no value is a finite number"
        if finite.any() and not finite.all():
            cause = f"every finite value is 0, and {np.count_nonzero(~finite)} are not finite"
    suffix = "" if panel == 1 else str(panel)
    note(figure, "blank", xref=f"x{suffix} domain", yref=f"y{suffix} domain")
    # The cause stands where the colour bar would: plotly draws none for a map without values.
    lines = textwrap.wrap(f"blank map: {cause}", width=38)
    note(figure, "<br>".join(map(plain, lines)), y=0, yanchor="top", yshift=-48)


def _grey(pixels: np.ndarray) -> np.ndarray:
    """The picture without its colours, so that red and blue over it are the map's alone."""
    luminance = pixels @ np.array([0.2126, 0.7152, 0.0722])
    return np.repeat(np.rint(luminance)[..., None], 3, axis=2).astype(np.uint8)


def _axes(panel: int) -> dict[str, str]:
    suffix = "" if panel == 1 else str(panel)
    return {"xaxis": f"x{suffix}", "yaxis": f"y{suffix}"}


def _checked_map(values: np.ndarray, limit: float) -> np.ndarray:
    values = np.asarray(values, np.float32)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"the map has shape {values.shape}; expected (H, W)")
    if not (np.isfinite(limit) and limit > 0):
        raise ValueError(f"limit is {limit!r}; expected a finite number above 0")
    return np.where(np.isfinite(values), values, np.float32(np.nan))


def _checked_pixels(pixels: np.ndarray) -> np.ndarray:
    pixels = np.asarray(pixels)
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
        raise ValueError(f"the picture has shape {pixels.shape}; expected (H, W, 3)")
    if np.issubdtype(pixels.dtype, np.floating):
        pixels = np.rint(255 * np.clip(pixels, 0, 1))
    return pixels.astype(np.uint8)


def _checked_pair(pixels: np.ndarray, values: np.ndarray, limit: float) -> tuple[np.ndarray, np.ndarray]:
    pixels, values = _checked_pixels(pixels), _checked_map(values, limit)
    if pixels.shape[:2] != values.shape:
        raise ValueError(f"the map has shape {values.shape}, the picture {pixels.shape[:2]}; expected the same")
    return pixels, values


def _check_opacity(opacity: float) -> None:
    if not 0 <= opacity <= 1:
        raise ValueError(f"opacity is {opacity!r}; expected 0 to 1")

"""Draws the example pictures in `assets/examples`: small scenes, at least one for each CIFAR-10 class.

    python assets/draw_examples.py            # rewrites all of them, bit for bit the same
    python assets/draw_examples.py cat ship-2  # only these

A scene is a list of parts (`raymarch.Part`), something far away behind them, and a ground. Sizes, angles of view and
surroundings follow what photographs of the class usually show: ships on the sea from the side, frogs from close by.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from raymarch import SIZE, Array, Part, Scene, ball, block, disc, fractal, limb, mix, plate, ramp, render, sample

FOLDER = Path(__file__).resolve().parent / "examples"
RAYS = 2  # per pixel, in each direction

BLACK, DARK, GREY, WHITE = (0.01, 0.01, 0.012), (0.03, 0.03, 0.035), (0.35, 0.35, 0.36), (0.85, 0.85, 0.83)
GLASS = (0.02, 0.03, 0.04)


# What is far away, and the ground


def sky(zenith, horizon, clouds: float = 0.0, seed: int = 50) -> Callable[[Array], Array]:
    noise = fractal(seed)

    def colours(d: Array) -> Array:
        base = mix(horizon, zenith, ramp(-0.05, 0.45, d[:, 1]))
        height = np.maximum(d[:, 1], 0) + np.float32(0.35)
        cover = ramp(0.0, 0.45, sample(noise, d[:, 0] / height * 0.13, d[:, 2] / height * 0.13 + height * 0.2))
        return mix(0, 1, 1 - cover * clouds) * base + (cover * clouds)[:, None] * np.float32([0.95, 0.95, 0.97])

    return colours


def woods(near, far, top: float, above: Callable[[Array], Array], seed: int = 60) -> Callable[[Array], Array]:
    """Trees or walls along the horizon, `top` high, in two mottled colours, and something above them."""
    noise = fractal(seed)

    def colours(d: Array) -> Array:
        across = d[:, 0] - d[:, 2] * np.float32(0.6)
        crowns = np.float32(top) * (1 + sample(noise, across * 0.25, across * 0))
        mottled = mix(near, far, ramp(-0.4, 0.4, sample(noise, across * 0.5, d[:, 1] * 0.8)))
        return (
            mix(mottled, 0, ramp(-0.015, 0.015, d[:, 1] - crowns))
            + above(d) * ramp(-0.015, 0.015, d[:, 1] - crowns)[:, None]
        )

    return colours


def field_of(dark, light, scale: float = 1.0, seed: int = 70) -> Callable[[Array], Array]:
    """Grass, sand, asphalt: two colours, mottled coarsely and finely."""
    noise = fractal(seed)

    def colours(p: Array) -> Array:
        coarse = sample(noise, p[:, 0] * 0.06 * scale, p[:, 2] * 0.06 * scale)
        fine = sample(noise, p[:, 0] * 0.45 * scale, p[:, 2] * 0.3 * scale)
        return mix(dark, light, np.clip(0.5 + 0.5 * coarse + 0.9 * fine, 0, 1))

    return colours


def sea(dark, light, seed: int = 80) -> Callable[[Array], Array]:
    noise = fractal(seed)

    def colours(p: Array) -> Array:
        waves = sample(noise, p[:, 0] * 0.07, p[:, 2] * 0.2) + 0.6 * sample(noise, p[:, 0] * 0.3, p[:, 2] * 0.9)
        return mix(dark, light, ramp(-0.7, 1.0, waves))

    return colours


def road(verge: Callable[[Array], Array], edge: float = -1.6) -> Callable[[Array], Array]:
    asphalt = field_of((0.13, 0.13, 0.135), (0.2, 0.2, 0.2), 2.0)

    def colours(p: Array) -> Array:
        kerb = mix(asphalt(p), (0.45, 0.44, 0.42), ramp(0.14, 0.12, np.abs(p[:, 2] - np.float32(edge))))
        return (
            mix(kerb, 0, ramp(edge - 0.1, edge - 0.14, p[:, 2]))
            + verge(p) * ramp(edge - 0.1, edge - 0.14, p[:, 2])[:, None]
        )

    return colours


BLUE_SKY = sky((0.1, 0.26, 0.62), (0.5, 0.66, 0.85))
CLOUDY = sky((0.18, 0.36, 0.7), (0.62, 0.74, 0.88), clouds=0.9)
GRASS = field_of((0.06, 0.13, 0.02), (0.2, 0.32, 0.07))
TREES = woods((0.02, 0.05, 0.012), (0.09, 0.15, 0.04), 0.16, BLUE_SKY)


# Helpers of the objects


def where(inside: Array, paint, other) -> Array:
    """`paint` where a condition holds, `other` elsewhere; both colours."""
    return np.where(inside[:, None], np.float32(paint), np.float32(other))


def shaded(top, bottom, low: float, high: float) -> Callable[[Array], Array]:
    """A colour that changes with height, as on a belly."""
    return lambda p: mix(bottom, top, ramp(low, high, p[:, 1]))


def wheels(*places: float, radius: float, z: float, half: float = 0.09) -> list[Part]:
    parts = []
    for x in places:
        parts += [
            Part(disc((x, radius, z), radius, half, 0.04), DARK, both=True),
            Part(
                disc((x, radius, z + half - 0.02), radius * 0.58, 0.04, 0.01), (0.5, 0.5, 0.52), gloss=0.4, both=True
            ),
        ]
    return parts


# The scenes


def airplane(livery=(0.02, 0.06, 0.3), **options) -> Scene:
    def hull(p: Array) -> Array:
        windows = (np.abs(p[:, 1] - 0.045) < 0.022) & ((p[:, 0] * 14) % 1 < 0.55) & (np.abs(p[:, 0] + 0.05) < 0.8)
        cockpit = (p[:, 0] > 0.9) & (np.abs(p[:, 1] - 0.06) < 0.03)
        stripe = np.abs(p[:, 1] + 0.03) < 0.025
        return where(windows | cockpit, GLASS, where(stripe, livery, where(p[:, 1] < -0.07, (0.5, 0.5, 0.52), WHITE)))

    return Scene(
        parts=[
            Part(limb((-0.95, 0, 0), (0.85, 0, 0), 0.135, 0.135), hull, gloss=0.4),
            Part(ball((0.87, -0.01, 0), (0.26, 0.125, 0.13)), hull, 0.05, gloss=0.4),
            Part(limb((-0.9, 0, 0), (-1.4, 0.07, 0), 0.13, 0.03), hull, 0.05),
            Part(plate([(-1.4, 0.08), (-1.0, 0.1), (-1.27, 0.56), (-1.46, 0.56)], 2, 0, 0.03), livery, 0.02),
            Part(
                plate([(0.32, 0.05), (-0.15, 0.05), (-0.5, 1.2), (-0.32, 1.2)], 1, -0.06, 0.028),
                (0.62, 0.63, 0.65),
                0.05,
                both=True,
            ),
            Part(
                plate([(-1.05, 0.0), (-1.32, 0.0), (-1.5, 0.45), (-1.36, 0.45)], 1, 0.08, 0.02),
                (0.62, 0.63, 0.65),
                0.02,
                both=True,
            ),
            Part(limb((0.24, -0.17, 0.42), (-0.06, -0.16, 0.42), 0.085, 0.06), GREY, 0.01, gloss=0.3, both=True),
        ],
        **{"backdrop": CLOUDY, "eye": (32, -20, 6.2), "target": (-0.1, 0.06, 0.1), "field_of_view": 24.0, "blur": 1.5}
        | options,
    )


def automobile(paint=(0.5, 0.02, 0.02), **options) -> Scene:
    def cabin(p: Array) -> Array:
        pane = (p[:, 1] > 0.5) & (p[:, 1] < 0.735)
        pillar = (np.abs(p[:, 2]) > 0.33) & (
            (np.abs(p[:, 0] + 0.12) < 0.035) | (np.abs(p[:, 0] - 0.56 + (p[:, 1] - 0.45) * 0.9) < 0.05)
        )
        return where(pane & ~pillar, GLASS, paint)

    def body(p: Array) -> Array:
        grille = (p[:, 0] > 1.02) & (np.abs(p[:, 1] - 0.3) < 0.06) & (np.abs(p[:, 2]) < 0.2)
        door = (np.abs(p[:, 0] + 0.12) < 0.008) | (np.abs(p[:, 0] - 0.42) < 0.008)
        arch = (np.abs(p[:, 0]) - 0.68) ** 2 + (p[:, 1] - 0.2) ** 2 < 0.235**2
        return where(grille | arch | (p[:, 1] < 0.19), DARK, where(door & (np.abs(p[:, 2]) > 0.4), BLACK, paint))

    return Scene(
        parts=[
            Part(block((0, 0.34, 0), (1.1, 0.18, 0.45), 0.11), body, gloss=0.8),
            Part(
                plate([(-0.95, 0.44), (0.62, 0.44), (0.2, 0.82), (-0.62, 0.82)], 2, 0, 0.39, 0.09),
                cabin,
                0.05,
                gloss=0.9,
            ),
            Part(ball((1.04, 0.39, 0.3), (0.07, 0.06, 0.11)), WHITE, gloss=0.8, both=True),
            Part(ball((-1.08, 0.41, 0.32), (0.04, 0.06, 0.1)), (0.3, 0.0, 0.0), gloss=0.5, both=True),
            Part(block((1.07, 0.24, 0), (0.06, 0.05, 0.42), 0.03), GREY, 0.02, gloss=0.3),
            *wheels(-0.68, 0.68, radius=0.2, z=0.39),
        ],
        **{
            "backdrop": TREES,
            "ground": road(GRASS),
            "eye": (32, 13, 5.4),
            "target": (0.0, 0.36, 0),
            "field_of_view": 26.0,
        }
        | options,
    )


def truck(paint=(0.03, 0.1, 0.4), box=(0.8, 0.8, 0.78), **options) -> Scene:
    def cab(p: Array) -> Array:
        screen = (p[:, 1] > 0.66) & (p[:, 1] < 0.95) & ((np.abs(p[:, 2]) < 0.36) | (p[:, 0] < 1.2))
        grille = (p[:, 0] > 1.2) & (np.abs(p[:, 1] - 0.4) < 0.12) & (np.abs(p[:, 2]) < 0.26)
        return where(screen & (p[:, 0] > 0.9), GLASS, where(grille, DARK, paint))

    def load(p: Array) -> Array:
        stripe = np.abs(p[:, 1] - 0.62) < 0.06
        rib = (p[:, 0] * 5) % 1 < 0.06
        return where(stripe, paint, where(rib, np.float32(box) * 0.7, box))

    return Scene(
        parts=[
            Part(block((0.93, 0.62, 0), (0.34, 0.46, 0.43), 0.07), cab, gloss=0.6),
            Part(block((-0.3, 0.86, 0), (0.86, 0.56, 0.46), 0.025), load, gloss=0.15),
            Part(block((-0.05, 0.25, 0), (1.15, 0.08, 0.3), 0.02), DARK),
            Part(block((1.24, 0.22, 0), (0.07, 0.08, 0.43), 0.03), GREY, gloss=0.3),
            Part(ball((1.27, 0.36, 0.33), (0.04, 0.06, 0.08)), WHITE, gloss=0.6, both=True),
            *wheels(-0.92, -0.5, 0.86, radius=0.21, z=0.38),
        ],
        **{
            "backdrop": TREES,
            "ground": road(GRASS),
            "eye": (36, 9, 6.4),
            "target": (0.05, 0.66, 0),
            "field_of_view": 27.0,
        }
        | options,
    )


def ship(**options) -> Scene:
    def hull(p: Array) -> Array:
        return where(p[:, 1] < 0.09, (0.3, 0.04, 0.03), where(p[:, 1] > 0.31, WHITE, (0.03, 0.05, 0.12)))

    def deck(p: Array) -> Array:
        windows = ((p[:, 1] * 7.5) % 1 < 0.4) & ((p[:, 0] * 12) % 1 < 0.6) & (np.abs(p[:, 2]) > 0.12)
        return where(windows & (p[:, 1] > 0.42), (0.06, 0.07, 0.09), WHITE)

    boxes = [(0.45, 0.06, 0.04), (0.5, 0.25, 0.04), (0.05, 0.2, 0.4), (0.08, 0.3, 0.14), (0.5, 0.45, 0.35)]
    cargo = [
        Part(block((-0.12 + 0.27 * i, 0.42 + 0.15 * j, 0), (0.125, 0.07, 0.2), 0.01), boxes[(i * 2 + j * 3) % 5])
        for i in range(4)
        for j in range(2 if i < 3 else 1)
    ]
    return Scene(
        parts=[
            Part(plate([(-1.3, -0.1), (1.05, -0.1), (1.38, 0.42), (-1.36, 0.36)], 2, 0, 0.27, 0.05), hull, gloss=0.2),
            Part(
                plate([(-1.45, -0.27), (0.9, -0.29), (1.2, 0), (0.9, 0.29), (-1.45, 0.27)], 1, 0, 0.02),
                (0.5, 0.58, 0.62),
            ),
            Part(block((-0.85, 0.56, 0), (0.3, 0.26, 0.22), 0.02), deck),
            Part(block((-0.8, 0.9, 0), (0.2, 0.1, 0.24), 0.02), deck),
            Part(limb((-1.0, 0.75, 0), (-1.04, 1.12, 0), 0.09, 0.08), (0.4, 0.05, 0.03)),
            Part(limb((-0.72, 0.9, 0), (-0.72, 1.25, 0), 0.02, 0.012), GREY),
            Part(limb((1.0, 0.35, 0), (1.0, 0.85, 0), 0.02, 0.012), GREY),
            *cargo,
        ],
        **{
            "backdrop": CLOUDY,
            "ground": sea((0.012, 0.05, 0.11), (0.1, 0.2, 0.3)),
            "eye": (16, 7, 6.6),
            "target": (0.02, 0.5, 0),
            "field_of_view": 26.0,
        }
        | options,
    )


def sailing_ship() -> Scene:
    canvas = (0.9, 0.82, 0.7)
    return Scene(
        parts=[
            Part(
                plate([(-0.85, -0.1), (0.7, -0.1), (1.05, 0.3), (-0.95, 0.26)], 2, 0, 0.2, 0.05),
                (0.1, 0.035, 0.02),
                gloss=0.2,
            ),
            Part(block((-0.25, 0.32, 0), (0.35, 0.06, 0.12), 0.03), (0.4, 0.25, 0.14)),
            Part(limb((0.05, 0.2, 0), (0.05, 2.1, 0), 0.025, 0.015), (0.2, 0.12, 0.07)),
            Part(plate([(0.0, 0.5), (0.0, 2.0), (-0.95, 0.5)], 2, 0.02, 0.02, 0.01), canvas),
            Part(plate([(0.12, 0.45), (0.1, 1.9), (1.0, 0.4)], 2, -0.02, 0.02, 0.01), canvas),
        ],
        backdrop=sky((0.16, 0.2, 0.42), (0.95, 0.45, 0.16), clouds=0.35),
        ground=sea((0.06, 0.05, 0.09), (0.55, 0.3, 0.16)),
        eye=(-18, 5, 7.0),
        target=(0.03, 0.92, 0),
        sun=(0.6, 0.35, 0.6),
        sunlight=(1.2, 0.75, 0.4),
        skylight=(0.4, 0.36, 0.42),
    )


def horse(**options) -> Scene:
    coat, mane = (0.27, 0.11, 0.04), (0.025, 0.015, 0.01)

    def leg(p: Array) -> Array:
        return mix(mane, coat, ramp(0.1, 0.45, p[:, 1]))

    def legs(x: float, hock: float, hoof: float, z: float, thigh: float) -> list[Part]:
        return [
            Part(limb((x, 0.84, z), (hock, 0.44, z), thigh, 0.055), leg, 0.1),
            Part(limb((hock, 0.44, z), (hoof, 0.1, z), 0.05, 0.036), leg, 0.03),
            Part(limb((hoof, 0.09, z), (hoof + 0.04, 0.03, z), 0.045, 0.055), BLACK, 0.02),
        ]

    return Scene(
        parts=[
            Part(ball((0, 0.98, 0), (0.6, 0.25, 0.21)), coat, gloss=0.25),
            Part(ball((0.42, 0.98, 0), (0.25, 0.28, 0.2)), coat, 0.15, gloss=0.25),
            Part(ball((-0.46, 1.02, 0), (0.28, 0.29, 0.22)), coat, 0.15, gloss=0.25),
            Part(limb((0.5, 1.1, 0), (0.9, 1.55, 0), 0.19, 0.11), coat, 0.12, gloss=0.25),
            Part(limb((0.9, 1.6, 0), (1.22, 1.3, 0), 0.12, 0.07), coat, 0.06, gloss=0.2),
            Part(limb((0.86, 1.68, 0.06), (0.9, 1.82, 0.07), 0.035, 0.012), coat, 0.02, both=True),
            Part(ball((1.0, 1.56, 0.1), (0.03, 0.03, 0.03)), BLACK, both=True, gloss=0.5),
            Part(ball((1.25, 1.28, 0), (0.07, 0.06, 0.065)), mane, 0.05),
            *[Part(ball((0.46 + 0.1 * i, 1.3 + 0.1 * i, 0), (0.1, 0.13, 0.06), -40), mane, 0.05) for i in range(5)],
            Part(limb((-0.7, 1.12, 0), (-0.86, 0.85, 0), 0.05, 0.09), mane, 0.05),
            Part(limb((-0.86, 0.85, 0), (-0.84, 0.42, 0), 0.09, 0.03), mane, 0.05),
            *legs(0.44, 0.47, 0.45, 0.12, 0.1),
            *legs(0.42, 0.3, 0.2, -0.12, 0.1),
            *legs(-0.5, -0.62, -0.56, 0.12, 0.14),
            *legs(-0.48, -0.5, -0.38, -0.12, 0.14),
        ],
        **{
            "backdrop": TREES,
            "ground": GRASS,
            "eye": (14, 6, 6.4),
            "target": (0.18, 0.92, 0),
            "field_of_view": 23.0,
            "fur": 0.15,
        }
        | options,
    )


def deer() -> Scene:
    coat, pale = (0.33, 0.17, 0.07), (0.6, 0.48, 0.35)
    body = shaded(coat, pale, 0.72, 0.92)

    def leg(x: float, hock: float, hoof: float, z: float) -> list[Part]:
        return [
            Part(limb((x, 0.85, z), (hock, 0.45, z), 0.1, 0.045), coat, 0.08),
            Part(limb((hock, 0.45, z), (hoof, 0.03, z), 0.042, 0.032), (0.24, 0.12, 0.05), 0.02),
        ]

    def antler(z: float) -> list[Part]:
        bone = (0.36, 0.27, 0.17)
        points = [(0.72, 1.72, z), (0.6, 1.92, z * 3), (0.66, 2.16, z * 4.4), (0.8, 2.3, z * 4)]
        tines = [((0.6, 1.92, z * 3), (0.78, 2.06, z * 3.4)), ((0.66, 2.16, z * 4.4), (0.5, 2.3, z * 4.6))]
        return [Part(limb(a, b, 0.03, 0.022), bone) for a, b in [*pairwise(points), *tines]]

    return Scene(
        parts=[
            Part(ball((0, 0.95, 0), (0.5, 0.21, 0.18)), body),
            Part(ball((0.34, 0.98, 0), (0.2, 0.23, 0.16)), body, 0.12),
            Part(ball((-0.38, 0.98, 0), (0.23, 0.23, 0.18)), body, 0.12),
            Part(ball((-0.6, 1.02, 0), (0.07, 0.13, 0.07)), (0.85, 0.8, 0.72), 0.03),
            Part(limb((0.42, 1.08, 0), (0.66, 1.5, 0), 0.15, 0.085), coat, 0.1),
            Part(ball((0.47, 1.2, 0), (0.07, 0.15, 0.08), -30), pale, 0.08),
            Part(limb((0.68, 1.6, 0), (0.96, 1.5, 0), 0.105, 0.05), coat, 0.06),
            Part(ball((1.0, 1.49, 0), (0.035, 0.035, 0.04)), BLACK, 0.02, gloss=0.4),
            Part(ball((0.78, 1.63, 0.09), (0.03, 0.03, 0.025)), BLACK, gloss=0.6, both=True),
            Part(ball((0.58, 1.68, 0.17), (0.07, 0.06, 0.13), -20), coat, 0.03, both=True),
            *antler(0.07),
            *antler(-0.07),
            *leg(0.38, 0.41, 0.4, 0.1),
            *leg(0.36, 0.3, 0.26, -0.1),
            *leg(-0.42, -0.54, -0.48, 0.1),
            *leg(-0.4, -0.46, -0.36, -0.1),
        ],
        backdrop=woods((0.07, 0.1, 0.035), (0.24, 0.26, 0.1), 0.5, sky((0.4, 0.45, 0.4), (0.5, 0.5, 0.4))),
        ground=field_of((0.12, 0.15, 0.03), (0.36, 0.36, 0.13)),
        eye=(24, 5, 7.0),
        target=(0.14, 1.14, 0),
        field_of_view=22.0,
        fur=0.25,
    )


def dog() -> Scene:
    coat, ear = (0.5, 0.28, 0.1), (0.3, 0.14, 0.05)
    pale = (0.75, 0.6, 0.42)
    return Scene(
        parts=[
            Part(ball((0.08, 1.0, 0), (0.33, 0.33, 0.31)), coat),
            Part(limb((0.28, 0.88, 0), (0.54, 0.84, 0), 0.18, 0.135), pale, 0.1),
            Part(ball((0.67, 0.92, 0), (0.06, 0.06, 0.085)), BLACK, 0.01, gloss=0.7),
            Part(ball((0.52, 0.71, 0), (0.16, 0.03, 0.085)), (0.6, 0.15, 0.15), 0.01),
            Part(limb((0.3, 0.74, 0), (0.5, 0.69, 0), 0.1, 0.06), pale, 0.05),
            Part(ball((0.36, 1.06, 0.145), (0.05, 0.055, 0.05)), BLACK, gloss=0.9, both=True),
            Part(ball((0.02, 0.96, 0.33), (0.17, 0.31, 0.075), 8), ear, 0.03, both=True),
            Part(limb((0.0, 0.8, 0), (-0.12, 0.3, 0), 0.25, 0.36), coat, 0.1),
            Part(ball((0.12, 0.42, 0), (0.2, 0.32, 0.22)), pale, 0.12),
            Part(ball((-0.5, 0.3, 0), (0.5, 0.36, 0.36)), coat, 0.12),
            Part(limb((0.12, 0.35, 0.2), (0.2, -0.2, 0.2), 0.13, 0.11), coat, 0.06, both=True),
        ],
        backdrop=woods((0.03, 0.06, 0.015), (0.1, 0.17, 0.05), 0.3, BLUE_SKY),
        ground=lambda p: GRASS(p),
        eye=(58, 6, 4.4),
        target=(0.12, 0.86, 0.02),
        field_of_view=18.0,
        sun=(0.5, 0.8, 0.6),
        blur=3.5,
        fur=0.3,
    )


def cat() -> Scene:
    coat, dark, pale = (0.34, 0.24, 0.16), (0.08, 0.055, 0.04), (0.75, 0.68, 0.6)

    def tabby(p: Array) -> Array:
        wave = (p[:, 1] * 1.0 + p[:, 0] * 0.55 + np.abs(p[:, 2]) * 0.35) * 7 % 1
        return mix(dark, coat, ramp(0.12, 0.3, np.abs(wave - 0.5)))

    def eye(p: Array) -> Array:
        return where(np.abs(p[:, 2] - 0.13) < 0.02, BLACK, (0.5, 0.5, 0.08))

    return Scene(
        parts=[
            Part(ball((0.2, 0.86, 0), (0.27, 0.27, 0.32)), tabby),
            Part(limb((0.16, 1.04, 0.19), (0.14, 1.27, 0.26), 0.11, 0.012), coat, 0.03, both=True),
            Part(limb((0.22, 1.05, 0.19), (0.18, 1.2, 0.245), 0.06, 0.01), (0.55, 0.3, 0.25), 0.01, both=True),
            Part(ball((0.41, 0.76, 0.055), (0.1, 0.08, 0.08)), pale, 0.04, both=True),
            Part(ball((0.5, 0.81, 0), (0.03, 0.025, 0.035)), (0.5, 0.2, 0.18), 0.01),
            Part(ball((0.405, 0.92, 0.13), (0.06, 0.055, 0.06)), eye, gloss=0.9, both=True),
            Part(limb((0.45, 0.76, 0.1), (0.42, 0.8, 0.45), 0.006, 0.003), WHITE, both=True),
            Part(limb((0.45, 0.73, 0.1), (0.42, 0.72, 0.45), 0.006, 0.003), WHITE, both=True),
            Part(limb((0.08, 0.64, 0), (-0.22, 0.28, 0), 0.24, 0.36), tabby, 0.08),
            Part(ball((0.18, 0.5, 0), (0.16, 0.24, 0.17)), pale, 0.08),
            Part(limb((0.16, 0.5, 0.14), (0.26, 0.06, 0.14), 0.11, 0.085), tabby, 0.05, both=True),
            Part(ball((0.32, 0.05, 0.14), (0.12, 0.07, 0.1)), pale, 0.04, both=True),
            Part(ball((-0.2, 0.22, 0.3), (0.3, 0.24, 0.16)), tabby, 0.06, both=True),
            Part(limb((-0.5, 0.1, 0.1), (-0.2, 0.07, 0.62), 0.08, 0.07), tabby, 0.03),
        ],
        backdrop=lambda d: mix((0.32, 0.24, 0.17), (0.5, 0.42, 0.33), ramp(-0.1, 0.3, d[:, 1])),
        ground=field_of((0.28, 0.18, 0.11), (0.42, 0.3, 0.2)),
        eye=(66, 8, 4.6),
        target=(0.1, 0.7, 0.02),
        field_of_view=17.0,
        sun=(0.6, 0.7, 0.3),
        skylight=(0.5, 0.47, 0.43),
        blur=3.0,
        fur=0.3,
    )


def frog() -> Scene:
    green, belly = (0.1, 0.3, 0.03), (0.6, 0.6, 0.3)
    noise = fractal(7)

    def skin(p: Array) -> Array:
        spots = ramp(0.25, 0.4, sample(noise, p[:, 0] * 0.6, p[:, 2] * 0.6 + p[:, 1] * 0.3))
        return mix(mix(belly, green, ramp(0.12, 0.26, p[:, 1])), (0.03, 0.1, 0.015), spots * ramp(0.2, 0.3, p[:, 1]))

    def limbs(p: Array) -> Array:
        return mix(skin(p + np.float32([0, 0.3, 0])), (0.22, 0.36, 0.06), ramp(0.1, 0.0, p[:, 1]) * np.float32(0.7))

    def head(p: Array) -> Array:
        mouth = np.abs(p[:, 1] - 0.3) < 0.012
        return where(mouth & (p[:, 0] > 0.35), (0.02, 0.05, 0.01), skin(p + np.float32([0, -0.06, 0])))

    def eye(p: Array) -> Array:
        pupil = (np.abs(p[:, 1] - 0.6) < 0.03) & (np.abs(p[:, 0] - 0.45) < 0.07)
        return where(pupil, BLACK, (0.6, 0.42, 0.05))

    return Scene(
        parts=[
            Part(ball((-0.05, 0.3, 0), (0.52, 0.24, 0.36), 18), skin, gloss=0.4),
            Part(ball((0.4, 0.38, 0), (0.32, 0.19, 0.33)), head, 0.1, gloss=0.4),
            Part(ball((0.38, 0.56, 0.2), (0.12, 0.12, 0.1)), skin, 0.04, gloss=0.4, both=True),
            Part(ball((0.42, 0.59, 0.255), (0.09, 0.085, 0.07)), eye, 0.005, gloss=0.9, both=True),
            Part(ball((-0.3, 0.22, 0.36), (0.34, 0.16, 0.12), 22), limbs, 0.04, gloss=0.4, both=True),
            Part(limb((-0.55, 0.1, 0.4), (-0.05, 0.05, 0.5), 0.07, 0.045), limbs, 0.03, gloss=0.3, both=True),
            Part(limb((-0.05, 0.04, 0.5), (0.16, 0.03, 0.6), 0.045, 0.03), limbs, 0.03, both=True),
            Part(limb((0.3, 0.25, 0.3), (0.36, 0.05, 0.42), 0.09, 0.05), limbs, 0.04, gloss=0.3, both=True),
            Part(limb((0.36, 0.04, 0.42), (0.55, 0.02, 0.48), 0.045, 0.03), limbs, 0.02, both=True),
        ],
        backdrop=lambda d: mix((0.1, 0.08, 0.04), (0.16, 0.14, 0.07), ramp(-0.3, 0.2, d[:, 1])),
        ground=field_of((0.1, 0.07, 0.035), (0.32, 0.24, 0.14), 2.0),
        eye=(38, 16, 4.0),
        target=(0.03, 0.28, 0),
        field_of_view=23.0,
        blur=2.5,
        fur=0.2,
    )


def bird() -> Scene:
    back, breast, pale = (0.16, 0.12, 0.08), (0.6, 0.17, 0.03), (0.7, 0.66, 0.58)

    def plumage(p: Array) -> Array:
        front = p[:, 0] * 0.75 - p[:, 1] * 0.35
        lower = mix(pale, breast, ramp(0.5, 0.68, p[:, 1]))
        return mix(back, lower, ramp(-0.2, 0.0, front))

    def face(p: Array) -> Array:
        return mix(back, breast, ramp(0.33, 0.4, p[:, 0] + (0.92 - p[:, 1]) * 0.5))

    def wing(p: Array) -> Array:
        return mix((0.07, 0.05, 0.035), (0.22, 0.17, 0.11), ramp(0.1, 0.3, (p[:, 0] * 0.5 - p[:, 1]) * 9 % 1))

    return Scene(
        parts=[
            Part(ball((0.02, 0.62, 0), (0.44, 0.29, 0.27), 32), plumage),
            Part(ball((0.3, 0.95, 0), (0.22, 0.2, 0.19)), face, 0.1),
            Part(limb((0.47, 0.95, 0), (0.67, 0.92, 0), 0.05, 0.008), (0.12, 0.1, 0.08), 0.01, gloss=0.3),
            Part(ball((0.38, 1.01, 0.155), (0.035, 0.035, 0.03)), BLACK, gloss=0.9, both=True),
            Part(ball((-0.13, 0.6, 0.2), (0.42, 0.17, 0.1), 36), wing, 0.02, both=True),
            Part(
                plate([(-0.2, 0.5), (-0.34, 0.32), (-0.98, -0.08), (-0.9, 0.08)], 2, 0, 0.09, 0.03),
                (0.08, 0.06, 0.04),
                0.03,
            ),
            Part(limb((0.08, 0.38, 0.08), (0.12, 0.2, 0.06), 0.02, 0.018), (0.2, 0.12, 0.08), both=True),
            Part(limb((-2, 0.05, 0.05), (2, 0.25, -0.1), 0.085, 0.065), (0.2, 0.14, 0.09)),
            Part(limb((0.9, 0.2, 0), (1.3, 0.75, 0.2), 0.04, 0.02), (0.2, 0.14, 0.09), 0.03),
        ],
        backdrop=woods((0.08, 0.16, 0.04), (0.26, 0.36, 0.12), 2.0, BLUE_SKY),
        eye=(14, 2, 5.0),
        target=(-0.06, 0.55, 0),
        field_of_view=22.0,
        blur=7.0,
        fur=0.3,
    )


SCENES: dict[str, Callable[[], Scene]] = {
    "airplane": airplane,
    "airplane-2": lambda: airplane((0.4, 0.03, 0.03), backdrop=BLUE_SKY, eye=(-38, -24, 6.2), seed=3),
    "automobile": automobile,
    "automobile-2": lambda: automobile((0.6, 0.6, 0.62), eye=(-40, 12, 5.4), seed=4, sun=(0.5, 0.8, 0.5)),
    "bird": bird,
    "cat": cat,
    "deer": deer,
    "dog": dog,
    "frog": frog,
    "horse": horse,
    "ship": ship,
    "ship-2": sailing_ship,
    "truck": truck,
    "truck-2": lambda: truck(
        (0.55, 0.04, 0.02), (0.55, 0.05, 0.03), eye=(-34, 8, 6.4), backdrop=CLOUDY, sun=(0.5, 0.8, 0.5)
    ),
}


def main(names: list[str]) -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in names or SCENES:
        render(SCENES[name](), SIZE * RAYS).save(FOLDER / f"{name}.png", optimize=True)
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1:])

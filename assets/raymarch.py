"""A small renderer for the example pictures: shapes given as signed distances, met by marching rays.

Every object is a handful of balls, limbs, blocks and plates, melted together where they touch (sphere tracing,
Hart 1996), with a sun, its shadows and a sky. That looks more like the small photographs the networks were trained
on than flat drawing does. Only +, −, ×, ÷, √ and comparisons act on pixels, and the noise is seeded, so the result
does not depend on the machine's maths library.

Coordinates: x to the right, y up, z towards the viewer; an object is about two units long, the ground is y = 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageFilter

SIZE = 192  # pixels, of the finished picture

Array = np.ndarray
Colour = tuple[float, float, float]  # linear light, 0…1
Paint = Colour | Callable[[Array], Array]


# Shapes: functions from points (N, 3) to distances (N,)


def length(v: Array) -> Array:
    return np.sqrt((v * v).sum(axis=1))


def ball(centre, radii, turn: float = 0.0) -> Callable[[Array], Array]:
    """Ellipsoid, turned anticlockwise in the picture's plane by degrees."""
    c, s = np.float32(math.cos(math.radians(turn))), np.float32(math.sin(math.radians(turn)))
    centre, radii = np.float32(centre), np.float32(radii)

    def distance(p: Array) -> Array:
        q = p - centre
        q = np.stack([q[:, 0] * c + q[:, 1] * s, q[:, 1] * c - q[:, 0] * s, q[:, 2]], axis=1) / radii
        k = length(q)
        return k * (k - 1) / np.maximum(length(q / radii), 1e-6)

    return distance


def limb(a, b, ra: float, rb: float) -> Callable[[Array], Array]:
    """A rod from a to b whose radius goes from ra to rb."""
    a, b = np.float32(a), np.float32(b)
    axis = b - a
    square = np.float32((axis * axis).sum())

    def distance(p: Array) -> Array:
        along = np.clip(((p - a) * axis).sum(axis=1) / square, 0, 1)
        return length(p - a - along[:, None] * axis) - (ra + (rb - ra) * along)

    return distance


def block(centre, half, edge: float = 0.03) -> Callable[[Array], Array]:
    """A box with rounded edges."""
    centre, inner = np.float32(centre), np.float32(half) - np.float32(edge)

    def distance(p: Array) -> Array:
        q = np.abs(p - centre) - inner
        return length(np.maximum(q, 0)) + np.minimum(q.max(axis=1), 0) - edge

    return distance


def plate(corners, axis: int, at: float, half: float, edge: float = 0.02) -> Callable[[Array], Array]:
    """A convex polygon, extruded along an axis (0, 1, 2) from at − half to at + half."""
    points = np.float32(corners)
    middle = points.mean(axis=0)
    first, second = [i for i in range(3) if i != axis]
    sides = []
    for start, end in zip(points, np.roll(points, -1, axis=0), strict=True):
        normal = np.float32([end[1] - start[1], start[0] - end[0]])
        normal /= np.float32(math.hypot(*normal))
        normal = normal if ((start - middle) * normal).sum() > 0 else -normal
        sides.append((normal, np.float32((start * normal).sum() - edge)))

    def distance(p: Array) -> Array:
        outline = np.max([p[:, first] * n[0] + p[:, second] * n[1] - offset for n, offset in sides], axis=0)
        q = np.stack([outline, np.abs(p[:, axis] - np.float32(at)) - np.float32(half - edge)], axis=1)
        return length(np.maximum(q, 0)) + np.minimum(q.max(axis=1), 0) - edge

    return distance


def disc(centre, radius: float, half: float, edge: float = 0.02) -> Callable[[Array], Array]:
    """A cylinder along z: a wheel."""
    centre = np.float32(centre)

    def distance(p: Array) -> Array:
        q = p - centre
        q = np.stack(
            [length(q[:, :2]) - np.float32(radius - edge), np.abs(q[:, 2]) - np.float32(half - edge)], axis=1
        )
        return length(np.maximum(q, 0)) + np.minimum(q.max(axis=1), 0) - edge

    return distance


@dataclass
class Part:
    shape: Callable[[Array], Array]
    paint: Paint
    melt: float = 0.0  # width of the smooth joint to the parts before it
    gloss: float = 0.0
    both: bool = False  # the same on the other side, z → −z


@dataclass
class Scene:
    parts: list[Part]
    backdrop: Callable[[Array], Array]  # ray directions → colours of what is far away
    ground: Callable[[Array], Array] | None = None  # points → colours
    eye: tuple[float, float, float] = (20.0, 10.0, 4.6)  # degrees round, degrees up, distance
    target: tuple[float, float, float] = (0.0, 0.5, 0.0)
    field_of_view: float = 30.0  # degrees
    sun: tuple[float, float, float] = (-0.5, 0.8, 0.55)
    sunlight: Colour = (1.05, 1.0, 0.9)
    skylight: Colour = (0.42, 0.48, 0.58)
    blur: float = 2.0  # of the background, in pixels
    fur: float = 0.0  # how much the colour varies
    seed: int = 0
    noise: Array = field(init=False)

    def __post_init__(self):
        self.noise = fractal(self.seed)


# Noise


def fractal(seed: int, side: int = 512) -> Array:
    """Seeded cloudy noise that repeats, (side, side), mean 0, within about ±1."""
    generator = np.random.default_rng(seed)
    total = np.zeros((side, side), dtype=np.float32)
    for cells, weight in ((4, 1.0), (8, 0.7), (16, 0.5), (32, 0.4), (64, 0.3), (128, 0.25)):
        grid = np.pad(generator.random((cells, cells), dtype=np.float32), 2, mode="wrap")
        step = side // cells
        large = Image.fromarray(grid).resize(((cells + 4) * step,) * 2, Image.Resampling.BICUBIC)
        total += weight * (np.asarray(large)[2 * step : -2 * step, 2 * step : -2 * step] - 0.5)
    return total / 1.1


def sample(noise: Array, u: Array, v: Array) -> Array:
    side = len(noise)
    return noise[np.floor(v * side).astype(np.int64) % side, np.floor(u * side).astype(np.int64) % side]


def mix(a, b, weight: Array) -> Array:
    return np.float32(a) * (1 - weight[:, None]) + np.float32(b) * weight[:, None]


def ramp(low: float, high: float, value: Array) -> Array:
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


# Rendering


def together(parts: list[Part], p: Array, with_paint: bool = False):
    """Distance to the joined parts, and with it colour and gloss there."""
    mirrored = np.stack([p[:, 0], p[:, 1], np.abs(p[:, 2])], axis=1)
    total = colour = gloss = None
    for part in parts:
        q = mirrored if part.both else p
        distance = part.shape(q)
        paint = None
        if with_paint:
            paint = part.paint(q) if callable(part.paint) else np.broadcast_to(np.float32(part.paint), p.shape)
        if total is None:
            total, colour, gloss = distance, paint, np.full(len(p), part.gloss, dtype=np.float32)
            continue
        melt = np.float32(max(part.melt, 1e-4))
        weight = np.clip(0.5 + 0.5 * (total - distance) / melt, 0, 1)
        total = total + (distance - total) * weight - melt * weight * (1 - weight)
        if with_paint:
            colour = colour * (1 - weight[:, None]) + paint * weight[:, None]
            gloss = gloss * (1 - weight) + part.gloss * weight
    return (total, colour, gloss) if with_paint else total


def march(parts: list[Part], origins: Array, directions: Array, far: Array, steps: int) -> Array:
    """How far each ray goes until it meets the object; `far` where it does not."""
    travelled = np.full(len(origins), 0.01, dtype=np.float32)
    active = np.arange(len(origins))
    for _ in range(steps):
        distance = together(parts, origins[active] + directions[active] * travelled[active, None])
        travelled[active] += distance * np.float32(0.85)  # ellipsoids and melted joints understate their distance
        active = active[(distance > 0.002) & (travelled[active] < far[active])]
        if len(active) == 0:
            break
    travelled[active] = far[active]
    return np.minimum(travelled, far)


def shadow(scene: Scene, points: Array, sun: Array) -> Array:
    """Light that reaches each point, 0…1, with soft edges."""
    light = np.ones(len(points), dtype=np.float32)
    travelled = np.full(len(points), 0.05, dtype=np.float32)
    active = np.arange(len(points))
    for _ in range(26):
        distance = together(scene.parts, points[active] + sun * travelled[active, None])
        light[active] = np.minimum(light[active], np.clip(10 * distance / travelled[active], 0, 1))
        travelled[active] += np.clip(distance, 0.03, 0.4)
        active = active[(light[active] > 0.01) & (travelled[active] < 4)]
        if len(active) == 0:
            break
    return light


def render(scene: Scene, side: int) -> Image.Image:
    origin, directions = camera(scene, side)
    sun = np.float32(scene.sun) / np.float32(math.hypot(*scene.sun))
    origins = np.broadcast_to(origin, directions.shape)

    background = scene.backdrop(directions)
    far = np.full(len(directions), 12, dtype=np.float32)
    if scene.ground is not None:
        down = np.flatnonzero(directions[:, 1] < -0.002)
        reach = -origin[1] / directions[down, 1]
        far[down] = np.minimum(far[down], reach)
        points = origin + directions[down] * reach[:, None]
        lit = np.ones(len(points), dtype=np.float32)
        close = np.flatnonzero((np.abs(points) < 4).all(axis=1))
        lit[close] = shadow(scene, points[close] + np.float32([0, 0.01, 0]), sun)
        light = np.float32(scene.skylight) + np.float32(scene.sunlight) * (lit * sun[1])[:, None]
        haze = ramp(8, 60, reach)
        background[down] = mix(1, 0, haze) * scene.ground(points) * light + haze[:, None] * background[down]
    background = blurred(background, side, scene.blur * side / SIZE)

    travelled = march(scene.parts, origins, directions, far, 70)
    hit = np.flatnonzero(travelled < far)
    points = origin + directions[hit] * travelled[hit, None]
    background[hit] = shade(scene, points, directions[hit], sun)
    return finish(background, side, scene.seed)


def camera(scene: Scene, side: int) -> tuple[Array, Array]:
    around, up, distance = scene.eye
    around, up = math.radians(around), math.radians(up)
    back = np.float32([math.sin(around) * math.cos(up), math.sin(up), math.cos(around) * math.cos(up)])
    right = np.float32([math.cos(around), 0, -math.sin(around)])
    upward = np.float32(np.cross(back, right))
    span = np.float32(math.tan(math.radians(scene.field_of_view / 2)))
    steps = ((np.arange(side, dtype=np.float32) + np.float32(0.5)) / side * 2 - 1) * span
    x, y = np.meshgrid(steps, -steps)
    directions = x.reshape(-1, 1) * right + y.reshape(-1, 1) * upward - back
    return np.float32(scene.target) + back * np.float32(distance), directions / length(directions)[:, None]


def shade(scene: Scene, points: Array, directions: Array, sun: Array) -> Array:
    step = np.float32(0.004)
    corners = np.float32([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]])
    normal = sum(corner * together(scene.parts, points + corner * step)[:, None] for corner in corners)
    normal /= np.maximum(length(normal), 1e-9)[:, None]
    _, colour, gloss = together(scene.parts, points, with_paint=True)
    grain = sample(scene.noise, points[:, 0] * 0.5 + points[:, 2] * 0.37, points[:, 1] * 0.5 + points[:, 2] * 0.21)
    colour = colour * (1 + np.float32(scene.fur) * grain)[:, None]

    facing = np.maximum((normal * sun).sum(axis=1), 0)
    lit = facing * shadow(scene, points + normal * np.float32(0.02), sun)
    height = normal[:, 1] * np.float32(0.5) + np.float32(0.5)
    # What stands a little above a point along its normal takes sky from it: creases and undersides are darker.
    open_sky = np.clip(together(scene.parts, points + normal * np.float32(0.18)) / np.float32(0.18), 0.25, 1)
    ambient = mix((0.16, 0.15, 0.13), scene.skylight, height) * open_sky[:, None]
    result = colour * (ambient + np.float32(scene.sunlight) * lit[:, None])

    reflected = directions - 2 * (directions * normal).sum(axis=1)[:, None] * normal
    edge = 1 - np.clip(-(directions * normal).sum(axis=1), 0, 1)
    mirror = gloss * (np.float32(0.06) + np.float32(0.6) * edge * edge * edge)
    sky = mix((0.25, 0.25, 0.24), (0.75, 0.82, 0.95), ramp(-0.15, 0.25, reflected[:, 1]))
    spark = np.maximum((reflected * sun).sum(axis=1), 0)
    for _ in range(5):
        spark = spark * spark
    result = result + (mirror[:, None] * (sky - result)) + (gloss * spark * (lit > 0))[:, None] * np.float32(0.7)
    return np.maximum(result, 0)


def blurred(colours: Array, side: int, radius: float) -> Array:
    if radius <= 0:
        return colours
    bands = [Image.fromarray(band) for band in np.moveaxis(colours.reshape(side, side, 3), 2, 0).astype(np.float32)]
    levels = [
        Image.fromarray(np.uint8(np.clip(np.sqrt(np.maximum(np.asarray(band), 0)), 0, 1) * 255 + 0.5))
        for band in bands
    ]
    soft = [np.asarray(level.filter(ImageFilter.GaussianBlur(radius))).astype(np.float32) / 255 for level in levels]
    return np.stack([band * band for band in soft], axis=2).reshape(-1, 3)


def finish(colours: Array, side: int, seed: int) -> Image.Image:
    """Linear light to a picture of `SIZE`, with a camera's softness and grain."""
    levels = np.sqrt(np.clip(colours, 0, 1)).reshape(side, side, 3)
    picture = Image.fromarray(np.uint8(levels * 255 + np.float32(0.5)))
    picture = picture.filter(ImageFilter.GaussianBlur(side / 400)).resize((SIZE, SIZE), Image.Resampling.BOX)
    grain = np.random.default_rng(seed + 1).integers(-4, 5, (SIZE, SIZE, 1))
    return Image.fromarray(np.uint8(np.clip(np.asarray(picture).astype(np.int64) + grain, 0, 255)))

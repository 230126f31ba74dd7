"""The figures of the synthetic register, each with the codes of the Vienna classification that fit it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

Points = NDArray[np.float64]
"""(n, 2): corners of an outline, x to the right and y down. A figure fits into the square from -1 to 1."""

PAPER = -1
"""The colour of an area that shows what is behind the figure."""

VIENNA = {
    "01.01.01": "Stars",
    "01.01.02": "One star",
    "01.01.04": "Three stars",
    "01.01.09": "Stars with four points",
    "01.01.10": "Stars with more than four points",
    "01.03.01": "Sun rising or setting",
    "01.03.02": "Other representations of the sun",
    "01.03.15": "Sun with rays constituted by rectilinear lines, sheaves of lines or bands",
    "01.03.17": "Sun with rays constituted by triangles",
    "01.07.06": "Crescent moon, half-moon",
    "01.15.03": "Lightning",
    "01.15.11": "Clouds, fog, steam, smoke",
    "01.15.15": "Drops",
    "02.09.01": "Hearts",
    "05.03.11": "Other leaves",
    "05.03.13": "Stylized leaves",
    "05.03.14": "One leaf",
    "05.03.15": "Two to four leaves",
    "05.05.20": "Stylized flowers",
    "05.05.21": "One flower",
    "06.01.02": "Mountains, mountain landscapes",
    "06.01.04": "Mountains or volcanoes, stylized",
    "07.01.08": "Houses, skyscrapers",
    "07.01.24": "Stylized dwellings",
    "24.01.03": "Shields containing representations of geometrical figures or solids, lines, bands or partitions",
    "24.01.05": "Shields containing other figurative elements or inscriptions",
    "24.01.15": "Shields containing inscriptions",
    "24.15.01": "One arrow",
    "24.15.02": "Two arrows, double-headed arrows",
    "26.01.01": "Circles",
    "26.01.03": "One circle or ellipse",
    "26.01.04": "Two circles, two ellipses, one inside the other",
    "26.01.05": "More than two circles or ellipses, inside one another, spirals",
    "26.01.06": "Several circles or ellipses, juxtaposed, tangential or intersecting",
    "26.01.18": "Circles or ellipses containing one or more letters",
    "26.03.01": "Triangles",
    "26.03.23": "Lines or bands forming an angle",
    "26.04.01": "Squares",
    "26.04.03": "Rhombs or squares standing on one of the corners",
    "26.04.05": "One quadrilateral",
    "26.04.06": "Two quadrilaterals, one inside the other",
    "26.04.18": "Quadrilaterals containing one or more letters",
    "26.05.01": "One polygon",
    "26.11.03": "More than two lines or two bands",
    "26.11.13": "Wavy lines or bands",
    "27.05.01": "Letters presenting a special form of writing",
    "27.05.21": "One letter",
    "29.01.01": "Red, pink, orange",
    "29.01.02": "Yellow, gold",
    "29.01.03": "Green",
    "29.01.04": "Blue",
    "29.01.05": "Violet",
    "29.01.06": "White, grey, silver",
    "29.01.07": "Brown",
    "29.01.08": "Black",
    "29.01.12": "Two predominant colours",
    "29.01.13": "Three predominant colours",
}
"""Every code of the register with its heading in the Vienna classification."""


@dataclass(frozen=True, slots=True)
class Area:
    """A filled outline."""

    outline: Points
    colour: int
    """0 or 1: which of the mark's colours; or `PAPER`."""


@dataclass(frozen=True, slots=True)
class Figure:
    """Areas, painted in this order, then a letter in the middle."""

    areas: tuple[Area, ...]
    codes: frozenset[str]
    letter: str = ""

    def mirrored(self) -> Figure:
        """Left and right exchanged; the letter stays legible."""
        return replace(self, areas=tuple(replace(area, outline=area.outline * (-1, 1)) for area in self.areas))


def star(random: Random) -> Figure:
    """One star, plain or with a smaller one of the second colour on it."""
    points = random.choice((4, 5, 6, 8))
    outline = _star(points, random.uniform(0.35, 0.5))
    codes = {"01.01.01", "01.01.02", "01.01.09" if points == 4 else "01.01.10"}
    return _figure([(outline, 0), *random.choice(([], [(outline * 0.5, 1)]))], codes)


def three_stars(random: Random) -> Figure:
    """Three stars in an arc, the middle one the largest."""
    outline = _star(random.choice((5, 6)), 0.42)
    side = random.uniform(0.28, 0.36)
    stars = [(_moved(outline * 0.52, 0, -0.3), 0), *((_moved(outline * side, x, 0.25), 1) for x in (-0.66, 0.66))]
    return _figure(stars, {"01.01.01", "01.01.04", "01.01.10"})


def sun(random: Random) -> Figure:
    """A disc with rays, or the upper half of it above a line."""
    rays, rising, triangles = random.choice((8, 12, 16)), random.random() < 0.4, random.random() < 0.5
    width = 2.4 / rays
    ray = np.array([(-width, -0.66), (0, -1), (width, -0.66)]) if triangles else _box(0, -0.82, width / 2, 0.18)
    areas = [(_turned(ray, 360 * k / rays), 1) for k in range(rays)] + [(_circle(0, 0, 0.55), 0)]
    if not rising:
        return _figure(areas, {"01.03.02", "01.03.17" if triangles else "01.03.15"})
    upper = [(_moved(outline, 0, 0.4), colour) for outline, colour in areas]
    below = [(_box(0, 0.98, 1.1, 0.5), PAPER), (_box(0, 0.56, 1, 0.08), 0)]
    return _figure([*upper, *below], {"01.03.01"})


def moon(random: Random) -> Figure:
    """A crescent."""
    shift = random.uniform(0.3, 0.5)
    bite = _circle(shift, -random.uniform(0, 0.3), 1 - shift / 2)
    return _figure([(_circle(0, 0, 1), 0), (bite, PAPER)], {"01.07.06"})


def rings(random: Random) -> Figure:
    """Two to four circles inside one another."""
    circles = random.choice((2, 3, 4))
    colours = (0, PAPER, 1, PAPER) if random.random() < 0.5 else (0, 1, PAPER, 0)
    radii = np.linspace(1, 0.3, circles)
    areas = [(_circle(0, 0, radius), colour) for radius, colour in zip(radii, colours, strict=False)]
    return _figure(areas, {"26.01.04" if circles == 2 else "26.01.05"})


def circles(random: Random) -> Figure:
    """Three to five discs that touch or overlap, around a centre."""
    count, radius = random.choice((3, 4, 5)), random.uniform(0.36, 0.48)
    middles = [_turned(np.array([(0, radius - 1)]), 360 * k / count)[0] for k in range(count)]
    return _figure([(_circle(x, y, radius), k % 2) for k, (x, y) in enumerate(middles)], {"26.01.06"})


def triangle(random: Random) -> Figure:
    """A triangle with a slit."""
    outline = _regular(3, 1) if random.random() < 0.5 else np.array([(-0.9, 0.8), (0.9, 0.8), (0.9, -0.8)])
    slit = _turned(_box(0, 0.3, 1.2, random.uniform(0.05, 0.12)), random.choice((0, 20, -20)))
    return _figure([(outline, 0), (slit, PAPER)], {"26.03.01"})


def mountains(random: Random) -> Figure:
    """Two peaks with snow on the higher one."""
    x, height = random.uniform(-0.35, -0.15), random.uniform(0.2, 0.5)
    high = np.array([(x - 0.65, 0.7), (x, -0.8), (x + 0.65, 0.7)])
    low = np.array([(0.05, 0.7), (0.5, 0.7 - height * 2), (1, 0.7)])
    snow = np.array([(x - 0.22, -0.3), (x, -0.8), (x + 0.22, -0.3), (x + 0.08, -0.42), (x - 0.05, -0.25)])
    return _figure([(low, 1), (high, 0), (snow, PAPER)], {"06.01.02", "06.01.04"})


def chevrons(random: Random) -> Figure:
    """Two or three angles, one behind the other."""
    count, depth = random.choice((2, 3)), random.uniform(0.4, 0.7)
    thick = 1.0 / count
    corner = np.array(
        [(-1, -0.9), (-1 + thick, -0.9), (-1 + thick + depth, 0), (-1 + thick, 0.9), (-1, 0.9), (depth - 1, 0)]
    )
    step = (2 - thick - depth) / max(1, count - 1)
    turn = random.choice((0, 90, 270))
    return _figure([(_turned(_moved(corner, step * k, 0), turn), k % 2) for k in range(count)], {"26.03.23"})


def squares(random: Random) -> Figure:
    """Four squares in a two by two grid, one of them in the other colour, or a square inside a square."""
    if random.random() < 0.4:
        inner = random.uniform(0.4, 0.65)
        parts = [(_box(0, 0, 0.95, 0.95), 0), (_box(0, 0, inner, inner), PAPER)]
        return _figure(parts, {"26.04.01", "26.04.06"})
    half, other = random.uniform(0.4, 0.46), random.randrange(4)
    middles = [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5), (0.5, 0.5)]
    return _figure([(_box(x, y, half, half), int(k == other)) for k, (x, y) in enumerate(middles)], {"26.04.01"})


def rhomb(random: Random) -> Figure:
    """A rhomb, with another one inside or none."""
    outline = np.array([(0, -1), (random.uniform(0.6, 1), 0), (0, 1), (0, 0)])
    outline[3] = outline[1] * (-1, 1)
    if random.random() < 0.4:
        return _figure([(outline, 0)], {"26.04.03", "26.04.05"})
    inner = outline * random.uniform(0.45, 0.65)
    return _figure([(outline, 0), (inner, random.choice((1, PAPER)))], {"26.04.03", "26.04.06"})


def hexagon(random: Random) -> Figure:
    """A hexagon or an octagon with a hole of the same form."""
    corners = random.choice((6, 8))
    outline = _regular(corners, 1, random.choice((0, 180 / corners)))
    hole = outline * random.uniform(0.35, 0.6)
    return _figure([(outline, 0), (hole, PAPER)], {"26.05.01"})


def bars(random: Random) -> Figure:
    """Three to five upright bars of rising or mixed height."""
    count = random.choice((3, 4, 5))
    heights = [random.uniform(0.3, 1) for _ in range(count)]
    if random.random() < 0.6:
        heights.sort()
    step = 2 / count
    boxes = [_box(step * (k + 0.5) - 1, 0.95 - height, step * 0.36, height * 0.95) for k, height in enumerate(heights)]
    return _figure([(box, k % 2) for k, box in enumerate(boxes)], {"26.11.03"})


def waves(random: Random) -> Figure:
    """Three wavy bands."""
    cycles, swing, thick = random.choice((1, 1.5, 2)), random.uniform(0.12, 0.2), random.uniform(0.1, 0.16)
    x = np.linspace(-1, 1, 97)
    line = np.stack([x, swing * np.sin(np.pi * cycles * x)], axis=1)
    band = np.concatenate([_moved(line, 0, -thick), _moved(line[::-1], 0, thick)])
    return _figure([(_moved(band, 0, 0.6 * k - 0.6), abs(k - 1)) for k in range(3)], {"26.11.03", "26.11.13"})


def heart(random: Random) -> Figure:
    """A heart, whole or with a smaller one on it."""
    t = np.linspace(0, 2 * math.pi, 97)
    x, y = np.sin(t) ** 3, (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) / 16
    outline = np.stack([x, -y - 0.1], axis=1)
    return _figure([(outline, 0), *random.choice(([], [(outline * 0.5, 1)]))], {"02.09.01"})


def leaf(random: Random) -> Figure:
    """One leaf with a midrib, or two on a stalk."""
    wide, cut = random.uniform(0.35, 0.55), random.uniform(0.03, 0.06)
    t = np.linspace(-1, 1, 49)
    side = np.stack([wide * (1 - t**2), t], axis=1)
    outline = np.concatenate([side, side[::-1] * (-1, 1)])
    rib = _box(0, 0.2, cut, 0.9)
    if random.random() < 0.5:
        turn = random.choice((30, 45))
        return _figure([(_turned(outline, turn), 0), (_turned(rib, turn), PAPER)], {"05.03.11", "05.03.13", "05.03.14"})
    pair = [
        (_moved(_turned(_moved(outline * 0.62, 0, -0.62), turn), 0, 0.55), colour)
        for turn, colour in ((-42, 1), (42, 0))
    ]
    return _figure([*pair, (_box(0, 0.75, 0.06, 0.25), 0)], {"05.03.11", "05.03.13", "05.03.15"})


def flower(random: Random) -> Figure:
    """Petals around a disc."""
    petals = random.choice((5, 6, 8))
    petal = _moved(_circle(0, 0, 1) * (1.4 / petals, 0.36), 0, -0.62)
    areas = [(_turned(petal, 360 * k / petals), 0) for k in range(petals)]
    return _figure([*areas, (_circle(0, 0, random.uniform(0.2, 0.32)), 1)], {"05.05.20", "05.05.21"})


def drop(random: Random) -> Figure:
    """A drop, with a highlight or without."""
    t = np.linspace(0, 2 * math.pi, 97)
    outline = np.stack([0.9 * np.sin(t) * np.sin(t / 2) ** random.choice((1.3, 1.8)), -np.cos(t)], axis=1)
    gleam = _circle(-0.22, 0.35, 0.22)
    return _figure([(outline, 0), *random.choice(([], [(gleam, PAPER)], [(gleam, 1)]))], {"01.15.15"})


def bolt(random: Random) -> Figure:
    """A flash of lightning, alone or on a shadow of itself."""
    lean = random.uniform(0.1, 0.35)
    outline = np.array([(lean, -1), (-0.6, 0.15), (-0.05, 0.15), (-lean, 1), (0.6, -0.2), (0.08, -0.2)])
    shadow = [(_moved(outline, 0.22, 0), 1)] if random.random() < 0.4 else []
    return _figure([*shadow, (outline, 0)], {"01.15.03"})


def cloud(random: Random) -> Figure:
    """A cloud."""
    top, right = random.uniform(0.44, 0.56), random.uniform(0.34, 0.44)
    parts = [_circle(-0.58, 0.2, 0.4), _circle(-0.08, -0.08, top), _circle(0.52, 0.16, right), _box(0, 0.38, 0.6, 0.22)]
    return _figure([(part, 0) for part in parts], {"01.15.11"})


def house(random: Random) -> Figure:
    """A house with a roof of the second colour and a door."""
    roof, door = random.uniform(0.55, 0.8), random.uniform(0.12, 0.2)
    parts = [
        (_box(0, 0.45, 0.7, 0.5), 0),
        (np.array([(-1, 0), (0, -roof - 0.15), (1, 0)]), 1),
        (_box(random.choice((-0.3, 0, 0.3)), 0.6, door, 0.35), PAPER),
    ]
    return _figure(parts, {"07.01.08", "07.01.24"})


def shield(random: Random) -> Figure:
    """A shield with a side, the top or a stripe set off."""
    outline = _shield()
    low, high = random.choice((((0, -1), (1, 1)), ((-1, -1), (1, -0.25)), ((-0.25, -1), (0.25, 1))))
    part = np.clip(outline, low, high)
    return _figure([(outline, 0), (part, 1)], {"24.01.03"})


def arrow(random: Random) -> Figure:
    """One arrow."""
    turn, thick = random.choice((0, 45, 90)), random.uniform(0.18, 0.3)
    return _figure([(_turned(_arrow(thick), turn), 0)], {"24.15.01"})


def two_arrows(random: Random) -> Figure:
    """Two arrows that point in opposite directions."""
    turn = random.choice((0, 90, 45))
    one = _arrow(random.uniform(0.26, 0.34)) * (0.5, 0.95)
    pair = [(_moved(one, -0.48, 0), 0), (_moved(_turned(one, 180), 0.48, 0), 1)]
    return _figure(
        [(_turned(outline, turn) * (0.8 if turn == 45 else 1), colour) for outline, colour in pair], {"24.15.02"}
    )


def monogram(random: Random, letter: str) -> Figure:
    """A letter in a disc, a square, a hexagon or a shield."""
    frame, codes = random.choice(
        (
            (_circle(0, 0, 1), {"26.01.01", "26.01.03", "26.01.18"}),
            (_box(0, 0, 0.95, 0.95), {"26.04.01", "26.04.05", "26.04.18"}),
            (_regular(6, 1), {"26.05.01"}),
            (_shield(), {"24.01.05", "24.01.15"}),
        )
    )
    rim = [(frame * 0.88, PAPER), (frame * 0.78, 0)] if random.random() < 0.4 else []
    return replace(_figure([(frame, 0), *rim], codes | {"27.05.01", "27.05.21"}), letter=letter)


def disc() -> Figure:
    """The round ground of a reversed figure."""
    return _figure([(_circle(0, 0, 1), 0)], {"26.01.01", "26.01.03"})


def square() -> Figure:
    """The square ground of a reversed figure."""
    return _figure([(_box(0, 0, 0.95, 0.95), 0)], {"26.04.01", "26.04.05"})


FIGURES: tuple[Callable[[Random], Figure], ...] = (
    star, leaf, mountains, waves, circles, drop, shield, arrow, sun, hexagon, heart, bars, moon, rhomb, flower, chevrons,
    house, rings, bolt, squares, cloud, triangle, three_stars, two_arrows,
)  # fmt: skip


def _figure(areas: list[tuple[Points, int]], codes: set[str]) -> Figure:
    return Figure(tuple(Area(outline, colour) for outline, colour in areas), frozenset(codes))


def _circle(x: float, y: float, radius: float) -> Points:
    return _moved(_regular(96, radius), x, y)


def _regular(corners: int, radius: float, turn: float = 0) -> Points:
    """A regular polygon; without a turn one corner is at the top."""
    angles = np.radians(360 * np.arange(corners) / corners + turn)
    return radius * np.stack([np.sin(angles), -np.cos(angles)], axis=1)


def _star(points: int, inner: float) -> Points:
    outline = _regular(2 * points, 1)
    outline[1::2] *= inner
    return outline


def _box(x: float, y: float, half_width: float, half_height: float) -> Points:
    return _moved(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * (half_width, half_height), x, y)


def _arrow(thick: float) -> Points:
    """Points upwards."""
    half = [(thick, 1), (thick, -0.1), (0.75, -0.1)]
    return np.array([(0, -1), *[(-x, y) for x, y in half[::-1]], *half])


def _shield() -> Points:
    t = np.linspace(0, 1, 33)
    side = np.stack([0.85 * np.sqrt(1 - t**2.2), t], axis=1)
    return np.concatenate([[(-0.85, -0.9), (0.85, -0.9)], side, side[::-1] * (-1, 1)])


def _moved(outline: Points, x: float, y: float) -> Points:
    return np.asarray(outline + np.array((x, y)), np.float64)


def _turned(outline: Points, degrees: float) -> Points:
    """Turned clockwise around the origin."""
    angle = math.radians(degrees)
    matrix = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    return np.asarray(outline @ matrix, np.float64)

"""Make `samples/synthetic/`: a small register of invented marks of invented companies, with every field filled.

    python -m scripts.make_synthetic_marks --out samples/synthetic

Nothing in it is real. The same run gives the same pictures and the same table. Each company owns a family of marks: one
figure or word drawn in several ways. Some companies use a figure that an earlier company has, in other colours and with
another word, so that a search finds a conflict.
"""

from __future__ import annotations

import argparse
import csv
import datetime as dt
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import cv2
import numpy as np

from benchmarks.render_icons import MARK_SIDE, SIDE, Image, encode_jpeg
from scripts.synthetic_figures import FIGURES, PAPER, Figure, Points, disc, monogram, square

COMPANIES = 60
WORDS_ONLY, MONOGRAMS, COPIERS = range(48, 54), range(54, 60), range(40, 48)
"""Companies with marks of words, with monograms, and with the figure of the company that is 40 before them."""

FIRST_DAY, LAST_DAY = dt.date(1998, 1, 5), dt.date(2025, 12, 19)
OFFICE = "XX"
"""ISO 3166 leaves this code to its users: no country has it."""

JPEG_QUALITY = 85
SCALE = 4
"""Marks are drawn this many times larger than they are saved."""

# Red, green and blue, and the code of the Vienna classification.
COLOURS = {
    "crimson": ((196, 30, 58), "29.01.01"), "orange": ((240, 120, 20), "29.01.01"), "pink": ((232, 90, 150), "29.01.01"),
    "gold": ((242, 180, 20), "29.01.02"), "green": ((30, 132, 73), "29.01.03"), "lime": ((120, 180, 40), "29.01.03"),
    "navy": ((20, 50, 110), "29.01.04"), "sky": ((40, 140, 220), "29.01.04"), "teal": ((0, 128, 128), "29.01.03"),
    "violet": ((100, 50, 150), "29.01.05"), "grey": ((120, 124, 130), "29.01.06"), "brown": ((110, 70, 40), "29.01.07"),
    "black": ((20, 20, 20), "29.01.08"), "white": ((255, 255, 255), "29.01.06"),
}  # fmt: skip
NUMBERS_OF_COLOURS = {2: "29.01.12", 3: "29.01.13"}
INKS = tuple(name for name in COLOURS if name not in {"black", "white", "grey"})

# What a company deals in, and the Nice classes of it.
TRADES = (
    ("Foods", (29, 30)), ("Beverages", (32, 33)), ("Software", (9, 42)), ("Garments", (18, 25)), ("Cosmetics", (3, 5)),
    ("Savings", (36,)), ("Freight", (12, 39)), ("Furniture", (20, 27)), ("Toys", (28,)), ("Academy", (16, 41)),
    ("Energy", (4, 40)), ("Builders", (19, 37)), ("Clinics", (10, 44)), ("Gardens", (31, 44)), ("Telecom", (9, 38)),
)  # fmt: skip
BEGINNINGS = ("Zu", "Quo", "Vor", "Ely", "Ost", "Brin", "Kalu", "Mur", "Tha", "Wex", "Ori", "Pli", "Fen", "Gyr", "Dal")
MIDDLES = ("va", "lum", "ri", "sko", "de", "mbo", "ny", "phi", "ga", "xi")
ENDINGS = ("rel", "tax", "nor", "bis", "quin", "dra", "mod", "lite", "zar", "vyn")
SECOND_WORDS = ("Aqua", "Garden", "Home", "Junior", "Plus", "Prime", "Pro", "Studio", "Verde", "Express")


@dataclass(frozen=True, slots=True)
class Lettering:
    """How a company writes its words."""

    face: str
    """A font that OpenCV brings along."""
    weight: int
    spacing: int
    """Between letters, in hundredths of their size."""
    upper: bool

    def word(self, text: str) -> str:
        """The text as it is drawn."""
        return text.upper() if self.upper else text


@dataclass(frozen=True, slots=True)
class Design:
    """What a mark looks like."""

    colours: tuple[str, str]
    lettering: Lettering
    figure: Figure | None = None
    text: str = ""
    beside: bool = False
    """The words are to the right of the figure, not below it."""
    ground: Figure | None = None
    """What a reversed figure, white and the second colour, is drawn on."""

    @property
    def feature(self) -> str:
        """The kind of mark: "figurative", "word" or "combined"."""
        return "word" if self.figure is None else "combined" if self.text else "figurative"

    @property
    def vienna_codes(self) -> list[str]:
        """Codes of what is drawn and of its colours; a mark in black, grey and white claims none."""
        codes = {"27.05.01"} if self.text else set[str]()
        inks = {self.colours[0]} if self.text else set[str]()
        if self.figure is not None:
            codes |= self.figure.codes
            inks |= {self._ink(area.colour) for area in self.figure.areas if area.colour != PAPER}
        if self.ground is not None:
            codes |= self.ground.codes
            inks |= {self.colours[0], "white"}
        if self.figure is not None and self.figure.letter:
            inks |= {"white"}
        if not inks <= {"black", "grey", "white"}:
            codes |= {COLOURS[ink][1] for ink in inks}
            codes |= {NUMBERS_OF_COLOURS[len(inks)]} if len(inks) > 1 else set()
        return sorted(codes)

    def _ink(self, colour: int) -> str:
        """The name of the colour of an area of the figure."""
        if colour == PAPER:
            return "white" if self.ground is None else self.colours[0]
        return "white" if self.ground is not None and colour == 0 else self.colours[colour]

    def draw(self) -> Image:
        """(256, 256, 3) uint8 BGR, on white."""
        canvas = np.full((SIDE * SCALE, SIDE * SCALE, 3), 255, np.uint8)
        side, middle = MARK_SIDE * SCALE, SIDE * SCALE // 2
        if self.figure is None:
            self._draw_text(canvas, middle, middle, side, side)
        elif not self.text:
            self._draw_figure(canvas, middle, middle, side // 2)
        elif self.beside:
            self._draw_figure(canvas, middle - side * 34 // 100, middle, side * 16 // 100)
            self._draw_text(canvas, middle + side * 18 // 100, middle, side * 63 // 100, side * 20 // 100)
        else:
            self._draw_figure(canvas, middle, middle - side * 14 // 100, side * 34 // 100)
            self._draw_text(canvas, middle, middle + side * 38 // 100, side, side * 18 // 100)
        return np.asarray(cv2.resize(canvas, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)

    def _draw_figure(self, canvas: Image, x: int, y: int, half: int) -> None:
        if self.figure is None:
            return
        if self.ground is not None:
            for area in self.ground.areas:
                _fill(canvas, area.outline * half + (x, y), self.colours[0])
            half = half * 58 // 100
        for area in self.figure.areas:
            _fill(canvas, area.outline * half + (x, y), self._ink(area.colour))
        if self.figure.letter:
            _paste(canvas, _mask(self.figure.letter, replace(self.lettering, weight=700)), x, y, half, half, "white")

    def _draw_text(self, canvas: Image, x: int, y: int, width: int, height: int) -> None:
        _paste(canvas, _mask(self.lettering.word(self.text), self.lettering), x, y, width, height, self.colours[0])


@dataclass(frozen=True, slots=True)
class Mark:
    """A row of the register."""

    number: int
    company: str
    design: Design
    nice_classes: tuple[int, ...]
    status: str
    application_date: dt.date
    family: int
    """The number of the company's first mark."""

    @property
    def filename(self) -> str:
        """Its picture."""
        return f"{_logo_id(self.number)}.jpg"

    def row(self) -> dict[str, str]:
        """Its cells by column."""
        return {
            "logo_id": _logo_id(self.number),
            "filename": self.filename,
            "text": self.design.text or (self.design.figure.letter if self.design.figure else ""),
            "company": self.company,
            "vienna_codes": " ".join(self.design.vienna_codes),
            "nice_classes": " ".join(map(str, self.nice_classes)),
            "status": self.status,
            "office": OFFICE,
            "application_date": self.application_date.isoformat(),
            "mark_feature": self.design.feature,
            "family": _logo_id(self.family),
            "synthetic": "true",
        }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("samples/synthetic"), help="folder to write to")
    arguments = parser.parse_args()
    images = arguments.out / "images"
    if images.exists():
        raise SystemExit(f"{images} exists: remove it first, so that no older picture stays in it")
    images.mkdir(parents=True)
    marks = list(make_marks())
    with (arguments.out / "marks.csv").open("w", encoding="utf8", newline="") as file:
        table = csv.DictWriter(file, list(marks[0].row()), lineterminator="\n")
        table.writeheader()
        for mark in marks:
            table.writerow(mark.row())
            (images / mark.filename).write_bytes(encode_jpeg(mark.design.draw(), JPEG_QUALITY, optimize=True))
    size = sum(path.stat().st_size for path in images.iterdir())
    print(f"{len(marks)} marks of {COMPANIES} companies, {size:,} bytes of images")


def make_marks() -> Iterator[Mark]:
    """All marks, numbered from 1, company by company."""
    number = 1
    names = ["".join(parts) for parts in itertools.product(BEGINNINGS, MIDDLES, ENDINGS)]
    for company, name in enumerate(Random("names").sample(names, COMPANIES)):
        random = Random(f"company {company}")
        trade, nice_classes = random.choice(TRADES)
        day = FIRST_DAY.toordinal() + random.randrange((LAST_DAY - FIRST_DAY).days * 4 // 5)
        family = number
        for design in _designs(company, name, random):
            date = dt.date.fromordinal(day)
            status = _status(date.year, random)
            yield Mark(number, f"{name} Fictional {trade}", design, nice_classes, status, date, family)
            day += random.randrange(1, (LAST_DAY.toordinal() - day) // 2)
            number += 1


def _designs(company: int, name: str, random: Random) -> Iterator[Design]:
    """The marks of one company: what it draws, in some of the ways that a family of marks varies."""
    ink, second, third = (random.choice(INKS) for _ in range(3))
    colours, others = (ink, second if second != ink else "black"), (third if third != ink else "grey", ink)
    lettering = Lettering(
        random.choice(("sans", "italic")), random.choice((300, 500, 700, 900)), random.choice((0, 0, 6, 14)),
        random.random() < 0.5,
    )  # fmt: skip
    greys = ("grey", "black") if company in COPIERS else ("black", "grey")
    longer = f"{name} {random.choice(SECOND_WORDS)}"
    if company in WORDS_ONLY:
        other = replace(lettering, weight=1000 - lettering.weight, upper=not lettering.upper)
        yield Design(colours, lettering, text=name)
        yield Design(others, lettering, text=name)
        yield Design(colours, lettering, text=longer)
        yield Design(greys, other, text=name)
        yield Design(others, replace(other, face="italic"), text=longer)
        return
    if company in MONOGRAMS:
        figure = monogram(Random(f"monogram {company}"), name[0])
    else:
        model = company - 40 if company in COPIERS else company
        figure = FIGURES[model % len(FIGURES)](Random(f"figure {model}"))
    ground = random.choice((disc, square))()
    yield Design(colours, lettering, figure)
    yield Design(colours, lettering, figure, name)
    ways = [
        Design(colours, lettering, figure, name, beside=True),
        Design(others, lettering, figure, longer),
        Design(others, lettering, figure.mirrored(), longer, beside=True),
        Design(greys, lettering, figure.mirrored()),
        Design(others, lettering, figure, name),
    ]
    if not figure.letter:
        ways += [
            Design(colours, lettering, figure, ground=ground),
            Design(others, lettering, figure, name, ground=ground),
        ]
    random.shuffle(ways)
    yield from ways[:3]


def _status(year: int, random: Random) -> str:
    if year >= 2024:
        return "pending"
    chance = random.random()
    if chance < 0.08:
        return "refused"
    if chance < 0.14:
        return "withdrawn"
    return "expired" if year < 2014 and chance < 0.45 else "registered"


def _logo_id(number: int) -> str:
    return f"{OFFICE}-{number:06}"


def _fill(canvas: Image, outline: Points, ink: str) -> None:
    cv2.fillPoly(canvas, [np.rint(outline).astype(np.int32)], COLOURS[ink][0][::-1])


def _mask(text: str, lettering: Lettering) -> Image:
    """The text as white on black, cut to its ink."""
    face, size = cv2.FontFace(lettering.face), 300
    mask = np.zeros((2 * size, size * (len(text) + 2)), np.uint8)
    pen = (size // 2, size * 3 // 2)
    for letter in text:
        pen, _ = cv2.putText(mask, letter, pen, (255,), face, size, lettering.weight)
        pen = (pen[0] + size * lettering.spacing // 100, pen[1])
    x, y, width, height = cv2.boundingRect(mask)
    return mask[y : y + height, x : x + width]


def _paste(canvas: Image, mask: Image, x: int, y: int, width: int, height: int, ink: str) -> None:
    """Paint through a mask that is scaled to fit the box around (x, y)."""
    scale = min(width / mask.shape[1], height / mask.shape[0])
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    alpha = cv2.resize(mask, size, interpolation=cv2.INTER_AREA).astype(np.uint16)[..., np.newaxis]
    left, top = x - size[0] // 2, y - size[1] // 2
    box = canvas[top : top + size[1], left : left + size[0]]
    box[:] = (box * (255 - alpha) + np.array(COLOURS[ink][0][::-1], np.uint16) * alpha + 127) // 255


if __name__ == "__main__":
    main()

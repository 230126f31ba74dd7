"""The images of hits, on terminals that show images."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from logo_similarity.terminal import out

if TYPE_CHECKING:
    from PIL.Image import Image

    from logo_similarity.image.contained import Decoder

SHOWN = 8
"""Images in the row."""
WIDTH, HEIGHT = 12, 5
"""Largest size of an image, in characters."""

Draw = Callable[..., Any]


def find_drawing() -> Draw | None:
    """What draws an image as a Rich renderable, by Sixel (iTerm2, WezTerm, Konsole, xterm) or the protocol of kitty.

    None if the terminal does neither, stdin or stdout is no terminal, or the extra `pictures` is not installed.
    """
    if not (out.is_terminal and sys.__stdin__ is not None and sys.__stdin__.isatty()):
        return None
    if not os.get_terminal_size(sys.__stdin__.fileno()).columns:  # of no size
        return None
    try:
        from textual_image import renderable  # asks the terminal
    except ImportError:
        return None
    return renderable.Image if renderable.Image in (renderable.SixelImage, renderable.TGPImage) else None


def print_pictures(files: Sequence[bytes | None], draw: Draw, decoder: Decoder) -> None:
    """Print a row of images, numbered from 1. One that is missing or damaged is left blank.

    Args:
        files: contents of image files.
        draw: see `find_drawing`.
        decoder: decodes them.
    """
    from rich.table import Table

    images = [_small(file, decoder) for file in files]
    row = Table.grid(*(str(number) for number in range(len(images))), padding=(0, 1))
    row.add_row(*("" if image is None else draw(image, width="auto", height=HEIGHT) for image in images))
    row.add_row(*(f"{number}" for number in range(1, len(images) + 1)))
    out.print(row, soft_wrap=False, crop=False)


def _small(file: bytes | None, decoder: Decoder) -> Image | None:
    """A copy that fits on white paper of the same proportions for each image, so that the row is even."""
    from PIL import Image, ImageOps

    from logo_similarity.errors import BadImageError

    if file is None:
        return None
    try:
        pixels = decoder.decode(file)
    except BadImageError:
        return None
    return ImageOps.pad(Image.fromarray(pixels), (16 * WIDTH, 32 * HEIGHT), color="white")

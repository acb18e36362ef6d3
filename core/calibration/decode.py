"""Decoding image files to 8-bit RGB or grey."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from onnx_pare.graph.load import first_line

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".gif"})
# whatever a file is called, no other decoder sees it: Pillow's for PostScript starts a program
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "GIF")
# Pillow's own limit, which a program may have turned off
MAX_PIXELS = 89_478_485
_GREY = {"1", "L", "LA"}


class DecodeError(Exception):
    """An image file does not decode; the message says why, not which."""


def decode(path: Path, *, draft: bool = False) -> Image.Image:
    """Return the first frame of an image file, upright as its EXIF orientation says, in mode RGB or L.

    Transparency is dropped, 16-bit images are rounded to 8 bits, palettes and CMYK become RGB.

    Args:
        path: The file.
        draft: Decode a JPEG at an eighth of its size: as thorough a check of the file, but faster.

    Raises:
        DecodeError: It is damaged, no image of these FORMATS, or a decompression bomb: beyond MAX_PIXELS.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path, formats=FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DecodeError(f"{image.width}×{image.height} pixels are over the limit of {MAX_PIXELS:,}")
            if draft:
                image.draft("RGB", (1, 1))
            image.load()
            return _eight_bits(ImageOps.exif_transpose(image))
    except DecodeError:
        raise
    except Exception as error:  # decoders of damaged files raise anything, from OSError to SyntaxError
        raise DecodeError(first_line(error)) from error


def undecodable(paths: Sequence[Path]) -> dict[int, str]:
    """Return which of the files do not decode (their positions), and why."""
    with warnings.catch_warnings(), ThreadPoolExecutor() as pool:
        warnings.simplefilter("ignore")  # Pillow's own, about bombs and odd metadata
        reasons = list(pool.map(_reason, paths))
    return {index: reason for index, reason in enumerate(reasons) if reason is not None}


def _reason(path: Path) -> str | None:
    try:
        decode(path, draft=True)
    except DecodeError as error:
        return str(error)
    return None


def _eight_bits(image: Image.Image) -> Image.Image:
    import numpy as np
    from PIL import Image

    if image.mode == "F":
        raise DecodeError("its pixels are floats")
    if image.mode.startswith("I"):  # 16-bit grey; older Pillow opens it with 32 bits
        wide = np.asarray(image).astype(np.int64).clip(0, 65535)
        return Image.fromarray(((wide * 255 + 32767) // 65535).astype(np.uint8))
    return image.convert("L" if image.mode in _GREY else "RGB")

"""Pictures in files, as patterns."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..messages import printable

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")  # of others, some start programs to be read


def read_pictures(paths: Sequence[Path], side: int) -> NDArray[np.int8]:
    """Files of pictures as patterns (p, side, side): +1 where darker than the median grey, else -1."""
    found: dict[bytes, Path] = {}
    for path in paths:
        pattern = pattern_of(path, grey(path, side)).tobytes()
        if pattern in found:
            raise ValueError(
                f"{path} becomes the same pattern as {found[pattern]} at {side} x {side}; leave one out, or "
                "give a larger --side"
            )
        found[pattern] = path
    return np.frombuffer(b"".join(found), np.int8).reshape(-1, side, side)


def pattern_of(path: Path, pixels: NDArray[np.float32]) -> NDArray[np.int8]:
    """Grey as a pattern: where the darkest half or more is of one grey, all of that is +1."""
    darkest, median, lightest = pixels.min(), np.median(pixels), pixels.max()
    if not darkest < lightest:  # also where a pixel is nan
        side = len(pixels)
        raise ValueError(
            f"{path}: all pixels are equal at {side} x {side}; give a picture with light and dark"
        )
    return np.where(pixels < median if darkest < median else pixels <= median, 1, -1).astype(np.int8)


def grey(path: Path, side: int) -> NDArray[np.float32]:
    """The grey of side x side pixels of a picture, on white where it is transparent."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a picture is odd, which the figure shows
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=FORMATS) as file:
                image = ImageOps.exif_transpose(file)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
        if image.mode[0] in "IF":  # 16 or 32 bits a pixel, which `convert` would cut off at 255
            image = Image.fromarray(np.asarray(image, np.float32))
        else:
            image = image.convert("L")
        return np.asarray(image.resize((side, side), Image.Resampling.BOX), np.float32)
    except MemoryError:
        raise
    except Exception as error:  # whatever a decoder says to bytes that it cannot read
        if isinstance(error, OSError) and error.filename:
            raise
        text = printable(error or type(error).__name__, 200)
        raise ValueError(f"{path}: no {', '.join(FORMATS)} picture that can be read: {text}") from None

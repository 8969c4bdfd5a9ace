"""What commands print, without what a terminal would obey, and their files, checked before the work."""

from __future__ import annotations

from pathlib import Path


def show(text: object, end: str = "\n", flush: bool = False) -> None:
    """Print text that may hold what comes from files, models and names of files."""
    from ..messages import visible

    print(visible(text), end=end, flush=flush)


def require_file_for(path: Path | None, suffix: str) -> None:
    """Raise ValueError or OSError unless path is None, or has the suffix and can be written."""
    from ..files import require_suffix, require_writable

    if path is not None:
        require_suffix(path, suffix)
        require_writable(path)


def require_picture(path: Path | None) -> None:
    """Raise ValueError or OSError unless path is None, or names a figure format and can be written."""
    from ..files import require_writable
    from ..plot import require_format

    if path is not None:
        require_format(path)
        require_writable(path)


def written_to(*paths: Path | None) -> str:
    """Return "written to A and B", without paths that are None."""
    return "written to " + " and ".join(str(path) for path in paths if path is not None)

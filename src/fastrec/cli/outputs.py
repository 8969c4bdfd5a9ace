"""Files that commands write: whether they can be, asked before the work, and their names, told after it."""

from __future__ import annotations

from pathlib import Path


def require_file_for(path: Path | None, suffix: str) -> None:
    """Raise ValueError or OSError unless path, if any, has the suffix and can be written."""
    from ..files import require_suffix, require_writable

    if path is not None:
        require_suffix(path, suffix)
        require_writable(path)


def require_picture(path: Path | None) -> None:
    """Raise ValueError or OSError unless path, if any, is of a format of pictures and can be written."""
    from ..files import require_writable
    from ..plot import require_format

    if path is not None:
        require_format(path)
        require_writable(path)


def written_to(*paths: Path | None) -> str:
    """ "written to A and B" of what is not None."""
    return "written to " + " and ".join(str(path) for path in paths if path is not None)

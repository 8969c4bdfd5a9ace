"""README.md as the page of a package index, on which paths of the repository lead nowhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PATH = r"(?!https?:|mailto:|#)([^)\s\"]+)"
PICTURE = re.compile(rf"!\[([^\]]*)\]\({PATH}\)|<img\b[^>]*\bsrc=\"{PATH}\"[^>]*>")
LINK = re.compile(rf"\[((?:!\[[^\]]*\]\([^)]*\)|[^\[\]])*)\]\({PATH}\)")


class IndexPage(MetadataHookInterface):
    """Sets the field readme; `urls.Repository` of pyproject.toml is where the repository is, if public."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Add the field."""
        text = Path(self.root, "README.md").read_text(encoding="utf-8")
        repository = metadata.get("urls", {}).get("Repository", "")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_addresses(text, repository)}


def with_addresses(text: str, repository: str) -> str:
    """Make paths addresses in a repository; without one, pictures go and of links the text stays."""
    if not repository:
        return LINK.sub(r"\1", PICTURE.sub("", text))

    def picture(found: re.Match[str]) -> str:
        path = found[2] or found[3]
        return found[0].replace(path, f"{repository}/raw/HEAD/{path}")

    return LINK.sub(rf"[\1]({repository}/blob/HEAD/\2)", PICTURE.sub(picture, text))

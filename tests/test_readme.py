"""What the README's examples print is what it says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

README = Path(__file__).parents[1] / "README.md"


@pytest.mark.parametrize(
    "code", re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
)
def test_example_prints_what_it_says(capsys, code):
    said = re.findall(r"^print\(.*\)\s*# (.*)$", code, re.MULTILINE)
    exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.splitlines() == said
    assert len(said) == code.count("print(") > 0


@pytest.mark.parametrize("name", re.findall(r"\]\((?!http)([^)#]+)\)", README.read_text(encoding="utf-8")))
def test_links_lead_somewhere(name):
    assert (README.parent / name).exists()

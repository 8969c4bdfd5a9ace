"""``python -m fastrec`` is the command ``fastrec``."""

from .cli import main

main()

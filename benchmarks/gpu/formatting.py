"""Numbers and errors as text."""


def format_quantity(value: float, unit: str) -> str:
    """Return a quantity with three digits and a prefix, such as "1.23 TB/s"."""
    prefixes = ["", "k", "M", "G", "T", "P"]
    while abs(value) >= 999.5 and len(prefixes) > 1:
        value /= 1000
        del prefixes[0]
    return f"{value:.3g} {prefixes[0]}{unit}"


def format_bytes(nbytes: float) -> str:
    return format_quantity(nbytes, "B")


def format_duration(s: float) -> str:
    return f"{s:.3g} s" if s >= 1 else f"{s * 1e3:.3g} ms" if s >= 1e-3 else f"{s * 1e6:.3g} µs"


def error_line(error: BaseException) -> str:
    """Return an exception with its type, in one line."""
    return one_line(f"{type(error).__name__}: {error}".rstrip(": "))


def one_line(text: object, most: int = 300) -> str:
    """Return the text without line breaks, cut to `most` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= most else line[: most - 1] + "…"

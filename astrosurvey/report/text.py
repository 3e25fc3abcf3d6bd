"""Numbers, sizes and times in words, and JSON that is safe inside a page."""

from __future__ import annotations

import json
import math
import unicodedata
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup


def number(value: float) -> str:
    """Return a count with thin spaces between thousands: 12 345."""
    return f"{value:,.0f}".replace(",", "\u202f")


def decimal(value: float, digits: int = 4) -> str:
    """Return a number with so many significant digits, without an exponent where that is readable."""
    if not math.isfinite(value):
        return "—" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    if 1e-4 <= abs(value) < 1e6:
        places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
        said = f"{value:.{places}f}"
        said = said.rstrip("0").rstrip(".") if "." in said else said
    else:
        said = f"{value:.{digits - 1}e}"
    return said.replace("-", "−")


def measured(value: float, error: float | None) -> str:
    """Return a number with its error, to the error's second digit."""
    if error is None or not math.isfinite(error) or error <= 0 or not math.isfinite(value):
        return decimal(value)
    places = 1 - math.floor(math.log10(error))
    if not 0 <= places <= 8:
        return f"{decimal(value)} ± {decimal(error, 2)}"
    return f"{value:.{places}f} ± {error:.{places}f}".replace("-", "−")


def duration(seconds: float) -> str:
    """Return a time in the unit that suits it."""
    if seconds < 0.0995:
        return f"{seconds * 1000:.0f} ms" if seconds >= 0.001 else "< 1 ms"
    if seconds < 99.5:
        return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 100:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{number(hours)} h {minutes:02d} min"


def size(value: float) -> str:
    """Return a number of bytes with a decimal prefix."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 999.5 or unit == "TB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 99.5 else f"{value:.2g} {unit}"
        value /= 1000
    raise AssertionError


def moment(seconds: Any) -> str:
    """Return a time stamp as date and time in UTC; "" for what is none."""
    if not isinstance(seconds, int | float):
        return ""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, OSError, ValueError):
        return ""


def value(given: Any) -> str:
    """Return a JSON value of a product's summary in words."""
    if isinstance(given, bool) or given is None:
        return {True: "yes", False: "no", None: "none"}[given]
    if isinstance(given, int):
        return number(given) if abs(given) >= 10_000 else str(given)
    if isinstance(given, float):
        return decimal(given)
    if isinstance(given, str):
        return given
    if isinstance(given, list) and all(not isinstance(item, dict | list) for item in given):
        shown = ", ".join(value(item) for item in given[:8])
        return f"{shown}, … ({len(given)})" if len(given) > 8 else shown
    said = json.dumps(given, ensure_ascii=False, default=str)
    return said if len(said) <= 120 else f"{said[:119]}…"


def visible(given: Any) -> str:
    """Return text with control characters and direction marks made visible: file names and headers may hold any."""
    said = str(given)
    if said.isascii() and said.isprintable():
        return said
    return "".join(c if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Co", "Cn") else _escaped(c) for c in said)


def _escaped(character: str) -> str:
    return f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}"


def embedded(given: Any) -> Markup:
    """Return JSON that is safe inside a script element: nothing in it can end the element or open a comment."""
    said = json.dumps(_finite(given), ensure_ascii=True, separators=(",", ":"))
    return Markup(said.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))


def _finite(given: Any) -> Any:
    """Return a JSON value with null for what JSON has no word for, such as NaN."""
    if isinstance(given, float):
        return given if math.isfinite(given) else None
    if isinstance(given, dict):
        return {visible(key): _finite(item) for key, item in given.items()}
    if isinstance(given, list | tuple):
        return [_finite(item) for item in given]
    return visible(given) if isinstance(given, str) else given

"""Header cards as they stand in the file: values on demand, and nothing that is ambiguous."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

CARD = 80
_INT = re.compile(r"[+-]?\d{1,40}$")
_FLOAT = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([ED][+-]?\d{1,5})?$")

Value = str | int | float | bool


class CardError(ValueError):
    """A card that is needed is missing, unreadable or contradicted by another one."""

    def __init__(self, keyword: str, reason: str) -> None:
        self.keyword, self.reason = keyword, reason
        super().__init__(f"{keyword}: {reason}")


class Cards:
    """The cards of one header.

    Args:
        raw: the header's bytes up to END, a multiple of 80; bytes that FITS forbids become "?".
    """

    def __init__(self, raw: bytes) -> None:
        text = raw.decode("latin-1")
        self.impure = any(not " " <= c <= "~" for c in text)
        if self.impure:
            text = "".join(c if " " <= c <= "~" else "?" for c in text)
        self._cards: dict[str, list[str]] = {}
        self.order: list[str] = []
        for start in range(0, len(text), CARD):
            card = text[start : start + CARD]
            keyword = _keyword(card)
            self.order.append(keyword)
            self._cards.setdefault(keyword, []).append(card)

    def __contains__(self, keyword: str) -> bool:
        return keyword in self._cards

    def matching(self, pattern: re.Pattern[str]) -> Iterator[tuple[str, str]]:
        """Yield (keyword, 80-character card) of each keyword that `pattern` matches as a whole.

        Raises:
            CardError: one of them stands twice with different values.
        """
        for keyword, cards in self._cards.items():
            if pattern.fullmatch(keyword):
                self._parsed(keyword)
                yield keyword, cards[0]

    def _parsed(self, keyword: str) -> Value | None:
        values = [_value(keyword, card) for card in self._cards[keyword]]
        if any(value != values[0] or type(value) is not type(values[0]) for value in values[1:]):
            raise CardError(keyword, f"stands {len(values)} times with different values")
        return values[0]

    def get(self, keyword: str) -> Value | None:
        """Return the value, or None when the keyword is absent or its value empty.

        Raises:
            CardError: the value cannot be read, or the keyword stands twice with different values.
        """
        return self._parsed(keyword) if keyword in self._cards else None

    def integer(self, keyword: str, default: int | None = None) -> int:
        """Return an integer value.

        Raises:
            CardError: it is missing (and there is no default) or no integer.
        """
        value = self.get(keyword)
        if value is None and default is not None:
            return default
        if value is None:
            raise CardError(keyword, "is missing")
        if type(value) is float and value.is_integer() and abs(value) < 2**53:
            return int(value)
        if type(value) is not int:
            raise CardError(keyword, f"must be an integer, not {value!r}")
        return value

    def number(self, keyword: str, default: float | None = None) -> float:
        """Return a finite number.

        Raises:
            CardError: it is missing (and there is no default) or no finite number.
        """
        value = self.get(keyword)
        if value is None and default is not None:
            return default
        if value is None:
            raise CardError(keyword, "is missing")
        if type(value) not in (int, float) or not math.isfinite(value):  # type: ignore[arg-type]
            raise CardError(keyword, f"must be a finite number, not {value!r}")
        return float(value)

    def text(self, keyword: str) -> str:
        """Return a string value without its trailing blanks, "" when absent; a number as it is written.

        Never raises: texts are only shown, or compared with names.
        """
        if keyword not in self._cards:
            return ""
        try:
            value = _value(keyword, self._cards[keyword][0])
        except CardError:
            return ""
        return "" if value is None else str(value)


def _keyword(card: str) -> str:
    """Return a card's keyword; an ESO HIERARCH keyword as "ESO QC ZP"."""
    if card.startswith("HIERARCH ") and "=" in card:
        return " ".join(card[9:].split("=", 1)[0].split())
    return card[:8].rstrip()


def _value(keyword: str, card: str) -> Value | None:
    if card.startswith("HIERARCH "):
        field = card.split("=", 1)[1]
    elif card[8:10] == "= ":
        field = card[10:]
    else:
        return None
    field = field.strip()
    if field.startswith("'"):
        quoted = re.match(r"'((?:[^']|'')*)'", field)
        if not quoted:
            raise CardError(keyword, "has a string without its closing quote")
        return quoted[1].replace("''", "'").rstrip()
    field = field.split("/", 1)[0].strip()
    if field in ("T", "F"):
        return field == "T"
    if field == "":
        return None
    if _INT.match(field):
        return int(field)
    if _FLOAT.match(field.upper()):
        return float(field.upper().replace("D", "E"))
    raise CardError(keyword, f"has the value {field[:40]!r}, which FITS does not know")

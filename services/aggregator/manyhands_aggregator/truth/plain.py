"""What of a text does not count."""

from __future__ import annotations

import unicodedata


def plain(text: str) -> str:
    """The text without what does not count: in Unicode's form NFKC, case folded, no punctuation, single spaces.

    Source: Unicode Standard Annex 15 (NFKC), and section 3.13 of the standard (case folding).
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(c for c in folded if not unicodedata.category(c).startswith("P")).split())

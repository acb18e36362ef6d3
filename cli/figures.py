"""Numbers as people read them, each with its unit."""

from __future__ import annotations

import math

SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def count_text(count: float) -> str:
    """Return a count in up to four digits: `40.55 M`, `269 k`, `512`."""
    return _scaled(count)


def size_text(size_bytes: float) -> str:
    """Return a size in decimal units: `302.1 kB`, `1.092 MB`, `96 B`."""
    text = _scaled(size_bytes)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"


def ms_text(ms: float) -> str:
    """Return a time in three digits, in ms whatever it is: `0.0661 ms`, `12.3 ms`, `1234 ms`."""
    if ms <= 0:
        return "0 ms"
    digits = max(0, min(4, 2 - math.floor(math.log10(ms))))
    return f"{ms:.{digits}f} ms"


def db_text(sqnr_db: float | None) -> str:
    """Return an SQNR: `31.2 dB`, `identical` for inf, `broken` for −inf, a dash where there is none."""
    if sqnr_db is None:
        return "–"
    if math.isinf(sqnr_db):
        return "identical" if sqnr_db > 0 else "broken"
    return f"{sqnr_db:.1f} dB"


def percent_text(fraction: float | None) -> str:
    """Return a fraction in per cent: `90.45 %`; a dash where there is none."""
    return "–" if fraction is None else f"{100 * fraction:.2f} %"


def _scaled(number: float) -> str:
    for scale, prefix in SCALES:
        if abs(number) >= scale:
            return f"{number / scale:.4g} {prefix}"
    return f"{number:.4g}"

"""msgspec without what it takes longest to import, for what is over at once."""

from __future__ import annotations

import sys


def import_msgspec() -> None:
    """Import msgspec; from Python 3.11 on `typing` has what it needs of the other.

    `typing_extensions`, with `inspect`, are a tenth of a `veo attach -c`.
    """
    if "typing_extensions" in sys.modules:
        return
    sys.modules["typing_extensions"] = None  # type: ignore[assignment]
    try:
        import msgspec  # noqa: F401
    finally:
        del sys.modules["typing_extensions"]

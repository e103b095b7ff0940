"""What ptpython loads at its start and a session may never need: its history at F3.

With that come the lexers of five languages, a twentieth of the time until the prompt.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import Any

NAME = "ptpython.history_browser"


class Later(ModuleType):
    """Stands in for the module until something of it is called, or looked up."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name != "PythonHistory":
            return getattr(_real(), name)
        return lambda *args, **kwargs: _real().PythonHistory(*args, **kwargs)


def _real() -> Any:
    if isinstance(sys.modules.get(NAME), Later):
        del sys.modules[NAME]
    return importlib.import_module(NAME)


def stand_in() -> None:
    """Have ptpython load it later; to be called before ptpython is imported."""
    if NAME not in sys.modules:
        sys.modules[NAME] = Later(NAME)

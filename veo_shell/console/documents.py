"""`--json`: each value as one JSON document, on a line of its own."""

from __future__ import annotations

from typing import Any, TextIO

import msgspec

from veo_shell.console import render


def show(value: Any, stream: TextIO) -> None:
    """Print a value; of what comes little by little each part as it comes."""
    if render.is_live(value):
        value.show(stream, as_json=True)
    elif type(value).__name__ == "Lines":
        from contextlib import closing

        with closing(value):
            for line in value:
                stream.write(f"{document(line)}\n")
                stream.flush()
    else:
        stream.write(f"{document(value)}\n")


def document(value: Any) -> str:
    """Return a value's document: records as their fields, else what JSON knows.

    >>> document({"a": (1, None)}), document({(1, 2): "a"})
    ('{"a":[1,null]}', '"{(1, 2): \'a\'}"')
    """
    try:
        return msgspec.json.encode(value, enc_hook=_spelled).decode()
    except (TypeError, ValueError, OverflowError, RecursionError):
        return msgspec.json.encode(_text(value)).decode()


def _spelled(value: Any) -> str:
    """Return what JSON has no word for; the name of a node is a text, too."""
    return str(value) if isinstance(value, str) else repr(value)


def _text(value: Any) -> str:
    return repr(value).encode(errors="backslashreplace").decode()

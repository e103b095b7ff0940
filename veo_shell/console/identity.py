"""Who a session is: told to the node with every call. Light to import."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Any

REASON = "VEO_REASON"


def identity(*, read_only: bool = False) -> dict[str, Any]:
    """Return what this process tells of itself, the fields of a `Session`."""
    return {
        "id": os.urandom(4).hex(),
        "user": spelled(_user()),
        "origin": spelled(_origin()),
        "program": spelled(_program()),
        "reason": spelled(os.environ.get(REASON, "")),
        "read_only": read_only,
        "at_s": time.time(),
    }


def spelled(text: str) -> str:
    """Return a text with bytes that are none spelled: it could not be sent."""
    return text.encode(errors="backslashreplace").decode()


def _user() -> str:
    import pwd

    name = str(os.getuid())
    with contextlib.suppress(KeyError):  # a container may know no users
        name = pwd.getpwuid(os.getuid()).pw_name
    before = os.environ.get("SUDO_USER")
    return f"{before} (as {name})" if before else name


def _origin() -> str:
    """Return the host, the terminal if there is one, and where SSH came from."""
    told = os.uname().nodename
    for number in (0, 1, 2):
        with contextlib.suppress(OSError):
            told += f" {os.ttyname(number).removeprefix('/dev/')}"
            break
    client = os.environ.get("SSH_CONNECTION", "").partition(" ")[0]
    return f"{told}, from {client}" if client else told


def _program() -> str:
    name = sys.argv[0].rpartition("/")[2]
    return " ".join(["veo" if name == "__main__.py" else name, *sys.argv[1:2]])

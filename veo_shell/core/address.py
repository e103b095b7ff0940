"""How operators write where a node is: `host`, `host:port`, `[v6]:port` or `v6`."""

from __future__ import annotations

import ipaddress
import re

from veo_shell.errors import UsageError

MESH_PORT = 8087
MOST = 253 + 8
"""RFC 1035's longest name, and a port."""
# RFC 1123: the last label is not of digits alone, or it would be an address gone wrong.
NAME = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*(?![0-9]+\.?$)[A-Za-z0-9_-]{1,63}\.?")


def split(text: str, what: str) -> tuple[str, int]:
    """Return host and port, the usual port if none is given; raise `UsageError`.

    `what` is what the message begins with.

    >>> split("[::1]:9000", ""), split("::1", ""), split("uno:9", "")
    (('::1', 9000), ('::1', 8087), ('uno', 9))
    """
    if len(text) > MOST or not text.isprintable():
        raise UsageError(
            f"{what}: an address is of at most {MOST} printable characters"
        )
    host, port = text, ""
    if bracketed := re.fullmatch(r"\[(.*)\](?::(.*))?", text):
        host, port = bracketed[1], bracketed[2] or ""
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not host:
        raise UsageError(f"{what}: a node to join is HOST or HOST:PORT")
    if not _is_host(host):
        raise UsageError(f"{what}: not a host's name or address")
    return host, port_number(port, what) if port else MESH_PORT


def _is_host(text: str) -> bool:
    """Tell whether a text can be a host's name, whatever DNS says now, or address."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        try:
            return NAME.fullmatch(text.encode("idna").decode()) is not None
        except UnicodeError:  # a label that is empty or too long
            return False
    return True


def port_number(text: str, what: str, most: int = 65535) -> int:
    """Read a port; raise `UsageError` with a message that begins with `what`."""
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 < int(text) <= most:
        raise UsageError(f"{what}: a port is a number from 1 to {most}")
    return int(text)

"""What a resolv.conf says (resolv.conf(5)), as far as it can be read."""

from __future__ import annotations

import ipaddress

import attrs

PORT = 53


@attrs.frozen(kw_only=True)
class ResolvConf:
    """Whom to ask, in order, and what to try behind a short name."""

    servers: tuple[str, ...] = ()
    search: tuple[str, ...] = ()


def read_resolv_conf(text: str) -> ResolvConf:
    """Return what it says; of several `search` or `domain`, the last.

    >>> read_resolv_conf("nameserver 192.0.2.1 # ours").servers
    ('192.0.2.1',)
    """
    servers: list[str] = []
    search: tuple[str, ...] = ()
    for line in text.splitlines():
        key, *words = line.split() or [""]
        if key == "nameserver" and words and _is_address(words[0]):
            servers.append(words[0])
        elif key in ("search", "domain"):
            search = tuple(word for word in words if word != ".")
    return ResolvConf(servers=tuple(dict.fromkeys(servers)), search=search)


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True

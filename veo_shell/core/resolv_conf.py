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


BEGIN = "# Begin of what veo resolver install added; veo resolver remove takes it away."
END = "# End of what veo resolver install added."


def with_server(text: str, address: str) -> str:
    """Return the text with a server that is asked first; the rest stays as it is."""
    return f"{BEGIN}\nnameserver {address}\n{END}\n{without_server(text)}"


def without_server(text: str) -> str:
    """Return the text without what `with_server` added, wherever that stands now."""
    kept: list[str] = []
    is_ours = False
    for line in text.splitlines(keepends=True):
        said = line.strip()
        is_ours = is_ours or said == BEGIN
        if not is_ours:
            kept.append(line)
        is_ours = is_ours and said != END
    # Cut off within what was added: nobody can tell what was whose
    return text if is_ours else "".join(kept)


def writer_of(text: str) -> str:
    """Return the line in which a program says that it writes this file, "" if none."""
    for line in without_server(text).splitlines():
        if line.startswith(("#", ";")) and "generated" in line.lower():
            return line
    return ""


def drop_in(address: str, port: int, zones: tuple[str, ...]) -> str:
    """Return what has systemd-resolved ask a node for zones (resolved.conf(5))."""
    host = f"[{address}]" if ":" in address else address
    server = address if port == PORT else f"{host}:{port}"
    domains = " ".join(f"~{zone.removesuffix('.')}" for zone in zones)
    return (
        "# Written by veo resolver install; veo resolver remove takes it away.\n"
        f"[Resolve]\nDNS={server}\nDomains={domains}\n"
    )

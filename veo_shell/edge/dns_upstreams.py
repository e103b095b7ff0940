"""Whom a node asks about names that are not the cluster's."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from veo_shell.core.resolv_conf import PORT, ResolvConf, read_resolv_conf

logger = logging.getLogger(__name__)

Place = tuple[str, int]

HOSTS_FILE = Path("/etc/resolv.conf")
RESOLVED_FILE = Path("/run/systemd/resolve/resolv.conf")
"""Whom systemd-resolved asks. Its own address would ask us about our zone."""
RESOLVED = frozenset({"127.0.0.53", "127.0.0.54"})


class Upstreams:
    """Those `given`, or else of the host's resolv.conf as it is now; never this node.

    `own`: the addresses and the port that this node answers at, where 0.0.0.0 and ::
    stand for those of which `has_address` tells. `files`: that resolv.conf, and one in
    its place for what it says of systemd-resolved.
    """

    def __init__(
        self,
        own: tuple[Sequence[str], int],
        given: Sequence[Place] | None = None,
        files: tuple[Path, Path] = (HOSTS_FILE, RESOLVED_FILE),
        has_address: Callable[[str], bool] = lambda address: False,
    ) -> None:
        addresses, self._port = own
        self._own = frozenset(map(ipaddress.ip_address, addresses))
        self._all_of = {own.version for own in self._own if own.is_unspecified}
        self._has_address = has_address
        self._given = given
        self._files = files
        self._read: dict[Path, tuple[object, ResolvConf]] = {}
        self._found: tuple[Place, ...] | None = None
        self._places: tuple[Place, ...] = ()

    def now(self) -> tuple[Place, ...]:
        """Return them in the order in which they are to be asked."""
        found = tuple(self._of_host() if self._given is None else self._given)
        if found != self._found:
            self._found = found
            self._places = tuple(p for p in found if not self._is_own(p))
            named = ", ".join(f"{address}:{port}" for address, port in self._places)
            logger.info("DNS: other names are asked of %s", named or "nobody")
        return self._places

    def search(self) -> tuple[str, ...]:
        """Return what the host tries behind a short name."""
        return self._conf(self._files[0]).search

    def _of_host(self) -> Iterator[Place]:
        servers = self._conf(self._files[0]).servers
        if RESOLVED.intersection(servers):
            behind = self._conf(self._files[1]).servers
            servers = (*(s for s in servers if s not in RESOLVED), *behind)
        return ((server, PORT) for server in dict.fromkeys(servers))

    def _conf(self, path: Path) -> ResolvConf:
        """Return what a file says; it is read again when it has changed."""
        try:
            about = path.stat()
            seen = about.st_ino, about.st_mtime_ns, about.st_size
            if self._read.get(path, (None,))[0] != seen:
                text = path.read_text(errors="replace")
                self._read[path] = seen, read_resolv_conf(text)
        except OSError as exc:  # being replaced just now, say: what it said holds
            logger.debug("DNS: %s: %s", path, exc)
        return self._read.get(path, (None, ResolvConf()))[1]

    def _is_own(self, place: Place) -> bool:
        address, port = place
        if port != self._port:
            return False
        parsed = ipaddress.ip_address(address)
        if parsed.version == 6:
            parsed = parsed.ipv4_mapped or parsed
        if parsed in self._own or parsed.is_unspecified:
            return True
        return parsed.version in self._all_of and self._has_address(str(parsed))

"""Has this host's programs ask a node for names: resolv.conf, or systemd-resolved."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from veo_shell.core.resolv_conf import (
    PORT,
    drop_in,
    read_resolv_conf,
    with_server,
    without_server,
    writer_of,
)
from veo_shell.errors import ResolverError

RESOLVED = Path("run/systemd/resolve")
STUBS = frozenset({"127.0.0.53", "127.0.0.54"})
DNS = re.compile(r"^[ \t]*DNS[ \t]*=[ \t]*(.*?)[ \t]*$", re.MULTILINE)
RESTART = ("systemctl", "restart", "systemd-resolved")
RESTART_S = 30


class HostResolver:
    """The files of the host at `root`. What was there before is kept, and comes back.

    What both methods return are lines that say what was done. `trouble` tells why
    systemd-resolved does not know a zone, "" if it does.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        trouble: Callable[[str], str] = lambda zone: "",
    ) -> None:
        self._trouble = trouble
        self._root = root
        self._file = root / "etc/resolv.conf"
        self._run_dir = root / RESOLVED
        self._drop_in = root / "etc/systemd/resolved.conf.d/veo.conf"

    def install(self, address: str, port: int, zones: tuple[str, ...]) -> list[str]:
        """Have a node be asked; once is enough. Raise `ResolverError`."""
        if self._is_resolved():
            return self._install_drop_in(drop_in(address, port, zones), zones)
        if port != PORT:
            raise ResolverError(
                f"the node answers at port {port}, and {self._file} can name port "
                f"{PORT} alone: start it with --dns-port {PORT}"
            )
        before = self._read()
        after = with_server(before, address)
        if after == before:
            return [f"{self._file} names {address} first: nothing is to be done"]
        self._write(after)
        return [f"{self._file} names {address} first now", *self._doubts(after)]

    def remove(self) -> list[str]:
        """Take away what was added, wherever that was; raise `ResolverError`."""
        said = []
        with self._told(self._drop_in):
            is_there = self._drop_in.exists()
            self._drop_in.unlink(missing_ok=True)
        if is_there:
            self._restart()
            said.append(f"{self._drop_in} is gone")
        before = self._read()
        after = without_server(before)
        if after != before:
            self._write(after)
            said.append(f"{self._file} is as it was")
        return said or ["nothing was added here: nothing is to be done"]

    def _is_resolved(self) -> bool:
        """Tell whether programs here ask systemd-resolved, and it runs."""
        stub = self._run_dir / "stub-resolv.conf"
        servers = read_resolv_conf(self._read()).servers
        behind = self._file.resolve()  # after that: not where links go in a circle
        asked = behind.parent == self._run_dir.resolve() or STUBS.intersection(servers)
        return bool(asked) and stub.exists()

    def _install_drop_in(self, text: str, zones: tuple[str, ...]) -> list[str]:
        names = ", ".join(zones)
        self._check_others()
        with self._told(self._drop_in):
            old = self._drop_in.read_text() if self._drop_in.exists() else None
            if old == text:
                return [f"systemd-resolved asks it for {names}: nothing is to be done"]
            self._drop_in.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _replace(self._drop_in, text, 0o644)
        try:
            self._restart()
            if why := self._trouble(zones[0]):
                raise ResolverError(f"systemd-resolved does not know {zones[0]}: {why}")
        except ResolverError:
            # As before: what does no good now must not come into effect at a boot.
            if old is None:
                self._drop_in.unlink()
            else:
                _replace(self._drop_in, old, 0o644)
            with contextlib.suppress(ResolverError):
                self._restart()
            raise
        return [f"systemd-resolved asks it for {names} now ({self._drop_in})"]

    def _check_others(self) -> None:
        """Raise `ResolverError` if systemd-resolved has servers for all names alike.

        Those it has from a link are asked only about what is in no zone that is named;
        but among its own it asks one, as it comes, about that too.
        """
        found: list[tuple[Path, str]] = []
        for file in self._settings():
            with self._told(file):
                text = file.read_text(errors="replace")
            for value in DNS.findall(text):
                found = [*found, (file, value)] if value else []
        if found:
            file, value = found[0]
            raise ResolverError(
                f"{file} has DNS={value}, which systemd-resolved would ask about the "
                "cluster's names too: give that server to a link (nmcli, networkd), or "
                "name it in the node's file, dns: {forward: [...]}, and not there"
            )

    def _settings(self) -> list[Path]:
        """Return the files that it reads but ours, in its order (resolved.conf(5))."""
        folders = [self._root / name / "systemd" for name in ("usr/lib", "run", "etc")]
        drop_ins = {
            path.name: path
            for folder in folders
            for path in folder.glob("resolved.conf.d/*.conf")
        }
        drop_ins.pop(self._drop_in.name, None)
        main = [folder / "resolved.conf" for folder in reversed(folders)]
        first = [path for path in main if path.is_file()][:1]
        return [*first, *(drop_ins[name] for name in sorted(drop_ins))]

    def _restart(self) -> None:
        try:
            done = subprocess.run(
                RESTART, capture_output=True, text=True, timeout=RESTART_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as exc:
            raise ResolverError(f"systemd-resolved does not restart: {exc}") from exc
        if done.returncode:
            said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
            raise ResolverError(f"systemd-resolved does not restart: {said}")

    def _doubts(self, text: str) -> list[str]:
        """Return what the operator has to know of a file that now names the node."""
        doubts = []
        if writer := writer_of(text):
            doubts.append(
                f'another program writes it ("{writer}"): have that one name the node, '
                "or do this again when it has written it"
            )
        if len(read_resolv_conf(text).servers) == 1:
            doubts.append(
                "it names no other server: name some for other names in the node's "
                "file, dns: {forward: [...]}"
            )
        return doubts

    def _read(self) -> str:
        """Return what the file says; "" if there is none."""
        with self._told(self._file):
            try:
                # As bytes: what ends its lines stays in it too
                return self._file.read_bytes().decode(errors="surrogateescape")
            except FileNotFoundError:
                return ""

    def _write(self, text: str) -> None:
        """Write the file that is meant, behind a symbolic link."""
        file = self._file.resolve()
        if not file.parent.is_dir():
            raise ResolverError(
                f"{self._file} is a link to {file}, whose folder is not there: "
                "start what writes that file, or replace the link by a file"
            )
        with self._told(file):
            mode = file.stat().st_mode & 0o777 if file.exists() else 0o644
            _replace(file, text, mode)

    @contextlib.contextmanager
    def _told(self, path: Path) -> Iterator[None]:
        """Raise our error, in one line, for one of the system's."""
        try:
            yield
        except PermissionError as exc:
            advice = "run it as root" if os.geteuid() else "is it immutable? see lsattr"
            raise ResolverError(f"{path}: {exc.strerror}: {advice}") from exc
        except OSError as exc:
            raise ResolverError(f"{path}: {exc.strerror}") from exc


def _replace(file: Path, text: str, mode: int) -> None:
    """Write a file anew, at once; in place where it is one that is mounted there."""
    data = text.encode(errors="surrogateescape")
    try:
        number, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    except OSError:  # a folder that nobody may write to, around a file one may
        _overwrite(file, data)
        return
    new = Path(name)
    try:
        with os.fdopen(number, "wb") as stream:
            os.fchmod(number, mode)
            stream.write(data)
            stream.flush()
            os.fsync(number)
        new.replace(file)
    except OSError:  # EBUSY: mounted
        new.unlink(missing_ok=True)
        _overwrite(file, data)


def _overwrite(file: Path, data: bytes) -> None:
    """Write over a file by one call, and only then cut it: never is it empty."""
    with file.open("r+b", buffering=0) as stream:
        stream.write(data)
        stream.truncate()
        os.fsync(stream.fileno())

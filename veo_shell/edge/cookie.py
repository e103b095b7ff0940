"""The cluster's cookie: the secret that its nodes share, and the keys made from it."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path

import zmq
from zmq.utils import z85

from veo_shell.errors import StartError

logger = logging.getLogger(__name__)

MAX_COOKIE_BYTES = 4096
GOOD_COOKIE_CHARACTERS = 20


def load_cookie(cookie_file: str | None, env: Mapping[str, str]) -> str:
    """Return the cookie of `cookie_file`, else of `COOKIE`, else of `~/.veo/cookie`.

    The last is made when it is missing, as Erlang does. Raises `StartError`.
    """
    if cookie_file is not None:
        cookie = _read(Path(cookie_file))
    elif "COOKIE" in env:
        cookie = _checked(env["COOKIE"], "COOKIE in the environment")
    else:
        cookie = _from_home(_home(env) / ".veo" / "cookie")
    if len(cookie) < GOOD_COOKIE_CHARACTERS:
        logger.warning(
            "the cookie has only %d characters and can be guessed: use %d or more",
            len(cookie),
            GOOD_COOKIE_CHARACTERS,
        )
    return cookie


def derive_keys(cookie: str, cluster: str) -> tuple[str, str]:
    """Return the CURVE (public, secret) keys that all nodes of a cluster share.

    The cost and the salt can never change: nodes that differ in them cannot talk.
    """
    raw = hashlib.scrypt(
        cookie.encode(),
        salt=b"veo/mesh/" + cluster.encode(),
        n=2**15,
        r=8,
        p=1,
        maxmem=64 * 1024 * 1024,
        dklen=32,
    )
    secret = z85.encode(raw)
    return zmq.curve_public(secret).decode(), secret.decode()


def _home(env: Mapping[str, str]) -> Path:
    if env.get("HOME"):
        return Path(env["HOME"])
    try:
        return Path.home()
    except RuntimeError as exc:
        raise StartError(
            "no home directory to keep the cookie in: give --cookie-file or COOKIE"
        ) from exc


def _from_home(path: Path) -> str:
    try:
        if not path.exists():
            _make(path)
    except OSError as exc:
        raise StartError(
            f"cannot make the cookie file {path}: {exc.strerror}:"
            " give --cookie-file or COOKIE"
        ) from exc
    return _read(path)


def _make(path: Path) -> None:
    """Write a new cookie; of several nodes that do so at once, one wins."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    scratch = path.with_name(f".cookie.{secrets.token_hex(8)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(secrets.token_hex(24) + "\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(scratch, path)  # unlike a rename, never over another's cookie
        logger.info("made a cookie in %s: the other nodes need the same", path)
    except FileExistsError:
        logger.debug("%s: another process made it first", path)
    finally:
        scratch.unlink()


def _read(path: Path) -> str:
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            _check_mode(path, os.fstat(file.fileno()).st_mode)
            content = file.read(MAX_COOKIE_BYTES + 1)
        text = content.decode()
    except OSError as exc:
        raise StartError(f"cannot read the cookie file {path}: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise StartError(f"the cookie file {path} is not text") from exc
    if len(content) > MAX_COOKIE_BYTES:
        raise StartError(
            f"the cookie file {path} has more than {MAX_COOKIE_BYTES} bytes:"
            " this is no cookie"
        )
    return _checked(text, f"the cookie file {path}")


def _open_at_once(path: str, flags: int) -> int:
    """Open without waiting: that of a FIFO waits for a writer otherwise."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_mode(path: Path, mode: int) -> None:
    if not stat.S_ISREG(mode):
        raise StartError(f"the cookie file {path} is not a regular file")
    if mode & 0o077:
        raise StartError(
            f"the cookie file {path} is open to others (mode {stat.S_IMODE(mode):04o}):"
            f" chmod 400 {path}"
        )


def _checked(text: str, where: str) -> str:
    cookie = text.strip()
    if not cookie:
        raise StartError(f"{where} is empty: put the cluster's cookie there")
    if not cookie.isprintable():
        raise StartError(f"{where} holds characters that cannot be printed")
    return cookie

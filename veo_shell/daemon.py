"""`veo start` and `veo stop`: a node as a process of this host."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from veo_shell.errors import NodeUnreachable, StartError, UsageError

if TYPE_CHECKING:
    from veo_shell.node import NodeConfig

logger = logging.getLogger(__name__)

DETACH_S = 60.0
STOP_S = 20.0
POLL_S = 0.05
MESH_PORT = 8087


@attrs.frozen(kw_only=True)
class Options:
    """What the command line says, as text; `resolve` makes a configuration of it."""

    name: str | None
    address: str | None
    config: str | None
    join: Sequence[str]
    cluster: str
    cookie_file: str | None
    dns_port: str
    mesh_port: str
    data_dir: str | None
    run_dir: Path
    docker: str | None
    log_level: str

    def arguments(self) -> list[str]:
        """Return the command line that says the same."""
        given = {
            "--name": self.name,
            "--address": self.address,
            "--config": self.config,
            "--cluster": self.cluster,
            "--cookie-file": self.cookie_file,
            "--dns-port": self.dns_port,
            "--mesh-port": self.mesh_port,
            "--data-dir": self.data_dir,
            "--run-dir": str(self.run_dir),
            "--docker": self.docker,
            "--log-level": self.log_level,
        }
        flags = [part for k, v in given.items() if v is not None for part in (k, v)]
        return flags + [part for address in self.join for part in ("--join", address)]


def run(options: Options) -> int:
    """Run a node until it is told to stop; return the exit status.

    Raises:
        StartError, EngineUnreachable, ConfigError: it cannot start.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
    )
    data_dir = _data_dir(options)
    _make(data_dir)
    _make(options.run_dir)
    with _only_one(data_dir / "lock", f"a node keeps its state in {data_dir} already"):
        taken = f"a node runs already with {options.run_dir} as its run directory"
        with _only_one(options.run_dir / "veo.pid", taken):
            asyncio.run(_serve(options, data_dir))
    return 0


async def _serve(options: Options, data_dir: Path) -> None:
    from veo_shell.edge.clock import SystemClock
    from veo_shell.edge.control import ControlServer
    from veo_shell.edge.cookie import derive_keys, load_cookie
    from veo_shell.edge.dns_server import DnsServer
    from veo_shell.edge.docker_engine import DockerEngine
    from veo_shell.edge.host import LocalHost
    from veo_shell.edge.sqlite_store import SqliteStore
    from veo_shell.edge.zmq_mesh import ZmqMesh
    from veo_shell.node import Node

    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    config = _configure(options)
    cookie = load_cookie(options.cookie_file, os.environ)
    keys = derive_keys(cookie, config.cluster)
    node = Node(
        config,
        engine=DockerEngine(options.docker or "", config.cluster, config.name),
        mesh=ZmqMesh(config.address, config.mesh_port, config.pub_port, *keys),
        store=SqliteStore(data_dir / "veo.db"),
        host=LocalHost(data_dir),
        server=DnsServer(),
        clock=SystemClock(),
    )
    about = {"node": config.name, "cluster": config.cluster}
    control = ControlServer(options.run_dir / "control.sock", node.words, about)
    try:
        await node.start()
        await control.start()
        await _first(stopping, node.failed)
    finally:
        await control.stop()
        await node.stop()


async def _first(stopping: asyncio.Event, failed: asyncio.Future[None]) -> None:
    """Return when the node is told to stop; raise why it cannot go on."""
    loop = asyncio.get_running_loop()
    told = loop.create_task(stopping.wait())
    ends: set[asyncio.Future[Any]] = {told, failed}
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    if failed.done():
        failed.result()


def _configure(options: Options) -> NodeConfig:
    from veo_shell import settings
    from veo_shell.edge.host import primary_address
    from veo_shell.node import NodeConfig

    name = node_name(options.name)
    config_file = _config_file(options.config)
    entries = settings.get_nodes(config_file) if config_file else ()
    mesh_port = _port("--mesh-port", options.mesh_port)
    return NodeConfig(
        name=name,
        address=_address("--address", options.address) if options.address else primary_address(),
        cluster=options.cluster,
        mesh_port=mesh_port,
        pub_port=mesh_port + 1,
        dns_port=_port("--dns-port", options.dns_port),
        role=next((e.role for e in entries if e.node == name), ""),
        config_file=config_file,
        joins=tuple(map(_join, options.join)),
    )


def node_name(given: str | None) -> str:
    """Return `name@host`; the host's name stands for what is not given.

    >>> node_name("uno@uno")
    'uno@uno'
    """
    host = socket.gethostname().partition(".")[0] or "localhost"
    name, _, at = (given or host).partition("@")
    at = at or host
    for part in (name, at):
        allowed = part.replace("-", "").replace("_", "").replace(".", "").isalnum()
        if not (part.isascii() and allowed and len(part) <= 63) or "." in name:
            raise UsageError(
                f"--name {given!r}: a node is called name@host, of letters, digits, "
                "- and _"
            )
    return f"{name}@{at}"


def _config_file(given: str | None) -> Path | None:
    """Return the node's own file: the one named, else a usual one if there is any."""
    from veo_shell import settings

    if given is not None:
        return Path(given).absolute()
    found = [Path(name) for name in settings.DEFAULT_FILES if Path(name).exists()]
    return found[0].absolute() if found else None


def _address(option: str, text: str) -> str:
    try:
        found = socket.getaddrinfo(text, None, type=socket.SOCK_STREAM)
    except OSError as exc:
        raise StartError(f"{option} {text}: {exc.strerror or exc}") from exc
    return str(found[0][4][0])


def _join(text: str) -> tuple[str, int]:
    host, _, port = text.partition(":")
    return _address("--join", host), _port("--join", port) if port else MESH_PORT


def _port(option: str, text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise UsageError(f"{option} {text!r}: a port is a number from 1 to 65535")
    return int(text)


def detach(options: Options) -> int:
    """Start a node in the background; return when it answers, or say why it ended."""
    log_path = _data_dir(options) / "veo.log"
    _make(log_path.parent)
    with log_path.open("ab") as log:
        begin = log.tell()
        child = subprocess.Popen(
            [sys.executable, "-m", "veo_shell", "start", *options.arguments()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={k: v for k, v in os.environ.items() if k != "VEO_DETACH"},
        )
    ready = options.run_dir / "control.sock"
    deadline = time.monotonic() + DETACH_S
    while child.poll() is None:
        if _holder(options.run_dir) == child.pid and ready.exists():
            name = node_name(options.name)
            sys.stdout.write(f"{name} is up (pid {child.pid}, log {log_path})\n")
            return 0
        if time.monotonic() > deadline:
            child.terminate()
            raise StartError(f"the node did not come up in {DETACH_S:g} s: {log_path}")
        time.sleep(POLL_S)
    with log_path.open("rb") as log:
        log.seek(begin)
        lines = log.read().decode(errors="replace").splitlines()
    said = [line for line in lines if line.startswith("veo: ")] or lines[-1:]
    sys.stderr.write("".join(f"{line}\n" for line in said))
    return child.returncode or 1


def stop(run_dir: Path) -> int:
    """Tell this host's node to pause and end; return when it has ended."""
    pid = _holder(run_dir)
    if pid is None:
        raise NodeUnreachable(f"no node runs with {run_dir} as its run directory")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while _holder(run_dir) == pid:
        if time.monotonic() > deadline:
            raise StartError(f"the node (pid {pid}) does not end; see its log")
        time.sleep(POLL_S)
    return 0


def _data_dir(options: Options) -> Path:
    if options.data_dir:
        return Path(options.data_dir).absolute()
    return Path("/var/lib/veo") if os.geteuid() == 0 else Path.home() / ".veo" / "data"


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise StartError(f"{directory}: {exc.strerror}; name another one") from exc


@contextmanager
def _only_one(path: Path, taken: str) -> Iterator[None]:
    """Hold a file's lock, our pid in it, for as long as this node runs."""
    try:
        handle = path.open("a+")
    except OSError as exc:
        raise StartError(f"{path}: {exc.strerror}") from exc
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(taken) from None
        handle.truncate(0)
        handle.write(f"{os.getpid()}\n")
        handle.flush()
        yield


def _holder(run_dir: Path) -> int | None:
    """Return the pid of the node that holds a run directory, None if none does."""
    try:
        handle = (run_dir / "veo.pid").open("r")
    except FileNotFoundError:
        return None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            text = handle.read().strip()
            return int(text) if text.isdecimal() else None
    return None

"""`veo start` and `veo stop`: a node as a process of this host."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import resource
import signal
import struct
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import attrs

from veo_shell.errors import (
    NodeUnreachable,
    Removed,
    StartError,
    VeoError,
    by_name,
)
from veo_shell.options import Options, configure, data_dir_of

if TYPE_CHECKING:
    from veo_shell.edge.control import ControlServer
    from veo_shell.edge.zmq_guard import Keys
    from veo_shell.node import Node, NodeConfig

logger = logging.getLogger(__name__)

DETACH_S = 60.0
STOP_S = 20.0
LEAVE_S = 60.0
"""Longer than to stop: the containers end first."""
NICE = -10
AUTOGROUP = Path("/proc/self/autogroup")
"""By this Linux weighs sessions, before the processes within one (sched(7))."""
POLL_S = 0.05
REASON = 3
"""The file by which a node in the background tells why it ended."""
MOST_REASON_BYTES = 4096  # a pipe takes as much at once, whoever reads (POSIX)
FLOCK = "hhqqi"
"""Linux's `struct flock`: type, whence, start, length, pid."""


def _raise_limits() -> None:
    """Have as many open files as this user may: a peer takes about ten."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _go_first() -> None:
    """Have what else this host does wait for the node: who is busy is not dead.

    Where this user may. Threads begin with it, so it is before there are any.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        if os.getsid(0) == os.getpid() and AUTOGROUP.exists():
            AUTOGROUP.write_text(str(NICE))
    except OSError as exc:
        logger.debug("the node does not go before other processes: %s", exc)


def run(options: Options) -> int:
    """Run a node until it is told to stop; return the exit status.

    Raises:
        StartError, EngineUnreachable, ConfigError: it cannot start.
    """
    return _run(options, configure(options))


def _run(options: Options, config: NodeConfig) -> int:
    # What a service's environment says is in our files, and no one else's to read.
    os.umask(0o077)
    _raise_limits()
    logging.basicConfig(
        stream=sys.stderr,
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
    )
    _go_first()
    data_dir = data_dir_of(options)
    _make("--data-dir", data_dir)
    _make("--run-dir", options.run_dir)
    with (
        _only_one(
            "--data-dir",
            data_dir / "lock",
            f"a node keeps its state in {data_dir} already",
        ),
        _only_one(
            "--run-dir",
            options.run_dir / "veo.pid",
            f"a node runs already with {options.run_dir} as its run directory",
        ),
    ):
        _run_on(data_dir / "veo.db", options, config)
    return 0


def _run_on(state: Path, options: Options, config: NodeConfig) -> None:
    """Run the node on its state file, or on a new one where that must not be."""
    from veo_shell.edge import sqlite_file, sqlite_store

    if options.recover:
        logger.warning("%s", sqlite_store.recover(state, config.cluster, config.name))
    try:
        _run_loop(_serve(options, config, state))
    except Removed as exc:
        again = attrs.evolve(_joining_again(config, state), removed=exc.disk_id)
        aside = sqlite_file.set_aside(state)
        logger.warning("%s: %s is set aside as %s", exc, state.name, aside.name)
        _run_loop(_serve(options, again, state))


def _joining_again(config: NodeConfig, state: Path) -> NodeConfig:
    """Have a node that left ask those it knew, unless it is told whom to join.

    The one that was first has nobody to join, and would be a cluster of its own.
    """
    from veo_shell.edge.sqlite_store import others_in

    known = others_in(state, config.cluster, config.name)
    if config.joins or not known:
        return config
    where = ", ".join(f"{host}:{port}" for host, port in known)
    logger.warning("%s: joins those that it knew: %s", config.name, where)
    return attrs.evolve(config, listed=tuple(dict.fromkeys((*config.listed, *known))))


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run on a loop that costs a fifth less for what a mesh is: lone messages."""
    import uvloop

    from veo_shell.edge.collector import Collector

    with Collector(), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def _serve(options: Options, config: NodeConfig, state: Path) -> None:
    """Run the node; end it in order when it is told to, also while it starts."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in _endings():
        loop.add_signal_handler(number, stopping.set)
    node, control = _assemble(options, config, state)
    life = loop.create_task(_live(node, control))
    told = loop.create_task(stopping.wait())
    try:
        await asyncio.wait({life, told}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        told.cancel()
        life.cancel()
        await asyncio.wait({life})
        await control.stop()
        await node.stop()
    if not life.cancelled():
        life.result()


def _endings() -> list[signal.Signals]:
    """Return the signals that end a node; `nohup` leaves SIGHUP out."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [signal.SIGTERM, signal.SIGINT, *([] if ignored else [signal.SIGHUP])]


async def _live(node: Node, control: ControlServer) -> None:
    """Start the node, then its console; return never, raise why it cannot go on."""
    control.check()  # first: who cannot have a console joins nobody
    await node.start()
    await control.start()
    await node.failed


def _assemble(
    options: Options, config: NodeConfig, state: Path
) -> tuple[Node, ControlServer]:
    from veo_shell.edge.clock import SystemClock
    from veo_shell.edge.control import ControlServer
    from veo_shell.edge.dns_forwarder import Forwarder
    from veo_shell.edge.dns_server import DnsServer
    from veo_shell.edge.dns_upstreams import RESOLVED_FILE, Upstreams
    from veo_shell.edge.docker_engine import DockerEngine
    from veo_shell.edge.host import LocalHost
    from veo_shell.edge.sqlite_store import SqliteStore
    from veo_shell.edge.zmq_mesh import ZmqMesh
    from veo_shell.node import Node

    keys, *also = _keys(options, config.cluster)
    host = LocalHost(state.parent)
    if config.address6 and not host.has_address(config.address6):
        raise StartError(f"--address6 {config.address6}: not an address of this host")
    upstreams = Upstreams(
        (config.dns.addresses(*config.addresses), config.dns_port),
        config.dns.forward,
        (Path(options.resolv_conf), RESOLVED_FILE),
        host.has_address,
    )
    engine = DockerEngine(options.docker or "", config.cluster, config.name)
    node = Node(
        config,
        engine=engine,
        streams=engine.streams,
        stock=engine,
        mesh=ZmqMesh(config.address, config.mesh_port, config.pub_port, keys, also),
        store=SqliteStore(state, config.cluster, config.name),
        host=host,
        server=DnsServer(forwarder=Forwarder(upstreams)),
        clock=SystemClock(),
    )
    about = {"node": config.name, "cluster": config.cluster}
    return node, ControlServer(
        options.run_dir / "control.sock",
        node.words,
        about,
        node.abandon,
        node.sessions.attendance,
        node.sessions.begin,
    )


def _keys(options: Options, cluster: str) -> list[Keys]:
    """Return the keys of the cluster's cookie, and of a second one if it is given."""
    from veo_shell.edge.cookie import derive_keys, load_cookie
    from veo_shell.edge.zmq_guard import Keys

    cookies = [load_cookie(options.cookie_file, os.environ)]
    if options.accept_cookie_file is not None:
        cookies.append(load_cookie(options.accept_cookie_file, os.environ))
        logger.info("the cookie in %s is accepted too", options.accept_cookie_file)
    return [Keys(*derive_keys(cookie, cluster)) for cookie in cookies]


def detach(options: Options, answers: Callable[[Path], bool]) -> int:
    """Start a node in the background; return when its console answers.

    `answers` tells whether the console of a run directory does. In the node's own
    process, return what `run` returns.

    Raises:
        VeoError: for the reason why the node ended; it is not left running.
    """
    config = configure(options)
    os.umask(0o077)
    log_path = data_dir_of(options) / "veo.log"
    _make("--data-dir", log_path.parent)
    try:
        log = log_path.open("ab")
    except OSError as exc:
        raise _unwritable("--data-dir", log_path, exc) from exc
    reason, told = os.pipe()
    with log:
        begin = log.tell()
        pid = os.fork()
        if pid == 0:
            _leave_terminal(log, told)
            return _run_told(options, config)
    os.close(told)
    try:
        _wait_until_up(pid, reason, options.run_dir, answers, log_path)
    except BaseException:  # Ctrl-C as well: nobody waits for the node any more
        _end(pid)
        raise
    finally:
        os.close(reason)
    for line in _logged(log_path, begin):
        _, is_warning, said = line.partition(" WARNING ")
        if is_warning:
            sys.stderr.write(f"veo: warning: {said}\n")
    sys.stdout.write(f"{config.name} is up (pid {pid}, log {log_path})\n")
    return 0


def _leave_terminal(log: IO[bytes], told: int) -> None:
    """Let go of all that this process shares with the one that started it.

    But for the pipe to tell it of an end by, which is `REASON` from now on.
    """
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for stream in (1, 2):
        os.dup2(log.fileno(), stream)
    log.close()
    os.dup2(told, REASON, inheritable=False)
    os.closerange(REASON + 1, os.sysconf("SC_OPEN_MAX"))


def _run_told(options: Options, config: NodeConfig) -> int:
    """Run the node; tell the process that waits for it why it ended, if it is there.

    By a pipe: the log may be on the disk that is full.
    """
    try:
        return _run(options, config)
    except VeoError as exc:
        with contextlib.suppress(BrokenPipeError):  # it was up, and nobody waits
            said = f"{type(exc).__name__}\n{exc}".encode()
            os.write(REASON, said[:MOST_REASON_BYTES])
        raise


def _wait_until_up(
    pid: int,
    reason: int,
    run_dir: Path,
    answers: Callable[[Path], bool],
    log_path: Path,
) -> None:
    """Return when the node answers; raise for the reason when it ended."""
    deadline = time.monotonic() + DETACH_S
    while (ended := os.waitpid(pid, os.WNOHANG)) == (0, 0):
        with contextlib.suppress(NodeUnreachable):  # not ours; the node says so
            if _holder(run_dir) == pid and answers(run_dir):
                return
        if time.monotonic() > deadline:
            raise StartError(f"the node did not come up in {DETACH_S:g} s: {log_path}")
        time.sleep(POLL_S)
    said = os.read(reason, MOST_REASON_BYTES).decode(errors="replace")
    if said:
        name, _, message = said.partition("\n")
        raise by_name(name)(message)
    status = os.waitstatus_to_exitcode(ended[1])
    raise StartError(
        f"the node ended (status {status}) before it was up: see {log_path}"
    )


def _logged(log_path: Path, begin: int) -> list[str]:
    with log_path.open("rb") as log:
        log.seek(begin)
        return log.read().decode(errors="replace").splitlines()


def _end(pid: int) -> None:
    """End our child, in order or else by force; one that was waited for is gone."""
    with contextlib.suppress(ChildProcessError):
        for number in (signal.SIGTERM, signal.SIGKILL):
            deadline = time.monotonic() + STOP_S
            if os.waitpid(pid, os.WNOHANG) == (0, 0):
                os.kill(pid, number)
            while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
                time.sleep(POLL_S)


def stop(run_dir: Path) -> int:
    """Tell this host's node to pause and end; return when it has ended.

    Raises:
        NodeUnreachable: there is none.
    """
    pid = _running(run_dir)
    if pid == 0:  # the kernel's word for a process that we do not see
        raise VeoError(f"the node of {run_dir} runs in a container: stop it there")
    try:
        os.kill(pid, signal.SIGTERM)
    except PermissionError:
        raise VeoError(
            f"the node (pid {pid}) belongs to another user: stop it as that user"
        ) from None
    except ProcessLookupError:
        return 0  # it ended just now
    _wait_until_ended(run_dir, pid, STOP_S)
    return 0


def leave(run_dir: Path, ask: Callable[[Path], None]) -> int:
    """Have this host's node leave its cluster; return when it has ended.

    `ask` asks the node of a run directory to, and returns when it begins.

    Raises:
        NodeUnreachable: there is none, or it cannot be asked.
    """
    pid = _running(run_dir)
    ask(run_dir)
    _wait_until_ended(run_dir, pid, LEAVE_S)
    return 0


def _running(run_dir: Path) -> int:
    """Return the pid of the node of a run directory, 0 if we do not see it."""
    pid = _holder(run_dir)
    if pid is None:
        raise NodeUnreachable(
            f"no node runs with {run_dir} as its run directory: name another --run-dir"
        )
    return pid


def _wait_until_ended(run_dir: Path, pid: int, limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    while _holder(run_dir) == pid:
        if time.monotonic() > deadline:
            raise VeoError(f"the node (pid {pid}) does not end; see its log")
        time.sleep(POLL_S)


def _make(option: str, directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    except FileExistsError:
        what = (
            "a link to what is not there"
            if not directory.exists()
            else "not a directory"
        )
        raise StartError(f"{option} {directory}: {what}: name another") from None
    except OSError as exc:
        raise StartError(
            f"{option} {directory}: cannot make it ({exc.strerror}): name another"
        ) from exc


def _unwritable(option: str, path: Path, exc: OSError) -> StartError:
    return StartError(
        f"{option} {path.parent}: cannot write {path.name} there ({exc.strerror}): "
        "name another"
    )


@contextlib.contextmanager
def _only_one(option: str, path: Path, taken: str) -> Iterator[None]:
    """Hold a file's lock, our pid in it, for as long as this node runs.

    A record lock, as the kernel tells who has it (`_holder`). It is lost when this
    process closes the file, whoever opened it: nothing else here may.
    """
    try:
        handle = path.open("ab+", buffering=0)
    except OSError as exc:
        raise _unwritable(option, path, exc) from exc
    with handle:
        try:
            fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(f"{taken}: stop it or name another {option}") from None
        handle.truncate(0)
        with contextlib.suppress(OSError):  # for people to read; the disk may be full
            handle.write(f"{os.getpid()}\n".encode())
        yield
        handle.truncate(0)


def _holder(run_dir: Path) -> int | None:
    """Return the pid of the node that holds a run directory, None if none does.

    Asks the kernel and takes no lock itself: a node that starts just now would find
    it taken. What is written in the file may be the pid of somebody else by now.
    """
    path = run_dir / "veo.pid"
    try:
        handle = path.open("rb")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as exc:
        raise NodeUnreachable(
            f"{path}: {exc.strerror}: name the --run-dir of a node of your own"
        ) from exc
    with handle:
        wanted = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
        found = fcntl.fcntl(handle, fcntl.F_GETLK, wanted)
    kind, _, _, _, pid = struct.unpack(FLOCK, found)
    return None if kind == fcntl.F_UNLCK else int(pid)

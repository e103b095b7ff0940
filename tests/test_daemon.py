"""`veo start` and `veo stop`, with real processes and a real engine."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dns.message
import dns.query
import pytest

from tests.engines import BUSYBOX
from tests.local_node import (
    COOKIE,
    DNS_PORT,
    ROOT,
    LocalNode,
    Nodes,
    environment,
    eventually,
    nodes_in,
    other_user,
    runs,
    unmeasured_environment,
)
from veo_shell import cli, daemon, options
from veo_shell.core.dns_config import DnsConfig
from veo_shell.errors import UsageError, VeoError
from veo_shell.node import NodeConfig

QUICK_S = 9.0  # `docker stop` waits for 10 s before it kills


@pytest.fixture
def nodes(docker_url: str, tmp_path: Path) -> Iterator[Nodes]:
    """Make nodes on a real engine."""
    with nodes_in(tmp_path, docker_url) as make:
        yield make


@pytest.fixture
def uno(nodes: Nodes) -> LocalNode:
    """Have a node that is not started."""
    return nodes("uno")


@pytest.fixture
def place(tmp_path: Path) -> LocalNode:
    """Have a node that has no engine: it gets no further than that."""
    return LocalNode(tmp_path)


@pytest.fixture
def deaf_engine() -> Iterator[socket.socket]:
    """Have a listener that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """Have a file system that takes nothing more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root, and to be allowed to mount")
    with contextlib.suppress(OSError), (folder / "filler").open("ab", 0) as filler:
        while True:
            filler.write(bytes(4096))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def url_of(listener: socket.socket) -> str:
    return f"tcp://127.0.0.1:{listener.getsockname()[1]}"


# In the background


def test_detach_returns_when_the_console_answers(uno: LocalNode) -> None:
    said = uno.start()
    assert (said.status, said.err) == (0, "")
    log = uno.data_dir / "veo.log"
    assert said.out == f"uno@uno is up (pid {uno.pid()}, log {log})\n"
    (node,) = uno.status()["nodes"]
    assert (node["node"], node["status"]) == ("uno@uno", "alive")
    assert node["address"] == uno.address
    assert "uno@uno: up at" in log.read_text()

    stopped = uno.stop()
    assert (stopped.status, stopped.out, stopped.err) == (0, "", "")
    assert not uno.answers()
    assert uno.stop().status == 3


def test_a_detached_node_shares_nothing_with_its_starter(uno: LocalNode) -> None:
    ours, theirs = os.pipe()
    os.set_inheritable(theirs, True)
    command = [sys.executable, "-m", "veo_shell", *uno.start_options(), "--detach"]
    env = environment(uno.folder)
    subprocess.run(command, env=env, check=True, close_fds=False, stdout=theirs)
    os.close(theirs)
    with os.fdopen(ours) as pipe:
        # Ends here only if the node holds neither its stdout nor what else it got.
        assert pipe.read().startswith("uno@uno is up")
    assert os.getsid(uno.pid()) == uno.pid()
    assert Path(f"/proc/{uno.pid()}/fd/0").readlink() == Path("/dev/null")


def test_what_a_node_keeps_is_its_users_alone(uno: LocalNode) -> None:
    uno.data_dir.mkdir(mode=0o755)
    uno.up()
    for file in (*uno.data_dir.iterdir(), *uno.run_dir.iterdir()):
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file


def test_a_node_goes_before_what_else_its_host_does(uno: LocalNode) -> None:
    """Where its user may have it so."""
    uno.up()
    expected = -10 if os.geteuid() == 0 else os.getpriority(os.PRIO_PROCESS, 0)
    for thread in Path(f"/proc/{uno.pid()}/task").iterdir():
        assert os.getpriority(os.PRIO_PROCESS, int(thread.name)) == expected


def test_everything_by_the_environment(nodes: Nodes) -> None:
    uno, dos = nodes("uno"), nodes("dos")
    uno.up("--cluster", "shop", "--mesh-port", "9087")
    (dos.folder / "cookie").write_text(COOKIE)
    (dos.folder / "cookie").chmod(0o400)
    (dos.folder / "some.yml").write_text(
        "nodes: [{node: dos@dos, role: edge}]\nservices: {}\n"
    )
    said = dos.veo(
        "start",
        VEO_NAME="dos@dos",
        VEO_ADDRESS=dos.address,
        VEO_CONFIG="some.yml",
        VEO_JOIN=f"{uno.address}:9087",
        VEO_CLUSTER="shop",
        VEO_COOKIE_FILE="cookie",
        VEO_DNS_PORT=str(DNS_PORT),
        VEO_MESH_PORT="9087",
        VEO_DATA_DIR="data",
        VEO_RUN_DIR="run",
        VEO_DOCKER=dos.engine_url,
        VEO_LOG_LEVEL="warning",
        VEO_DETACH="yes",
        COOKIE="",
    )
    assert (said.status, said.err) == (0, "")
    eventually(lambda: len(uno.status()["nodes"]) == 2)
    told = {node["node"]: node for node in uno.status()["nodes"]}
    assert told["dos@dos"]["role"] == "edge"
    assert told["dos@dos"]["address"] == dos.address
    assert "INFO" not in (dos.data_dir / "veo.log").read_text()


def test_the_plain_variables(nodes: Nodes) -> None:
    uno, dos = nodes("uno"), nodes("dos")
    uno.up()
    options = dict(zip(*[iter(dos.start_options()[1:])] * 2, strict=True))
    for option in ("--name", "--docker"):
        options.pop(option)
    rest = [word for pair in options.items() for word in pair]
    said = dos.veo(
        "start",
        *rest,
        "--detach",
        NAME="dos@dos",
        JOIN=uno.address,
        COOKIE=COOKIE,
        DOCKER_HOST=dos.engine_url,
    )
    assert (said.status, said.err) == (0, "")
    eventually(lambda: len(uno.status()["nodes"]) == 2)


def test_one_list_of_nodes_serves_for_all(nodes: Nodes) -> None:
    uno, dos = nodes("uno"), nodes("dos")
    joins = ("--join", uno.address, "--join", f"{dos.address}:8087")
    for node in (uno, dos):
        node.up(*joins)
    eventually(lambda: len(uno.status()["nodes"]) == len(dos.status()["nodes"]) == 2)


def test_a_detached_start_that_joins_nobody_says_so(nodes: Nodes) -> None:
    uno = nodes("uno")
    said = uno.start("--join", "127.0.5.250")
    assert (said.status, len(said.err.splitlines())) == (0, 1)
    assert said.err.startswith("veo: warning: 127.0.5.250:8087 could not be reached")


def test_a_node_to_join_whose_name_is_not_known_yet(nodes: Nodes) -> None:
    """As where DNS is not up when the host boots."""
    uno, dos = nodes("uno"), nodes("dos")
    uno.up()
    said = dos.start("--join", "no.such.invalid", "--join", uno.address)
    assert (said.status, len(said.err.splitlines())) == (0, 1)
    assert said.err.startswith("veo: warning: no address of no.such.invalid: ")
    assert said.err.endswith(": asked again every 2 s\n")
    eventually(lambda: len(uno.status()["nodes"]) == 2)


def test_what_its_file_lists_a_node_joins(nodes: Nodes) -> None:
    """One file for all; it says nothing of those that are not there."""
    uno, dos = nodes("uno"), nodes("dos")
    listed = "".join(
        f"  - {{node: {name}@{name}, address: {address}}}\n"
        for name, address in (
            ("uno", uno.address),
            ("dos", dos.address),
            ("tres", "127.0.5.250"),
            ("quattro", "no.such.invalid"),
        )
    )
    for node in (uno, dos):
        (node.folder / "cluster.yml").write_text(f"nodes:\n{listed}services: {{}}\n")
        said = node.start()
        assert (said.status, said.err) == (0, "")
    eventually(lambda: len(uno.status()["nodes"]) == len(dos.status()["nodes"]) == 2)


def test_a_detached_start_that_fails_tells_why(uno: LocalNode) -> None:
    with socket.create_server((uno.address, 8087)):
        said = uno.start()
    assert (said.status, said.out) == (1, "")
    assert len(said.err.splitlines()) == 1
    assert said.complaint.startswith(f"cannot listen on {uno.address}:8087: already in")


def test_a_detached_start_that_fails_early_tells_why(place: LocalNode) -> None:
    said = place.start()
    assert (said.status, len(said.err.splitlines())) == (1, 1)
    assert "no Docker Engine answers at unix:///nowhere" in said.complaint
    said = place.start("--docker", "bogus://x")
    assert (said.status, len(said.err.splitlines())) == (2, 1)


def test_a_detached_start_on_a_full_disk_tells_why(
    place: LocalNode, full_disk: Path
) -> None:
    """The log cannot tell."""
    said = place.start("--data-dir", str(full_disk))
    assert (said.status, len(said.err.splitlines())) == (1, 1)
    assert said.complaint == f"{full_disk}/veo.db: database or disk is full"
    assert (full_disk / "veo.log").read_text() == ""


def test_ctrl_c_while_a_node_is_starting_in_the_background(
    place: LocalNode, deaf_engine: socket.socket
) -> None:
    options = ("--detach", "--docker", url_of(deaf_engine))
    with place.launch(*options) as starter:
        connection, _ = deaf_engine.accept()
        pid = place.pid()
        assert pid != starter.pid
        starter.send_signal(signal.SIGINT)
        assert starter.wait(QUICK_S) == 130
        assert starter.stderr is not None
        assert starter.stderr.read() == ""
        connection.close()
    assert not runs(pid)


# In the foreground


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_stop_a_node(uno: LocalNode, number: signal.Signals) -> None:
    with uno.launch() as process:
        eventually(uno.answers)
        process.send_signal(number)
        assert process.wait(QUICK_S) == 0
        assert process.stderr is not None
        log = process.stderr.read()
    assert "Traceback" not in log
    assert log.endswith("INFO uno@uno: stopped\n")


def test_nohup(uno: LocalNode) -> None:
    with uno.launch(prefix=("nohup",)) as process:
        eventually(uno.answers)
        process.send_signal(signal.SIGHUP)
        assert uno.answers()
        assert uno.stop().status == 0
        assert process.wait(QUICK_S) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_while_starting(
    place: LocalNode, deaf_engine: socket.socket, number: signal.Signals
) -> None:
    with place.launch("--docker", url_of(deaf_engine)) as process:
        connection, _ = deaf_engine.accept()
        process.send_signal(number)
        assert process.wait(QUICK_S) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
        connection.close()


# What cannot start


@pytest.mark.parametrize("offset", [0, 1], ids=["mesh", "pub"])
def test_a_port_of_the_mesh_in_use(uno: LocalNode, offset: int) -> None:
    with socket.create_server((uno.address, 8087 + offset)):
        why = uno.refusal()
    assert why.startswith(f"cannot listen on {uno.address}:{8087 + offset}: already in")


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_a_dns_port_in_use(uno: LocalNode, kind: socket.SocketKind) -> None:
    with socket.socket(type=kind) as holder:
        holder.bind((uno.address, DNS_PORT))
        if kind is socket.SOCK_STREAM:
            holder.listen()
        why = uno.refusal()
    transport = "TCP" if kind is socket.SOCK_STREAM else "UDP"
    assert f"{uno.address} port {DNS_PORT} ({transport})" in why
    assert "--dns-port" in why


@pytest.mark.parametrize(
    "options", [["--dns-optional"], []], ids=["option", "variable"]
)
def test_a_dns_port_in_use_may_be_done_without(
    uno: LocalNode, options: list[str]
) -> None:
    log = uno.data_dir / "veo.log"
    variables = {} if options else {"VEO_DNS_OPTIONAL": "1"}
    with socket.create_server((uno.address, DNS_PORT)):
        said = uno.start(*options, **variables)
        assert said.status == 0, said
        told = log.read_text()
        assert f"(pid {os.getpid()}) on {uno.address} has this port" in told
        assert "goes on without DNS" in told
    eventually(lambda: f"answers on port {DNS_PORT} now" in log.read_text())


def test_an_address_of_another_host(uno: LocalNode) -> None:
    why = uno.refusal("--address", "203.0.113.7")
    assert "203.0.113.7:8087: not an address of this host" in why
    assert "--address" in why


def test_a_port_that_needs_root(uno: LocalNode) -> None:
    bound = ("--bounding-set", "-net_bind_service")
    if not shutil.which("setpriv") or os.geteuid() != 0:
        pytest.skip("needs root and setpriv")
    with uno.launch("--dns-port", "53", prefix=("setpriv", *bound)) as process:
        assert process.wait(QUICK_S) == 1
        assert process.stderr is not None
        last = process.stderr.read().splitlines()[-1]
    assert last.startswith(f"veo: cannot answer DNS on {uno.address} port 53")
    assert "needs root" in last


def test_a_name_that_is_taken(nodes: Nodes) -> None:
    uno, dos = nodes("uno"), nodes("dos")
    uno.up()
    why = dos.refusal("--name", uno.name, "--join", uno.address)
    assert "a node named uno@uno lives already" in why


def test_directories_of_a_node_that_runs(nodes: Nodes) -> None:
    uno, dos = nodes("uno"), nodes("dos")
    uno.up()
    why = dos.refusal("--data-dir", str(uno.data_dir))
    assert why.startswith(f"a node keeps its state in {uno.data_dir} already")
    assert "--data-dir" in why
    why = dos.refusal("--run-dir", str(uno.run_dir))
    assert why.startswith(f"a node runs already with {uno.run_dir}")
    assert "--run-dir" in why
    assert uno.answers()


def test_a_run_dir_that_cannot_be(uno: LocalNode) -> None:
    long = str(uno.folder / ("x" * 120))
    assert "choose a shorter --run-dir" in uno.refusal("--run-dir", long)
    open_to_all = uno.folder / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    why = uno.refusal("--run-dir", str(open_to_all))
    assert "other users can write to it" in why


def test_a_database_that_is_not_veos(uno: LocalNode) -> None:
    uno.data_dir.mkdir()
    with sqlite3.connect(uno.data_dir / "veo.db") as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    assert "another program's database" in uno.refusal()
    (uno.data_dir / "veo.db").write_bytes(b"not a database, whatever else" * 99)
    why = f"{uno.data_dir}/veo.db: file is not a database; veo start --recover sets"
    assert why in uno.refusal()


def test_the_state_of_another_node_or_cluster(place: LocalNode) -> None:
    assert place.refusal().startswith("no Docker Engine answers")  # it got so far
    why = place.refusal("--name", "dos@dos")
    assert why.startswith(f"{place.data_dir}/veo.db: the state of {place.name} in the")
    assert f"start it with --name {place.name}, or name another --data-dir" in why
    assert "start it with --cluster veo" in place.refusal("--cluster", "shop")
    assert "no Docker" in place.refusal("--cluster", "shop", "--recover")
    assert "start it with --cluster shop" in place.refusal()


def test_a_state_file_on_a_disk_that_is_not_mounted(place: LocalNode) -> None:
    place.data_dir.mkdir()
    (place.data_dir / "veo.db").symlink_to("/nowhere/veo.db")
    for how in ([], ["--recover"]):
        why = place.refusal(*how)
        assert f"{place.data_dir}/veo.db: a link to /nowhere/veo.db, which is" in why


@pytest.mark.parametrize("how", [["--recover"], []], ids=["option", "variable"])
def test_recovery_sets_a_bad_file_aside(place: LocalNode, how: list[str]) -> None:
    bad = b"not a database, whatever else" * 99
    place.data_dir.mkdir()
    (place.data_dir / "veo.db").write_bytes(bad)
    variables = {} if how else {"VEO_RECOVER": "yes"}
    said = place.veo(*place.start_options(), *how, **variables)
    assert said.complaint.startswith("no Docker Engine answers")  # it got so far
    [line] = [x for x in said.err.splitlines() if " WARNING " in x]
    file = f"{place.data_dir}/veo.db"
    assert f"{file}: file is not a database: set aside as veo.db.set-aside-2" in line
    [aside] = place.data_dir.glob("veo.db.set-aside-*")
    assert aside.read_bytes() == bad

    again = place.veo(*place.start_options(), "--recover")
    assert f" WARNING {file}: in order, so it is not set aside\n" in again.err
    assert len(list(place.data_dir.glob("veo.db.set-aside-*"))) == 1
    (place.data_dir / "veo.db").unlink()
    again = place.veo(*place.start_options(), "--recover")
    assert f" WARNING {file}: not there, so nothing is set aside\n" in again.err


UNPRIVILEGED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")


@pytest.fixture
def unprivileged(place: LocalNode) -> Callable[..., str]:
    """Have why `veo start` fails where root may not do what its files do not say."""
    if not shutil.which("setpriv") or os.geteuid() != 0:
        pytest.skip("needs root and setpriv")

    def refusal(*options: str) -> str:
        with place.launch(*options, prefix=UNPRIVILEGED) as process:
            status = process.wait(QUICK_S)
            assert process.stderr is not None
            last = process.stderr.read().splitlines()[-1]
        assert status == 1, last
        return last.removeprefix("veo: ")

    return refusal


@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_state_file_that_may_not_be_written(
    place: LocalNode, unprivileged: Callable[..., str], mode: int
) -> None:
    """SQLite would read it, and fail at the first write."""
    place.refusal()
    (place.data_dir / "veo.db").chmod(mode)
    for how in ([], ["--recover"]):
        assert unprivileged(*how) == (
            f"{place.data_dir}/veo.db: this user may not read and write veo.db "
            "(or it is read-only): start VEO as its owner"
        )


def test_a_data_dir_that_may_not_be_written(
    place: LocalNode, unprivileged: Callable[..., str]
) -> None:
    place.refusal()
    place.data_dir.chmod(0o500)
    assert "this user may not read and write data (or" in unprivileged()
    place.data_dir.chmod(0o700)


def test_a_run_dir_of_others_for_a_detached_start(
    place: LocalNode, unprivileged: Callable[..., str]
) -> None:
    """It is the node that cannot start: that no node answers there is no news."""
    place.refusal()
    (place.run_dir / "veo.pid").chmod(0)
    assert f"{place.run_dir}: cannot write veo.pid there" in unprivileged("--detach")


def test_recovery_keeps_its_hands_off_the_file_of_a_node_that_runs(
    place: LocalNode,
) -> None:
    place.data_dir.mkdir()
    (place.data_dir / "veo.db").write_bytes(b"in the middle of something" * 99)
    with daemon._only_one("--data-dir", place.data_dir / "lock", "taken"):
        assert "keeps its state" in place.refusal("--recover")
    assert {file.name for file in place.data_dir.iterdir()} == {"lock", "veo.db"}


@pytest.mark.parametrize(
    ("option", "value", "why"),
    [
        ("--config", "/nope.yml", "/nope.yml: cannot be read: No such file"),
        ("--config", "/tmp", "/tmp: cannot be read: Is a directory"),
        ("--cookie-file", "/nope", "cannot read the cookie file /nope: No such file"),
        ("--cookie-file", "/tmp", "cannot read the cookie file /tmp: Is a directory"),
        ("--cookie-file", "/dev/null", "the cookie file /dev/null is not a regular"),
        ("--accept-cookie-file", "/nope", "cannot read the cookie file /nope: No such"),
        ("--data-dir", "/dev/null", "--data-dir /dev/null: not a directory"),
        ("--data-dir", "/dev/null/x", "--data-dir /dev/null/x: cannot make it (Not a"),
        ("--data-dir", "/proc/self", "--data-dir /proc/self: cannot write"),
        ("--run-dir", "/dev/null", "--run-dir /dev/null: not a directory"),
        ("--run-dir", "/proc/self", "--run-dir /proc/self: cannot write veo.pid"),
        ("--address", "no.such.invalid", "--address no.such.invalid: no address of"),
        ("--address6", "no.such.invalid", "--address6 no.such.invalid: no address of"),
        ("--address6", "2001:db8::1", "--address6 2001:db8::1: not an address of this"),
        ("--docker", "tcp://127.0.0.1:1", "at tcp://127.0.0.1:1 (Connection refused)"),
    ],
)
def test_an_option_that_cannot_be(
    place: LocalNode, option: str, value: str, why: str
) -> None:
    assert why in place.refusal(option, value)
    said = place.start(option, value)
    assert (said.status, said.out) == (1, "")
    assert why in said.complaint


def test_a_data_dir_on_a_disk_that_is_not_mounted(place: LocalNode) -> None:
    place.data_dir.symlink_to("/nowhere/data")
    why = f"--data-dir {place.data_dir}: a link to what is not there: name another"
    assert place.refusal() == why


def test_cookie_files(place: LocalNode) -> None:
    cookie = place.folder / "cookie"
    cookie.touch(mode=0o400)
    assert "is empty" in place.refusal("--cookie-file", str(cookie))
    cookie.chmod(0o644)
    assert "open to others (mode 0644): chmod 400" in place.refusal(
        "--cookie-file", str(cookie)
    )


def test_all_problems_of_a_config_are_told_a_line_each(place: LocalNode) -> None:
    (place.folder / "cluster.yml").write_text(
        'services:\n  web:\n    image: x\n    restrt: no\n    ports: ["80x"]\n'
    )
    for said in (place.veo(*place.start_options()), place.start()):
        first, second = said.err.splitlines()
        assert said.status == 1
        assert first.startswith(
            f"veo: {place.folder}/cluster.yml:4: services.web.restrt"
        )
        assert second.startswith(
            f"veo: {place.folder}/cluster.yml:5: services.web.ports"
        )


def test_a_newcomer_who_is_not_root(tmp_path: Path) -> None:
    """`veo start` and nothing else, as a user like any other."""
    with tempfile.TemporaryDirectory(prefix="veo-home-") as home:
        os.chown(home, 54321, 54321)
        nowhere = "unix:///nowhere/docker.sock"
        env = unmeasured_environment(Path(home), DOCKER_HOST=nowhere)
        del env["COOKIE"]
        done = subprocess.run(
            [*other_user(), sys.executable, "-m", "veo_shell", "start"],
            cwd=home,
            env=env,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert done.stderr.splitlines()[-1].startswith("veo: no Docker Engine answers")
        made = {str(path.relative_to(home)) for path in Path(home).rglob("*")}
        assert {".veo/cookie", ".veo/data/lock", ".veo/run/veo.pid"} <= made
        assert stat.S_IMODE((Path(home) / ".veo").stat().st_mode) == 0o700


# Stopping


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    """Have a process that is none of ours."""
    with subprocess.Popen(["sleep", "60"]) as process:
        yield process
        process.kill()


def test_a_stale_pid_file_signals_nobody(
    place: LocalNode, stranger: subprocess.Popen[bytes]
) -> None:
    place.run_dir.mkdir()
    (place.run_dir / "veo.pid").write_text(f"{stranger.pid}\n")
    assert place.stop().status == 3
    assert stranger.poll() is None


def test_stop_believes_the_kernel_and_not_the_file(
    uno: LocalNode, stranger: subprocess.Popen[bytes]
) -> None:
    uno.up()
    pid = uno.pid()
    (uno.run_dir / "veo.pid").write_text(f"{stranger.pid}\n")
    assert uno.stop().status == 0
    eventually(lambda: not runs(pid))
    assert stranger.poll() is None


def test_the_pid_file_is_empty_when_the_node_has_stopped(uno: LocalNode) -> None:
    uno.up()
    assert runs(uno.pid())
    uno.stop()
    assert (uno.run_dir / "veo.pid").read_text() == ""


def test_a_node_that_was_killed_leaves_nothing_in_the_way(uno: LocalNode) -> None:
    uno.up()
    uno.kill()
    assert (uno.run_dir / "control.sock").exists()
    assert uno.stop().status == 3
    uno.up()
    assert uno.answers()


def test_stopping_beside_a_peer_that_is_gone_is_quick(nodes: Nodes) -> None:
    uno, dos = nodes("uno"), nodes("dos")
    uno.up()
    dos.up("--join", uno.address)
    uno.kill()
    began = time.monotonic()
    assert dos.stop().status == 0
    assert time.monotonic() - began < QUICK_S


# Leaving

LEAVING = """
import asyncio, signal, sys
from pathlib import Path
from veo_shell import daemon
from veo_shell.core.dns_config import DnsConfig
from veo_shell.core.verbs import write
from veo_shell.edge.control import ControlServer
from veo_shell.errors import UsageError, VeoError

class NodeMonitor:
    @write
    async def leave(self):
        if sys.argv[2] == "refuses":
            raise UsageError("the last one cannot leave")
        if sys.argv[2] != "stays":
            left.set()
        if sys.argv[2] == "without a word":
            await asyncio.Event().wait()

async def main():
    global left
    left = asyncio.Event()
    run_dir = Path(sys.argv[1])
    with daemon._only_one("--run-dir", run_dir / "veo.pid", "taken"):
        control = ControlServer(
            run_dir / "control.sock", {"node_monitor": NodeMonitor()}
        )
        await control.start()
        print("ready", flush=True)
        await left.wait()
        await control.stop()

asyncio.run(main())
"""


@contextlib.contextmanager
def leaver(place: LocalNode, how: str) -> Iterator[subprocess.Popen[str]]:
    """Have a process that is a node as far as `veo stop --leave` can tell."""
    place.run_dir.mkdir(mode=0o700)
    with subprocess.Popen(
        [sys.executable, "-c", LEAVING, str(place.run_dir), how],
        env=environment(place.folder),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("how", ["answers", "without a word"])
def test_leaving_returns_when_the_node_has_ended(place: LocalNode, how: str) -> None:
    with leaver(place, how) as process:
        said = place.veo("stop", "--leave", "--run-dir", str(place.run_dir))
        assert (said.status, said.out, said.err) == (0, "", "")
        assert (place.run_dir / "veo.pid").read_text() == ""
        assert process.wait(QUICK_S) == 0
    assert place.veo("stop", "--leave", "--run-dir", str(place.run_dir)).status == 3


def test_a_node_that_refuses_to_leave(place: LocalNode) -> None:
    with leaver(place, "refuses") as process:
        said = place.veo("stop", "--leave", "--run-dir", str(place.run_dir))
        assert (said.status, said.complaint) == (2, "the last one cannot leave")
        assert process.poll() is None


def test_a_node_that_cannot_be_asked_to_leave(place: LocalNode) -> None:
    with leaver(place, "answers") as process:
        (place.run_dir / "control.sock").unlink()
        said = place.veo("stop", "--leave", "--run-dir", str(place.run_dir))
        assert said.status == 3
        assert said.complaint.startswith("no node answers at")
        assert process.poll() is None


def test_a_node_that_does_not_end(
    place: LocalNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(daemon, "LEAVE_S", 0.2)
    with leaver(place, "stays") as process:
        with pytest.raises(VeoError) as told:
            daemon.leave(place.run_dir, cli._ask_to_leave)
        assert str(told.value) == (
            f"the node (pid {process.pid}) does not end; see its log"
        )


def statuses(node: LocalNode) -> dict[str, str]:
    """Return what a node holds each node for."""
    return {told["node"]: told["status"] for told in node.status()["nodes"]}


def sees_two_alive(node: LocalNode) -> bool:
    return list(statuses(node).values()) == ["alive", "alive"]


def test_a_node_leaves(nodes: Nodes) -> None:
    uno, dos = nodes("uno"), nodes("dos")
    uno.up()
    dos.up("--join", uno.address)
    said = dos.veo("stop", "--leave", "--run-dir", str(dos.run_dir))
    assert (said.status, said.out, said.err) == (0, "", "")
    assert not dos.answers()
    eventually(lambda: statuses(uno) == {"dos@dos": "left", "uno@uno": "alive"})
    dos.up("--join", uno.address)
    eventually(lambda: statuses(uno).get("dos@dos") == "alive")


def test_a_node_that_was_removed_joins_afresh(nodes: Nodes) -> None:
    uno, dos = nodes("uno"), nodes("dos")
    uno.up()
    dos.up("--join", uno.address)
    dos.kill()
    eventually(lambda: statuses(uno)["dos@dos"] in ("down", "dead"))
    assert (
        uno.attach("-c", "node_monitor.remove_node('dos@dos', force=True)").status == 0
    )
    said = dos.start("--join", uno.address)
    assert said.status == 0
    [line] = said.err.splitlines()
    assert line.startswith("veo: warning: ")
    assert "veo.db is set aside as veo.db.set-aside-2" in line
    assert len(list(dos.data_dir.glob("veo.db.set-aside-*"))) == 1
    eventually(lambda: statuses(uno).get("dos@dos") == "alive")
    dos.stop()
    assert dos.start("--join", uno.address).err == ""  # as any other again


def test_the_first_node_comes_back_to_those_it_knew(nodes: Nodes) -> None:
    """It was started with nobody to join, and would be a second cluster."""
    uno, dos = nodes("uno"), nodes("dos")
    uno.up()
    dos.up("--join", uno.address)
    eventually(lambda: statuses(uno).get("dos@dos") == "alive")
    assert uno.veo("stop", "--leave", "--run-dir", str(uno.run_dir)).status == 0
    said = uno.start()
    assert said.status == 0
    whom, aside = said.err.splitlines()
    assert (
        whom == f"veo: warning: uno@uno: joins those that it knew: {dos.address}:8087"
    )
    assert "veo.db is set aside as veo.db.set-aside-2" in aside
    both = {"uno@uno": "alive", "dos@dos": "alive"}
    eventually(lambda: statuses(uno) == statuses(dos) == both)


def test_a_cookie_is_changed_without_an_end(nodes: Nodes) -> None:
    uno, dos = nodes("uno"), nodes("dos")
    files = {}
    for name in ("old", "new"):
        files[name] = uno.folder.parent / name
        files[name].write_text(f"the {name} cookie, long enough")
        files[name].chmod(0o400)

    def cookies(own: str, other: str = "") -> list[str]:
        options = ["--cookie-file", str(files[own])]
        return [
            *options,
            *(["--accept-cookie-file", str(files[other])] if other else []),
        ]

    steps = [
        (cookies("old"), cookies("old")),
        (cookies("old", "new"), cookies("old")),
        (cookies("old", "new"), cookies("old", "new")),
        (cookies("new", "old"), cookies("old", "new")),
        (cookies("new", "old"), cookies("new", "old")),
        (cookies("new"), cookies("new", "old")),
        (cookies("new"), cookies("new")),
    ]
    standing: list[list[str] | None] = [None, None]
    for step in steps:
        for number, node in enumerate((uno, dos)):
            if step[number] != standing[number]:
                node.stop()
                node.up("--join", (dos, uno)[number].address, *step[number])
                standing[number] = step[number]
        for node in (uno, dos):
            eventually(functools.partial(sees_two_alive, node))


def test_watching_a_run_dir_never_keeps_a_node_from_it(uno: LocalNode) -> None:
    """Asking who holds it takes no lock: a start meanwhile finds it free."""
    code = (
        "import sys, pathlib; from veo_shell.daemon import _holder\n"
        "while True: _holder(pathlib.Path(sys.argv[1]))"
    )
    command = [sys.executable, "-c", code, str(uno.run_dir)]
    env = environment(uno.folder)
    with subprocess.Popen(command, env=env) as watcher:
        for _ in range(3):
            uno.up()
            assert uno.stop().status == 0
        assert watcher.poll() is None
        watcher.kill()


# IPv6


def test_ipv6(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    url = request.getfixturevalue("docker_url")
    with nodes_in(tmp_path, url) as make:
        uno, dos = make("uno"), make("dos")
        ports = ("--mesh-port", "9087", "--dns-port", "5354")
        uno.up("--address", "::1")
        dos.up("--address", "::1", *ports, "--join", "[::1]:8087")
        eventually(lambda: len(uno.status()["nodes"]) == 2)
        assert {node["address"] for node in uno.status()["nodes"]} == {"::1"}


def asked(server: str, name: str, kind: str) -> list[str]:
    """Return what a node's DNS says to a question."""
    query = dns.message.make_query(name, kind)
    reply = dns.query.udp(query, server, timeout=5, port=DNS_PORT)
    return [data.to_text() for found in reply.answer for data in found]


def test_an_address_of_ipv6_beside_one_of_ipv4(uno: LocalNode) -> None:
    """What a container publishes answers at both, where DNS says that it does.

    By a fixed port: of random ones Docker may choose another at each address.
    """
    uno.up("--address6", "::1")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as free:
        port = {"container_port": 80, "host_port": free.getsockname()[1]}
    spec = {
        "image": BUSYBOX,
        "args": ["httpd", "-f", "-p", "80"],
        "ports": [{"www": [port]}],
    }
    made = f"settings.parse_service({{'web': {spec}}})"
    said = uno.attach("-c", f"container_sup.add_service({made})")
    assert said.status == 0, said
    try:
        for server, kind in ((uno.address, "A"), ("::1", "AAAA")):
            places = eventually(functools.partial(asked, server, "www.web.veo.", kind))
            assert places == [server]
            (srv,) = asked(server, "_www._tcp.web.veo.", "SRV")
            with socket.create_connection((server, int(srv.split()[2])), 5) as line:
                line.sendall(b"GET / HTTP/1.0\r\n\r\n")
                assert line.recv(4096).startswith(b"HTTP/1.")
    finally:
        uno.attach("-c", "container_sup.remove_service('web')")
        eventually(lambda: not asked(uno.address, "www.web.veo.", "A"))


# Whom it joins


def configured(folder: Path, text: str, *join: str, label: str = "") -> NodeConfig:
    """Return what is made of a file and the options, for the node uno@10.0.0.1."""
    file = folder / "some.yml"
    file.write_text(text)
    return options.configure(
        options.Options(
            name="uno@10.0.0.1",
            address="10.0.0.1",
            config=str(file),
            join=join,
            label=label.split(),
            cluster="veo",
            cookie_file=None,
            dns_port="53",
            mesh_port="8087",
            data_dir=None,
            run_dir=folder,
            docker=None,
            log_level="info",
        )
    )


def test_whom_a_file_lists(tmp_path: Path) -> None:
    """A node is at its address, else at the host in its name, if that can be one."""
    text = (
        "nodes: [uno@10.0.0.1, dos@10.0.0.2, tres@::1, four@300.0.0.0, "
        "{node: five@x, address: 'five.example:9'}, six@six]\nservices: {}\n"
    )
    config = configured(tmp_path, text, "six", "uno:9")
    assert config.joins == (("six", 8087), ("uno", 9))
    assert config.listed == (("10.0.0.2", 8087), ("::1", 8087), ("five.example", 9))


def test_what_a_nodes_own_file_says_of_dns(tmp_path: Path) -> None:
    (tmp_path / "more.zone").write_text("www A 192.0.2.1\n")
    text = "dns: {zone: Lan, ttl: 3, zones: [more.zone]}\n"
    config = configured(tmp_path, text).dns
    assert (config.zone, config.ttl_s) == ("lan.", 3)
    assert list(config.records.rrsets) == [b"\3www\3lan\0"]
    assert configured(tmp_path, "nodes: [a@b]\n").dns == DnsConfig()


@pytest.mark.parametrize("text", ["", ":1", "[]:1", "[::1", "127.0.0.1:0x1", "a..b"])
def test_what_cannot_be_joined(place: LocalNode, text: str) -> None:
    said = place.start("--join", text)
    assert (said.status, len(said.err.splitlines())) == (2, 1)
    assert said.complaint.startswith(f"--join {text}: ")


# What it is


def test_labels_are_those_of_the_file_and_over_them_those_given(tmp_path: Path) -> None:
    text = "nodes: [{node: uno@10.0.0.1, labels: {disk: hdd, rack: 3}}, dos@10.0.0.2]"
    assert configured(tmp_path, text).labels == ("disk=hdd", "rack=3")
    given = configured(tmp_path, text, label="disk=ssd gpu=yes")
    assert given.labels == ("disk=ssd", "gpu=yes", "rack=3")
    assert configured(tmp_path, "nodes: []\n").labels == ()


def test_a_label_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='--label: "host" cannot be a label'):
        configured(tmp_path, "nodes: []\n", label="host=uno")


def test_labels_in_the_environment_are_several(place: LocalNode) -> None:
    said = place.veo(*place.start_options(), VEO_LABELS="disk=ssd,gpu")
    assert (said.status, said.complaint[:13]) == (2, '--label: "gpu')


# Names


def test_names_take_the_host_for_what_is_missing() -> None:
    host = socket.gethostname().partition(".")[0]
    assert options.node_name("uno") == options.node_name("uno@") == f"uno@{host}"
    assert options.node_name(None) == f"{host}@{host}"
    assert options.node_name("uno@a.example") == "uno@a.example"


def test_the_checkout_is_what_runs() -> None:
    assert Path(daemon.__file__).is_relative_to(ROOT)


# What is kept elsewhere, for when all hosts are lost


def test_a_backup_is_put_back_on_a_host_of_the_same_name(uno: LocalNode) -> None:
    """As the README says: `.backup` of sqlite3 while it runs, or the file once not."""
    uno.up()
    spec = {"image": "nginx", "hosts": ["dos@dos"]}  # nothing of it runs here
    for name in ("kept", "later"):
        made = f"settings.parse_service({{{name!r}: {spec}}})"
        said = uno.attach("-c", f"container_sup.add_service({made}, queue=True)")
        assert said.status == 0, said
        if name == "kept":
            backup = uno.folder / "backup.db"
            with (
                contextlib.closing(sqlite3.connect(uno.data_dir / "veo.db")) as source,
                contextlib.closing(sqlite3.connect(backup)) as target,
            ):
                source.backup(target)
    assert uno.stop().status == 0
    shutil.rmtree(uno.data_dir)
    uno.data_dir.mkdir()
    shutil.copy(backup, uno.data_dir / "veo.db")
    uno.up()
    names = uno.attach("-c", "print([s.name for s in container_sup.services()])")
    assert names.out == "['kept']\n"

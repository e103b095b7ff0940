"""The private engine that `make` starts where none answers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.dockerd import EngineFailed, connect, wait_until
from scripts.engine import (
    NoEngine,
    PrivateEngine,
    ip,
    prepare_private,
    standing_engine,
)
from tests.engines import BUSYBOX, load_busybox
from tests.rig.rig import lacking

ROOT = Path(__file__).parents[1]
NOWHERE = "unix:///no/such/docker.sock"


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Have a folder that stands for a checkout, where an engine can be started.

    Whatever becomes of it, the machine's firewall is as it was.
    """
    if reason := lacking():
        pytest.skip(reason)
    before = firewall()
    yield tmp_path
    assert firewall() == before


def firewall() -> list[str]:
    """Return the rules that an engine would add to, and whether packets are passed."""
    rules = (("iptables", "-t", table, "-S") for table in ("filter", "nat"))
    return [
        *(subprocess.check_output(argv, text=True) for argv in rules),
        Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    ]


def bridges(engine: PrivateEngine) -> bool:
    """Tell whether the engine's bridge is there."""
    return Path(f"/sys/class/net/{engine.bridge}").exists()


@pytest.mark.docker
def test_who_leaves_last_ends_it(checkout: Path) -> None:
    one, other = PrivateEngine(checkout), PrivateEngine(checkout)
    with one.used() as url:
        with other.used() as same:
            assert same == url
        assert one.daemon.answers()
        assert bridges(one)
    assert not one.daemon.answers()
    assert one.daemon.pid() is None
    assert not bridges(one)


@pytest.mark.docker
def test_one_that_is_up_stays_until_down(checkout: Path) -> None:
    engine = PrivateEngine(checkout)
    engine.up()
    with engine.used():
        pass
    assert engine.daemon.answers()
    assert engine.down()
    assert not engine.daemon.answers()
    assert not engine.down()


@pytest.mark.docker
def test_what_else_runs_on_it_keeps_it(checkout: Path) -> None:
    engine = PrivateEngine(checkout)
    url = engine.up()
    try:
        with connect(url) as client:
            load_busybox(client)
            client.containers.run(
                BUSYBOX, ["sleep", "600"], detach=True, name="stranger", network="none"
            )
            assert engine.down().endswith("stays, with what runs on it: stranger")
            assert engine.daemon.answers()
            client.containers.get("stranger").remove(force=True)
    finally:
        assert engine.down().endswith("are gone")
    assert not engine.daemon.answers()


@pytest.mark.docker
def test_it_gives_way_to_who_took_its_network_meanwhile(checkout: Path) -> None:
    engine = PrivateEngine(checkout)
    with engine.used() as url:
        mine = gateway(url)
    ip("link", "add", "veo-taken", "type", "bridge")
    try:
        ip("addr", "add", f"{mine}/24", "dev", "veo-taken")
        ip("link", "set", "veo-taken", "up")
        with engine.used() as url:
            assert gateway(url) != mine
            assert mine not in ip("addr", "show", "dev", engine.bridge)
    finally:
        ip("link", "del", "veo-taken")


def gateway(url: str) -> str:
    """Return the address that containers see the machine at."""
    with connect(url) as client:
        settings = client.networks.get("bridge").attrs["IPAM"]["Config"]
    return str(settings[0]["Gateway"])


@pytest.mark.docker
def test_an_end_in_mid_use_leaves_nothing(checkout: Path) -> None:
    engine = PrivateEngine(checkout)
    with pytest.raises(ZeroDivisionError), engine.used():
        raise ZeroDivisionError
    assert engine.daemon.pid() is None
    assert not bridges(engine)


@pytest.mark.docker
def test_what_a_killed_run_left_is_used_and_ended_by_the_next(checkout: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path;"
        "from scripts.engine import PrivateEngine;"
        "use = PrivateEngine(Path(sys.argv[1])).used(); use.__enter__();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    argv = [sys.executable, "-c", code, str(checkout)]
    assert subprocess.run(argv, cwd=ROOT).returncode == -signal.SIGKILL
    engine = PrivateEngine(checkout)
    left = engine.daemon.pid()
    assert left is not None
    with engine.used():
        assert engine.daemon.pid() == left
    assert engine.daemon.pid() is None


@pytest.mark.docker
def test_one_that_cannot_start_says_why_in_one_line(checkout: Path) -> None:
    engine = PrivateEngine(checkout)
    engine.daemon.options = tuple(
        "veo-no-such-bridge" if option == engine.bridge else option
        for option in engine.daemon.options
    )
    with pytest.raises(EngineFailed, match=r"^dockerd did not start: .*bridge"):
        engine.daemon.start()
    assert engine.daemon.pid() is None


@pytest.fixture
def overlay(checkout: Path) -> Iterator[Path]:
    """Have a folder on an overlay, where an engine cannot lay another one."""
    for name in ("lower", "upper", "work", "merged"):
        (checkout / name).mkdir()
    layers = f"lowerdir={checkout}/lower,upperdir={checkout}/upper"
    options = f"{layers},workdir={checkout}/work"
    merged = checkout / "merged"
    mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
    subprocess.run(mount, check=True)
    yield merged
    subprocess.run(["umount", "-l", str(merged)], check=True)


@pytest.mark.docker
def test_where_overlays_are_refused_it_does_without(overlay: Path) -> None:
    engine = PrivateEngine(overlay)
    engine.daemon.options += ("--storage-driver", "overlay2")
    with engine.used() as url, connect(url) as client:
        assert client.info()["Driver"] == "vfs"


@pytest.mark.docker
def test_sigterm_ends_the_command_then_the_engine(checkout: Path) -> None:
    copy = checkout / "copy"
    shutil.copytree(ROOT / "scripts", copy / "scripts")
    if (ROOT / ".veo" / "nginx.tar").exists():
        (copy / ".veo").mkdir()
        shutil.copy(ROOT / ".veo" / "nginx.tar", copy / ".veo")
    started = copy / "started"
    code = (
        "from scripts import engine; engine.standing_engine = lambda: None;"
        "import sys; sys.exit(engine.main(['run', *sys.argv[1:]]))"
    )
    script = f"echo $$ > {started}.new; mv {started}.new {started}; exec sleep 1000"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "sh", "-c", script], cwd=copy
    )
    assert wait_until(started.exists, 60)
    engine = PrivateEngine(copy)
    assert engine.daemon.answers()
    process.terminate()
    assert process.wait(30) == 128 + signal.SIGTERM
    assert engine.daemon.pid() is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(started.read_text()), 0)


def test_an_engine_that_does_not_answer_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DOCKER_HOST", NOWHERE)
    assert standing_engine() != NOWHERE
    said = capsys.readouterr().err
    assert said.startswith(f"DOCKER_HOST={NOWHERE} is no use: ")
    assert len(said.splitlines()) == 1


def test_who_is_not_root_is_told_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(NoEngine, match=r"apt-get install docker\.io"):
        prepare_private()

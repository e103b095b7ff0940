"""The control socket, spoken to as its protocol has it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import stat
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
import zmq.asyncio

from veo_shell import __version__
from veo_shell.core.model import Candidate, Container, Service
from veo_shell.core.sessions import Attendance, Session
from veo_shell.core.verbs import pack, read, unpack, verbs_of, write
from veo_shell.edge import control
from veo_shell.edge.control import ControlServer
from veo_shell.errors import StartError, UnknownService

SERVICE = Service(name="web", image="nginx")


class Word:
    """A word with a verb of each kind."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.value: Any = 42

    @read
    def count(self) -> int:
        """Count."""
        return self.value  # type: ignore[no-any-return]

    @read
    async def where(self, service: Service) -> list[Candidate]:
        """Tell where a service fits."""
        await asyncio.sleep(0)
        return [Candidate(node=service.name, fits=True)]

    @read
    def either(self, which: Container | str, *, flag: bool = False) -> str:
        """Take one of two."""
        return f"{type(which).__name__} {flag}"

    @read
    async def wait(self) -> None:
        """Wait for ever."""
        self.begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    @read
    async def linger(self) -> None:
        """Have a deadline of its own that is over, and take a while to notice."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0):
                try:
                    await asyncio.Event().wait()
                finally:
                    self.begun.set()
                    await self.value.wait()

    @write
    async def hold(self) -> None:
        """Take as long as it takes."""
        try:
            await asyncio.Event().wait()
        finally:
            self.cancelled.set()

    @write
    def remove(self, name: str) -> None:
        """Fail as verbs do."""
        raise UnknownService(f"no service is called {name}", service=name)

    @read
    def broken(self) -> int:
        """Fail as bugs do."""
        return 1 // 0


class Line:
    """A DEALER that speaks to a control socket."""

    def __init__(self, path: Path) -> None:
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(f"ipc://{path}")

    async def send(self, message: Any) -> None:
        await self.send_raw(msgspec.msgpack.encode(message))

    async def send_raw(self, *frames: bytes) -> None:
        await self._socket.send_multipart(frames)

    async def receive(self) -> Any:
        body = await asyncio.wait_for(self._socket.recv(), 30)
        return msgspec.msgpack.decode(body)

    async def ask(self, message: Any) -> Any:
        await self.send(message)
        return await self.receive()

    def close(self) -> None:
        self._context.destroy(linger=0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run" / "control.sock"


@pytest.fixture
async def word() -> Word:
    return Word()


@pytest.fixture
async def server(path: Path, word: Word) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, {"word": word}, {"node": "uno@uno"})
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
async def line(server: ControlServer, path: Path) -> AsyncIterator[Line]:
    line = Line(path)
    yield line
    line.close()


def modes(directory: Path) -> list[int]:
    """Return the permissions of what is in a directory."""
    return [stat.S_IMODE(entry.stat().st_mode) for entry in directory.iterdir()]


async def test_answers_a_call(line: Line) -> None:
    assert await line.ask([7, "word.count", [], {}]) == [7, "ok", ["", 42]]


async def test_records_travel_both_ways(line: Line) -> None:
    reply = await line.ask([1, "word.where", [pack(SERVICE)], {}])
    assert unpack(reply[2]) == [Candidate(node="web", fits=True)]


async def test_errors_travel_with_their_fields(line: Line) -> None:
    reply = await line.ask([1, "word.remove", [], {"name": pack("web")}])
    said = "no service is called web"
    assert reply == [1, "error", "UnknownService", said, {"service": "web"}]


@pytest.mark.parametrize("value", [2**64, "\ud800"])
async def test_an_answer_that_cannot_be_sent_is_told(
    line: Line, word: Word, value: object
) -> None:
    word.value = value
    _, error, name, said, _ = await line.ask([1, "word.count", [], {}])
    assert (error, name) == ("error", "VerbFailed")
    assert said.startswith("word.count: its answer cannot be sent: ")


async def test_calls_do_not_wait_for_each_other(line: Line, word: Word) -> None:
    await line.send([1, "word.wait", [], {}])
    await asyncio.wait_for(word.begun.wait(), 30)
    assert await line.ask([2, "word.count", [], {}]) == [2, "ok", ["", 42]]


async def test_ping_tells_whether_a_call_is_worked_on(line: Line, word: Word) -> None:
    await line.send([1, "word.wait", [], {}])
    await asyncio.wait_for(word.begun.wait(), 30)
    assert await line.ask(["ping", 1]) == [1, "pong", True]
    assert await line.ask(["ping", 2]) == [2, "pong", False]


async def test_a_call_whose_own_deadline_is_over_is_worked_on(
    line: Line, word: Word
) -> None:
    """Its client gave it up just then: the node had restarted, it seemed."""
    word.value = asyncio.Event()
    await line.send([1, "word.linger", [], {}])
    await word.begun.wait()
    assert await line.ask(["ping", 1]) == [1, "pong", True]
    word.value.set()
    assert await line.receive() == [1, "ok", ["", None]]


async def test_cancel_ends_a_call_unanswered(line: Line, word: Word) -> None:
    await line.send([1, "word.wait", [], {}])
    await asyncio.wait_for(word.begun.wait(), 30)
    await line.send(["cancel", 1])
    await asyncio.wait_for(word.cancelled.wait(), 30)
    await line.send(["cancel", 1])  # twice, or too late: does no harm
    assert await line.ask(["ping", 1]) == [1, "pong", False]


async def test_a_cancel_that_overtakes_the_first_step(line: Line, word: Word) -> None:
    await line.send([1, "word.wait", [], {}])
    await line.send(["cancel", 1])
    assert await line.ask(["ping", 1]) == [1, "pong", False]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "LOOK_S", 0.02)


@pytest.mark.usefixtures("impatient")
async def test_a_read_of_a_client_that_went_away_is_cancelled(
    line: Line, path: Path, word: Word
) -> None:
    """It went on for ever, for nobody."""
    other = Line(path)
    await other.send([1, "word.wait", [], {}])
    await asyncio.wait_for(word.begun.wait(), 30)
    other.close()
    await asyncio.wait_for(word.cancelled.wait(), 30)
    assert await line.ask([2, "word.count", [], {}]) == [2, "ok", ["", 42]]


@pytest.mark.usefixtures("impatient")
async def test_a_client_that_waits_is_only_told_that_it_may(
    line: Line, word: Word
) -> None:
    await line.send([1, "word.wait", [], {}])
    assert [await line.receive() for _ in range(3)] == [[0, "working"]] * 3
    assert not word.cancelled.is_set()


ANNA = {"id": "a1", "user": "anna"}


async def test_a_read_only_session_is_held_to_it_on_every_line(
    line: Line, path: Path, word: Word
) -> None:
    reader = {**ANNA, "read_only": True}
    refused = await line.ask([1, "word.remove", [["", "web"]], {}, reader])
    assert refused[:3] == [1, "error", "ReadOnly"]
    assert await line.ask([2, "word.count", [], {}, reader]) == [2, "ok", ["", 42]]
    another, bens = Line(path), Line(path)
    for from_, told, error in (
        (another, ANNA, "ReadOnly"),
        (another, {"id": "b"}, "ReadOnly"),
        (bens, {"id": "b"}, "UnknownService"),
    ):
        answer = await from_.ask([1, "word.remove", [["", "web"]], {}, told])
        assert answer[:3] == [1, "error", error]
    another.close()
    bens.close()


async def test_each_call_is_told_of_before_it_is_done(path: Path, word: Word) -> None:
    noted: list[Any] = []

    async def begin(session: Session, verb: str, kind: str, *_: object) -> None:
        noted.append((session.user, verb, kind))

    attendance = Attendance()
    server = ControlServer(path, {"word": word}, attendance=attendance, begin=begin)
    await server.start()
    line = Line(path)
    await line.ask([1, "word.count", [], {}, ANNA])
    await line.ask([2, "word.nope", [], {}, ANNA])
    await line.ask([3, "word.remove", [["", "web"]], {}, ANNA])
    assert noted == [
        ("anna", "word.count", "read"),
        ("anna", "word.nope", ""),
        ("anna", "word.remove", "write"),
    ]
    assert [session.user for session in attendance.sessions()] == ["anna"]
    await line.send(["leave"])
    await line.ask([4, "word.count", [], {}])
    assert attendance.sessions() == []
    line.close()
    await server.stop()


@pytest.mark.usefixtures("impatient")
async def test_a_session_whose_client_went_away_is_forgotten(
    path: Path, word: Word
) -> None:
    left = asyncio.Event()

    class Watched(Attendance):
        def leave(self, line: bytes) -> None:
            was_there = bool(self.sessions())
            super().leave(line)
            if was_there and not self.sessions():
                left.set()

    attendance = Watched()
    server = ControlServer(path, {"word": word}, attendance=attendance)
    await server.start()
    line = Line(path)
    await line.ask([1, "word.count", [], {}, ANNA])
    assert await line.receive() == [0, "working"]
    line.close()
    await asyncio.wait_for(left.wait(), 30)
    assert attendance.sessions() == []
    await server.stop()


@pytest.mark.usefixtures("impatient")
async def test_a_write_of_a_client_that_went_away_is_abandoned(
    path: Path, word: Word
) -> None:
    abandoned: asyncio.Queue[asyncio.Task[None]] = asyncio.Queue()
    server = ControlServer(path, {"word": word}, abandon=abandoned.put_nowait)
    await server.start()
    one, other = Line(path), Line(path)
    await one.send([1, "word.hold", [], {}])
    assert await one.receive() == [0, "working"]
    await other.send([1, "word.hold", [], {}])
    assert await other.receive() == [0, "working"]
    other.close()
    first = await asyncio.wait_for(abandoned.get(), 30)
    assert await asyncio.wait_for(abandoned.get(), 30) is first
    assert not word.cancelled.is_set()
    one.close()
    await server.stop()
    assert word.cancelled.is_set()


async def test_another_clients_calls_cannot_be_cancelled(
    line: Line, path: Path, word: Word
) -> None:
    await line.send([1, "word.wait", [], {}])
    await asyncio.wait_for(word.begun.wait(), 30)
    other = Line(path)
    await other.send(["cancel", 1])
    assert await other.ask(["ping", 1]) == [1, "pong", False]
    assert await line.ask(["ping", 1]) == [1, "pong", True]
    other.close()


@pytest.mark.parametrize(
    "frames",
    [
        [b""],
        [b"\xc1"],
        [b"\x91" * 5000],
        [b"GET / HTTP/1.1\r\n\r\n"],
        [msgspec.msgpack.encode([1, "word.count"])],
        [msgspec.msgpack.encode(["ping", "x"])],
        [msgspec.msgpack.encode([1, "word.count", {}, []])],
        [b"\x93", b"\x01", b"\x02\x03"],
    ],
)
async def test_garbage_is_dropped_and_told(
    line: Line, caplog: pytest.LogCaptureFixture, frames: list[bytes]
) -> None:
    await line.send_raw(*frames)
    assert await line.ask([2, "word.count", [], {}]) == [2, "ok", ["", 42]]
    assert "dropped what is no request" in caplog.text


async def test_a_second_request_of_one_id_is_dropped(
    line: Line, word: Word, caplog: pytest.LogCaptureFixture
) -> None:
    await line.send([1, "word.wait", [], {}])
    await line.send([1, "word.count", [], {}])
    assert await line.ask(["ping", 1]) == [1, "pong", True]
    assert "dropped a second request" in caplog.text


async def test_arguments_that_cannot_be_read_are_a_usage_error(line: Line) -> None:
    reply = await line.ask([1, "word.where", [["Sevice", {}]], {}])
    assert reply[:3] == [1, "error", "UsageError"]


async def test_stopping_answers_what_still_runs(path: Path, word: Word) -> None:
    server = ControlServer(path, {"word": word})
    await server.start()
    line = Line(path)
    await line.send([1, "word.wait", [], {}])
    await asyncio.wait_for(word.begun.wait(), 30)
    await server.stop()
    reply = await line.receive()
    assert reply[:3] == [1, "error", "NodeUnreachable"]
    assert "stopped during word.wait" in reply[3]
    assert modes(path.parent) == []
    line.close()


async def test_describes_itself(line: Line) -> None:
    reply = await line.ask([1, "veo.about", [], {}])
    assert unpack(reply[2]) == {"version": __version__, "node": "uno@uno"}
    reply = await line.ask([2, "veo.describe", [], {}])
    verbs: Mapping[str, Any] = unpack(reply[2])["word"]
    assert verbs["count"] == ["read", "() -> int", "Count."]
    assert (
        verbs["either"][1] == "(which: Container | str, *, flag: bool = False) -> str"
    )
    assert verbs["remove"][0] == "write"
    assert set(verbs) == set(verbs_of(Word))


async def test_a_bug_is_logged_and_told(
    line: Line, caplog: pytest.LogCaptureFixture
) -> None:
    reply = await line.ask([1, "word.broken", [], {}])
    assert reply[:3] == [1, "error", "VerbFailed"]
    assert "word.broken failed inside the node (ZeroDivisionError)" in reply[3]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "ZeroDivisionError" in caplog.text


async def test_only_this_user_can_open_it(server: ControlServer, path: Path) -> None:
    assert modes(path.parent) == [0o600]
    assert modes(path.parent.parent) == [0o700]


async def test_a_path_too_long_is_refused(tmp_path: Path) -> None:
    server = ControlServer(tmp_path / ("x" * 100) / "control.sock", {})
    with pytest.raises(StartError, match="choose a shorter --run-dir"):
        await server.start()
    await server.stop()  # of one that never started: nothing to do


async def test_a_directory_open_to_others_is_refused(path: Path) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    with pytest.raises(StartError, match="other users can write to it"):
        await ControlServer(path, {}).start()


async def test_a_directory_that_cannot_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    server = ControlServer(tmp_path / "file" / "control.sock", {})
    with pytest.raises(StartError, match="choose another --run-dir"):
        await server.start()


async def test_a_place_that_is_taken_is_told(path: Path) -> None:
    (path / "inside").mkdir(parents=True)
    with pytest.raises(StartError, match=f"{path}: "):
        await ControlServer(path, {}).start()


async def test_a_live_nodes_socket_is_not_taken_over(
    line: Line, server: ControlServer, path: Path
) -> None:
    with pytest.raises(StartError, match="another node listens there"):
        await ControlServer(path, {}).start()
    assert (await line.ask([1, "word.count", [], {}]))[1] == "ok"


async def test_a_dead_nodes_socket_is_replaced(path: Path, word: Word) -> None:
    path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    server = ControlServer(path, {"word": word})
    await server.start()
    line = Line(path)
    assert await line.ask([1, "word.count", [], {}]) == [1, "ok", ["", 42]]
    line.close()
    await server.stop()

"""The client's end of the control socket, against a real node."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq

from tests.console.conftest import SampleNode
from veo_shell.console.client import Client
from veo_shell.core.model import Container, Service
from veo_shell.errors import NodeUnreachable, NoSuitableNode, UsageError, VeoError

SERVICE = Service(name="web", image="nginx")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    client = Client(tmp_path, ping_every_ms=100)
    yield client
    client.close()


def test_returns_what_the_verb_returns(node: SampleNode, client: Client) -> None:
    assert client.call("container_sup.count") == 42
    containers = client.call("container_sup.cloud_containers")
    assert [type(c) for c in containers] == [Container, Container]
    assert client.call("container_sup.add_service", SERVICE, queue=True).slot == 0


def test_raises_what_the_verb_raises(node: SampleNode, client: Client) -> None:
    with pytest.raises(NoSuitableNode) as caught:
        client.call("container_sup.add_service", SERVICE)
    assert caught.value.service == "web"
    assert str(caught.value) == "no node fits web\n  uno@uno: role is not master"


def test_a_bug_of_the_node_is_told(node: SampleNode, client: Client) -> None:
    with pytest.raises(VeoError, match=r"broken failed inside the node .*see its log"):
        client.call("container_sup.broken")


def test_an_argument_that_cannot_travel(node: SampleNode, client: Client) -> None:
    with pytest.raises(UsageError, match=r"container_sup.count: an argument cannot be"):
        client.call("container_sup.count", object())


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (2**64, "a number is too large to be sent"),
        ([{"a": -(2**70)}], "a number is too large to be sent"),
        ("\ud800", "a text cannot be sent: half of a surrogate pair is in it"),
    ],
)
def test_an_argument_that_no_message_holds(
    node: SampleNode, client: Client, argument: object, said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        client.call("container_sup.count", argument)
    assert str(caught.value) == f"container_sup.count: {said}"
    assert client.call("container_sup.count") == 42


def test_no_node_is_told_at_once(client: Client, tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachable, match="start one with `veo start`"):
        client.call("container_sup.count")


def test_a_run_dir_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for run_dir in (tmp_path / "file", tmp_path / ("x" * 200)):
        client = Client(run_dir)
        with pytest.raises(NodeUnreachable, match="--run-dir"):
            client.call("container_sup.count")
        client.close()


def test_a_dead_nodes_socket_is_no_node(node: SampleNode, client: Client) -> None:
    assert client.call("container_sup.count") == 42
    node.process.kill()
    node.process.wait()
    assert (node.run_dir / "control.sock").exists()
    with pytest.raises(NodeUnreachable, match="no node answers"):
        client.call("container_sup.count")


class Scripted:
    """The node's end of the socket, which answers as a test has written down.

    Each reply goes out when the next message has come in; `number` in it stands for
    the id of the call. Keeps what came in.
    """

    def __init__(self, run_dir: Path, replies: Sequence[Sequence[Any]]) -> None:
        self.received: list[Any] = []
        self._replies = replies
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.bind(f"ipc://{run_dir}/control.sock")
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for reply in self._replies:
            client, body = self._socket.recv_multipart()
            self.received.append(msgspec.msgpack.decode(body))
            number = self.received[0][0]
            sent = [number if part == "number" else part for part in reply]
            self._socket.send_multipart([client, msgspec.msgpack.encode(sent)])

    def close(self) -> None:
        self._thread.join(30)
        self._context.destroy(linger=0)


def test_a_long_call_outlives_many_pings(client: Client, tmp_path: Path) -> None:
    late = [0, "ok", ["", "the answer to a call that was cancelled"]]
    pongs = [["number", "pong", True]] * 10
    node = Scripted(tmp_path, [late, *pongs, ["number", "ok", ["", 42]]])
    assert client.call("container_sup.wait") == 42
    assert node.received[0][1:] == ["container_sup.wait", [], {}, client.session]
    assert node.received[1:] == [["ping", node.received[0][0]]] * 11
    node.close()


def test_a_node_that_restarts_during_a_call_is_noticed(
    client: Client, tmp_path: Path
) -> None:
    # A new node at the same place answers pings, but knows nothing of the call.
    late = [0, "pong", True]
    node = Scripted(tmp_path, [late, ["number", "pong", False]])
    said = r"restarted; container_sup.wait may be done, or not: look before repeating"
    with pytest.raises(NodeUnreachable, match=said):
        client.call("container_sup.wait")
    node.close()


def test_what_changes_nothing_may_be_tried_again(
    client: Client, tmp_path: Path
) -> None:
    node = Scripted(tmp_path, [["number", "pong", False]])
    with pytest.raises(NodeUnreachable, match=r"the node restarted; try again$"):
        client.read("veo.about")
    node.close()


def test_a_node_that_stops_during_a_call_says_so(
    node: SampleNode, client: Client
) -> None:
    def stop() -> None:
        assert node.says() == "waiting"
        node.process.terminate()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(NodeUnreachable, match=r"stopped during container_sup\.wait"):
        client.call("container_sup.wait")
    thread.join()


def test_a_node_that_hangs_is_noticed(node: SampleNode, client: Client) -> None:
    assert client.call("container_sup.count") == 42
    node.process.send_signal(signal.SIGSTOP)
    with pytest.raises(NodeUnreachable, match="does not answer: it is busy"):
        client.call("container_sup.count")
    node.process.send_signal(signal.SIGCONT)
    assert client.call("container_sup.count") == 42


def test_threads_take_turns(node: SampleNode, client: Client) -> None:
    results: list[int] = []

    def count() -> None:
        results.extend(client.call("container_sup.count") for _ in range(50))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert results == [42] * 200

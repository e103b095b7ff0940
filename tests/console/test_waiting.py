"""What is said while a call takes long."""

from __future__ import annotations

import io
from pathlib import Path

from tests.console.conftest import Attach, SampleNode
from tests.console.sample_node import SERVICE
from tests.local_node import eventually
from veo_shell.console.client import Client
from veo_shell.console.waiting import Waiting


def test_a_long_call_tells_what_happens(node: SampleNode, attached: Attach) -> None:
    terminal = attached()
    terminal.type("container_sup.wait()\r")
    assert node.says() == "waiting"
    terminal.read_until("container_sup.wait: 1 s, Ctrl-C cancels")
    terminal.read_until("; veo-uno-nginx-abcdef-0-1: 8\\x1b")  # an event, tamed
    terminal.type("\x03")
    shown = terminal.read_until("(uno@uno 2/2)2>")
    assert "Traceback" not in shown
    assert terminal.raw.rindex(b"\r\x1b[K") < terminal.raw.rindex(b"KeyboardInterrupt")
    terminal.type("6 * 7\r")
    terminal.read_until("\n42")


def test_a_short_call_tells_nothing(node: SampleNode, tmp_path: Path) -> None:
    stream, client = io.StringIO(), Client(tmp_path)
    with Waiting(client, stream).during("container_sup.count", []):
        client.read("container_sup.count")
    assert stream.getvalue() == ""
    client.close()


def test_a_node_that_is_gone_has_no_news(tmp_path: Path) -> None:
    stream, client = io.StringIO(), Client(tmp_path / "nowhere")
    with Waiting(client, stream).during("container_sup.scale", [SERVICE]):
        eventually(lambda: "container_sup.scale: 1 s, Ctrl-C" in stream.getvalue())
    written = stream.getvalue()
    assert written.endswith("\r\x1b[K")
    client.close()

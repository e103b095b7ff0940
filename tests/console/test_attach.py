"""The interactive console, driven through a real pseudo-terminal."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

from tests.console.conftest import Attach, SampleNode, Serve

RED = b"\x1b[0;31"


def test_banner_and_prompt(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    shown = terminal.read_until("(uno@uno 2/2)1>")
    assert "node uno@uno, cluster test" in shown
    assert "container_sup" in shown
    assert "dns_registry" in shown


def test_the_prompt_tells_how_many_nodes_live(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    assert RED not in terminal.raw
    terminal.type("node_monitor.turn('suspect')\r")
    terminal.read_until("(uno@uno 1/2)2>")
    assert RED in terminal.raw
    terminal.type("node_monitor.turn('left')\r")
    terminal.read_until("(uno@uno 1/1)3>")


def test_a_node_that_does_not_answer_freezes_no_prompt(
    node: SampleNode, attach: Attach
) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    node.process.send_signal(signal.SIGSTOP)
    terminal.type("6 * 7\r")
    terminal.read_until("(uno@uno ?/2)2>")
    assert RED in terminal.raw
    node.process.send_signal(signal.SIGCONT)
    terminal.type("container_sup.count()\r")
    terminal.read_until("\n42")
    terminal.read_until("(uno@uno 2/2)3>")


def test_call_prints_and_counts_on(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("container_sup.count()\r")
    terminal.read_until("\n42")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("_ + 1\r")
    terminal.read_until("\n43")


def test_records_show_as_a_table(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("container_sup.cloud_containers()\r")
    shown = terminal.read_until("(uno@uno 2/2)2>")
    head = next(line for line in shown.splitlines() if line.startswith("name"))
    assert head.split()[:5] == ["name", "service", "node", "address", "state"]
    assert "49153->80" in shown
    assert b"\x1b[32mrunning" in terminal.raw  # green


def test_no_color_is_respected(node: SampleNode, attach: Attach) -> None:
    terminal = attach(NO_COLOR="1")
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("container_sup.cloud_containers()\r")
    terminal.read_until("(uno@uno 2/2)2>")
    assert b"\x1b[32m" not in terminal.raw


def test_ctrl_c_clears_the_input(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("1 + garbage")
    terminal.read_until("garbage")
    terminal.type("\x03")
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("6 * 7\r")
    terminal.read_until("\n42")


def test_ctrl_c_cancels_the_running_call(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("kept = 5; container_sup.wait()\r")
    assert node.says() == "waiting"
    terminal.type("\x03")
    assert node.says() == "cancelled"
    shown = terminal.read_until("(uno@uno 2/2)2>")
    assert "KeyboardInterrupt" in shown
    assert "Traceback" not in shown
    terminal.type("kept + container_sup.count()\r")
    terminal.read_until("\n47")


def test_ctrl_c_ends_a_busy_loop(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("while not print('spinning'): pass\r\r")
    terminal.read_until("spinning\nspinning")
    terminal.type("\x03")
    terminal.read_until("KeyboardInterrupt")
    terminal.read_until("(uno@uno 2/2)2>")


def test_an_error_of_veo_is_shown_without_a_stack(
    node: SampleNode, attach: Attach
) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("t, = settings.get_applications()\r")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("container_sup.add_service(t)\r")
    shown = terminal.read_until("(uno@uno 2/2)3>")
    assert "NoSuitableNode: no node fits nginx\n  uno@uno: role is not master" in shown
    assert "Traceback" not in shown


def test_another_error_is_shown_with_the_users_stack(
    node: SampleNode, attach: Attach
) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("import json; json.loads('{')\r")
    shown = terminal.read_until("(uno@uno 2/2)2>")
    assert "Traceback" in shown
    assert "JSONDecodeError" in shown
    assert "veo_shell" not in shown
    assert "ptpython" not in shown


def test_ctrl_d_leaves_without_a_question(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("\x04")
    assert terminal.wait() == 0
    assert node.process.poll() is None


def test_exit_leaves(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("exit\r")
    assert terminal.wait() == 0


def test_history_survives_and_is_private(
    node: SampleNode, attach: Attach, tmp_path: Path
) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("'remember' + 'ed'\r")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("\x04")
    terminal.wait()
    history = tmp_path / ".veo" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("\x1b[A")  # Up
    terminal.read_until("'remember' + 'ed'")
    terminal.type("\r")
    terminal.read_until("\n'remembered'")


def test_tab_completes_verbs(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("container_sup.cou")
    terminal.read_until("\n count")  # the menu
    terminal.type("\t()\r")
    terminal.read_until("\n42")


def test_a_node_that_restarts_is_reached_again(
    node: SampleNode, attach: Attach, serve: Serve, tmp_path: Path
) -> None:
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("kept = container_sup.count()\r")
    terminal.read_until("(uno@uno 2/2)2>")
    node.process.kill()
    node.process.wait()
    terminal.type("container_sup.count()\r")
    terminal.read_until("NodeUnreachable: no node answers at")
    terminal.read_until("(uno@uno ?/2)3>")
    serve(tmp_path)
    terminal.type("kept + container_sup.count()\r")
    terminal.read_until("\n84")


def test_no_node_answers(attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("NodeUnreachable: no node answers at")
    assert terminal.wait() == 3


def test_a_dumb_terminal_gets_a_script_session(
    node: SampleNode, attach: Attach
) -> None:
    terminal = attach(TERM="dumb")
    terminal.type("container_sup.count()\n\x04")
    terminal.read_until("\n42")
    assert terminal.wait() == 0
    assert b"(uno@uno)" not in terminal.raw

"""The interactive console, driven through a real pseudo-terminal."""

from __future__ import annotations

import re
import shutil
import signal
import stat
import sys
import termios
from pathlib import Path

import pytest

from tests.console.conftest import Attach, SampleNode, Serve, environment
from tests.console.terminal import Terminal
from tests.local_node import eventually
from veo_shell.console.client import Client

COLOUR = re.compile(rb"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|[34]8;\d)[;m]")
RED = b"\x1b[0;31"


def test_banner_and_prompt(node: SampleNode, attach: Attach) -> None:
    terminal = attach()
    shown = terminal.read_until("(uno@uno 2/2)1>")
    assert "node uno@uno, cluster test" in shown
    assert "container_sup" in shown
    assert "dns_registry" in shown


def test_the_prompt_tells_how_many_nodes_live(attached: Attach) -> None:
    terminal = attached()
    assert RED not in terminal.raw
    terminal.type("node_monitor.turn('suspect')\r")
    terminal.read_until("(uno@uno 1/2)2>")
    assert RED in terminal.raw
    terminal.type("node_monitor.turn('left')\r")
    terminal.read_until("(uno@uno 1/1)3>")


def test_the_prompt_is_looked_at_again_while_nobody_types(
    attached: Attach, tmp_path: Path
) -> None:
    terminal = attached()
    client = Client(tmp_path)
    client.call("node_monitor.turn", "dead")
    client.close()
    terminal.read_until("1/2")  # only what changed is drawn


def test_a_node_that_does_not_answer_freezes_no_prompt(
    node: SampleNode, attached: Attach
) -> None:
    terminal = attached()
    node.process.send_signal(signal.SIGSTOP)
    terminal.type("6 * 7\r")
    terminal.read_until("(uno@uno ?/2)2>")
    assert RED in terminal.raw
    node.process.send_signal(signal.SIGCONT)
    terminal.type("container_sup.count()\r")
    terminal.read_until("\n42")
    terminal.read_until("(uno@uno 2/2)3>")


def test_call_prints_and_counts_on(attached: Attach) -> None:
    terminal = attached()
    terminal.type("container_sup.count()\r")
    terminal.read_until("\n42")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("_ + 1\r")
    terminal.read_until("\n43")


def test_records_show_as_a_table(node: SampleNode, attached: Attach) -> None:
    terminal = attached()
    terminal.type("container_sup.cloud_containers()\r")
    shown = terminal.read_until("(uno@uno 2/2)2>")
    head = next(line for line in shown.splitlines() if line.startswith("name"))
    assert head.split()[:4] == ["name", "service", "node", "state"]
    assert "49153->80" in shown
    assert b"\x1b[32mrunning" in terminal.raw  # green


def test_no_color_is_respected(attached: Attach) -> None:
    terminal = attached(NO_COLOR="1")
    terminal.type("container_sup.cloud_containers()\r")
    terminal.read_until("(uno@uno 2/2)2>")
    assert not COLOUR.search(terminal.raw)


def test_a_slow_line_gets_little_for_a_key(attached: Attach) -> None:
    """What changes, and neither the line nor the screen again."""
    terminal = attached()
    begun = len(terminal.raw)
    typed = 'container_sup.stop("veo-uno-nginx-abcdef-0-1")'
    for key in typed:
        terminal.type(key)
        terminal.read_until_raw(key.encode())
    terminal.type("\x03")
    terminal.read_until("(uno@uno 2/2)1>")
    assert len(terminal.raw) - begun < 300 * len(typed)


def test_a_flood_on_a_slow_line_ends_at_ctrl_c(attached: Attach) -> None:
    terminal = attached()
    terminal.type("print('of 40 MB' * 5_000_000)\r")
    terminal.read_until_raw(b"of 40 MBof 40 MB")  # and no more: it is full
    terminal.type("\x03")
    assert len(terminal.read_until("(uno@uno 2/2)2>")) < 4_000_000


def test_history_can_be_gone_through(attached: Attach) -> None:
    """What F3 needs is loaded then."""
    terminal = attached()
    terminal.type("'to be ' + 'found'\r")
    terminal.read_until("(uno@uno 2/2)2>")
    for _ in range(2):
        terminal.type("\x1bOR")  # F3
        terminal.read_until("'to be ' + 'found'")
        terminal.read_until("Accept")
        terminal.type("\x03")
        terminal.read_until("(uno@uno 2/2)2>")


def test_ctrl_c_clears_the_input(attached: Attach) -> None:
    terminal = attached()
    terminal.type("1 + garbage")
    terminal.read_until("garbage")
    terminal.type("\x03")
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type("6 * 7\r")
    terminal.read_until("\n42")


SLOW = (
    "import os, time, veo_shell.console.repl as r; r.PythonCompleter.get_completions = "
    "lambda *_: [os.write(1, b'loo' b'king'), time.sleep(1), "
    "os.write(1, b'loo' b'ked')][:0]\r"
)


def is_cooked(terminal: Terminal) -> bool:
    """Tell whether Ctrl-C is a signal now; at the prompt it is a key."""
    return bool(termios.tcgetattr(terminal.master)[3] & termios.ISIG)


def test_a_second_ctrl_c_wedges_nothing(attached: Attach) -> None:
    terminal = attached()
    terminal.type(SLOW)
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("y = [1]; y.")
    terminal.read_until("looking")
    terminal.type("\x03")
    eventually(lambda: is_cooked(terminal), 30)  # it waits for who still looks
    terminal.type("\x03")
    terminal.read_until("looked")
    terminal.type("print('by' + 'time')\r")
    terminal.read_until("bytime")
    terminal.type("os.write(1, b'asl' b'eep') and time.sleep(60)\r")
    terminal.read_until("asleep")
    terminal.type("\x03")
    terminal.read_until("KeyboardInterrupt")
    terminal.type("6 * 7\r")
    terminal.read_until("\n42")


def test_ctrl_c_cancels_the_running_call(node: SampleNode, attached: Attach) -> None:
    terminal = attached()
    terminal.type("kept = 5; container_sup.wait()\r")
    assert node.says() == "waiting"
    terminal.type("\x03")
    assert node.says() == "cancelled"
    shown = terminal.read_until("(uno@uno 2/2)2>")
    assert "KeyboardInterrupt" in shown
    assert "Traceback" not in shown
    terminal.type("kept + container_sup.count()\r")
    terminal.read_until("\n47")


def test_ctrl_c_ends_a_busy_loop(attached: Attach) -> None:
    terminal = attached()
    terminal.type("while not print('spinning'): pass\r\r")
    terminal.read_until("spinning\nspinning")
    terminal.type("\x03")
    terminal.read_until("KeyboardInterrupt")
    terminal.read_until("(uno@uno 2/2)2>")


def test_an_error_of_veo_is_shown_without_a_stack(
    node: SampleNode, attached: Attach
) -> None:
    terminal = attached()
    terminal.type("t, = settings.get_applications()\r")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("container_sup.add_service(t)\r")
    shown = terminal.read_until("(uno@uno 2/2)3>")
    assert "NoSuitableNode: no node fits nginx\n  uno@uno: role is not master" in shown
    assert "Traceback" not in shown


def test_another_error_is_shown_with_the_users_stack(attached: Attach) -> None:
    terminal = attached()
    terminal.type("import json; json.loads('{')\r")
    shown = terminal.read_until("(uno@uno 2/2)2>")
    assert "Traceback" in shown
    assert "JSONDecodeError" in shown
    assert "veo_shell" not in shown
    assert "ptpython" not in shown


def test_ctrl_d_leaves_without_a_question(node: SampleNode, attached: Attach) -> None:
    terminal = attached()
    terminal.type("\x04")
    assert terminal.wait() == 0
    assert node.process.poll() is None


def test_exit_leaves(attached: Attach) -> None:
    terminal = attached()
    terminal.type("exit\r")
    assert terminal.wait() == 0


def test_history_survives_and_is_private(attached: Attach, tmp_path: Path) -> None:
    terminal = attached()
    terminal.type("'remember' + 'ed'\r")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("\x04")
    terminal.wait()
    history = tmp_path / ".veo" / "history"
    assert stat.S_IMODE(history.stat().st_mode) == 0o600
    terminal = attached()
    terminal.type("\x1b[A")  # Up
    terminal.read_until("'remember' + 'ed'")
    terminal.type("\r")
    terminal.read_until("\n'remembered'")


def test_a_history_that_cannot_be_written_any_more_delays_nobody(
    attached: Attach, tmp_path: Path
) -> None:
    terminal = attached()
    shutil.rmtree(tmp_path / ".veo")  # or the disk is full
    terminal.type("6 * 7\r")
    said = terminal.read_until("\n42")
    assert "xception" not in said
    assert "No such file or directory: " in said
    assert ".veo/history': the history is not kept any more" in said
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("\x1b[A\r")  # Up
    assert "not kept" not in terminal.read_until("\n42")


def test_tab_completes_verbs(attached: Attach) -> None:
    terminal = attached()
    terminal.type("container_sup.cou")
    terminal.read_until("\n count")  # the menu
    terminal.type("\t()\r")
    terminal.read_until("\n42")


def test_a_node_that_restarts_is_reached_again(
    node: SampleNode, attached: Attach, serve: Serve, tmp_path: Path
) -> None:
    terminal = attached()
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


REMOVE = "container_sup.remove_service('nginx')\r"


def test_what_takes_something_away_is_asked_about_once(attached: Attach) -> None:
    terminal = attached()
    terminal.type(REMOVE)
    terminal.read_until(
        "container_sup.remove_service('nginx') takes something away: go on?"
    )
    terminal.type("\r")
    terminal.read_until("NotConfirmed: nothing was done")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type(REMOVE)
    terminal.read_until("[y/N] ")
    terminal.type("y\r")
    terminal.read_until("'nginx removed'")


@pytest.mark.parametrize(
    ("key", "said"),
    [("\x03", "\nKeyboardInterrupt\n"), ("\x04", "\nNotConfirmed: nothing was done\n")],
)
def test_a_question_left_open_ends_its_line(
    attached: Attach, key: str, said: str
) -> None:
    terminal = attached()
    terminal.type(REMOVE)
    terminal.read_until("[y/N] ")
    terminal.type(key)
    terminal.read_until(said)
    terminal.read_until("(uno@uno 2/2)2>")
    assert b"\rKeyboard" not in terminal.raw.replace(b"\n\rK", b"").replace(
        b"\r\r", b""
    )


def test_a_question_of_one_line_of_code_ends_its_line(
    node: SampleNode, tmp_path: Path
) -> None:
    argv = [sys.executable, "-m", "veo_shell", "attach", "--run-dir", str(tmp_path)]
    code = ["-c", "container_sup.remove_service('nginx')"]
    terminal = Terminal([*argv, *code], environment(tmp_path, TERM="xterm"), (24, 100))
    try:
        terminal.read_until("[y/N] ")
        terminal.type("\x03")
        terminal.read_until("^C\nKeyboardInterrupt\n")
        assert terminal.wait() == 130
    finally:
        terminal.close()


def test_half_a_line_is_kept_at_ctrl_c(node: SampleNode, attached: Attach) -> None:
    terminal = attached()
    terminal.type("print('ha' + 'lf', end='', flush=True); container_sup.wait()\r")
    terminal.read_until("half")
    assert node.says() == "waiting"
    terminal.type("\x03")
    terminal.read_until("^C\nKeyboardInterrupt\n")


def test_who_is_sure_is_not_asked(attached: Attach) -> None:
    terminal = attached("is_sure=True")
    terminal.type(REMOVE)
    assert "[y/N]" not in terminal.read_until("\n'nginx removed'")


def test_a_read_only_session_says_so(node: SampleNode, attach: Attach) -> None:
    terminal = attach("session={'id': 'a1', 'read_only': True}")
    terminal.read_until("This session is read-only: it can change nothing.")
    terminal.read_until("(uno@uno 2/2)1>")
    terminal.type(REMOVE)
    terminal.read_until("ReadOnly: container_sup.remove_service changes something")


def test_no_node_answers(attach: Attach) -> None:
    terminal = attach()
    terminal.read_until("NodeUnreachable: no node answers at")
    assert terminal.wait() == 3


def test_a_dumb_terminal_gets_a_script_session(
    node: SampleNode, attach: Attach
) -> None:
    terminal = attach(TERM="dumb")
    terminal.read_until("TERM=dumb: no console there; what is typed is run as a script")
    terminal.type("container_sup.count()\n\x04")
    terminal.read_until("\n42")
    assert terminal.wait() == 0
    assert b"(uno@uno)" not in terminal.raw


def test_tab_offers_what_is_there_now(attached: Attach) -> None:
    terminal = attached()
    terminal.type("container_sup.add_service(")
    terminal.read_until("nginx nginx:latest host")  # of the file
    terminal.type("\t")
    terminal.read_until("settings.get_applications()[0]")
    terminal.type("\x15why(veo-uno-nginx-abcdef-1")
    terminal.read_until("\n veo-uno-nginx-abcdef-1-1")  # the menu
    terminal.type("\t)[0].text\r")
    terminal.read_until("\n'veo-uno-nginx-abcdef-1-1: added'")


def test_how_a_verb_is_called_is_shown(attached: Attach) -> None:
    terminal = attached()
    terminal.type("container_sup.add_service(")
    terminal.read_until("service: Service")
    terminal.read_until("Start one instance of a service somewhere.")


def test_what_was_answered_is_kept(attached: Attach) -> None:
    terminal = attached()
    terminal.type("6 * 7\r")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("print()\r")  # answers nothing
    terminal.read_until("(uno@uno 2/2)3>")
    terminal.type("_ + _1 + Out[1]\r")
    terminal.read_until("\n126")


def test_lines_that_are_pasted_are_one_input(attached: Attach) -> None:
    terminal = attached()
    pasted = "def f(x):\n    y = x\n\n    return y * 2\n\nf(21)"
    terminal.type(f"\x1b[200~{pasted}\x1b[201~")
    terminal.read_until("f(21)")
    terminal.type("\x1b\r")  # Alt-Enter
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type("f(21)\r")
    terminal.read_until("\n42")


@pytest.mark.parametrize("key", ["\x10", "\x1bp", "\x1b[1;5A"])  # Ctrl-P Alt-P Ctrl-Up
def test_keys_for_what_was_typed_before(attached: Attach, key: str) -> None:
    terminal = attached()
    terminal.type("'typed' + 'before'\r")
    terminal.read_until("(uno@uno 2/2)2>")
    terminal.type(key)
    terminal.read_until("'typed' + 'before'")
    terminal.type("\r")
    terminal.read_until("\n'typedbefore'")


def config(home: Path, text: str) -> None:
    file = home / ".config" / "ptpython" / "config.py"
    file.parent.mkdir(parents=True)
    file.write_text(text)


def test_ptpythons_own_configuration_counts(
    node: SampleNode, attach: Attach, tmp_path: Path
) -> None:
    config(
        tmp_path,
        "def configure(repl):\n"
        "    repl.vi_mode = True\n"
        "    repl.prompt_style = 'classic'\n",
    )
    terminal = attach()
    terminal.read_until("(uno@uno 2/2)1>")  # which node it is has to be seen
    terminal.type("11 + 30\x1b0ia")  # vi's: to the beginning, insert
    terminal.read_until("a11 + 30")


def test_a_configuration_that_fails_is_one_line(
    node: SampleNode, attach: Attach, tmp_path: Path
) -> None:
    config(tmp_path, "def configure(repl):\n    repl.nothing()\n")
    terminal = attach()
    shown = terminal.read_until("(uno@uno 2/2)1>")
    said = [line for line in shown.splitlines() if "config.py" in line]
    assert len(said) == 1
    assert "ptpython/config.py: AttributeError: 'Repl' object has no" in said[0]
    assert "Traceback" not in shown

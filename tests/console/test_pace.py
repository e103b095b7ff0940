"""How fast a console prints on a terminal."""

from __future__ import annotations

import time

import pytest

from tests.console.conftest import Attach
from veo_shell.console.pace import BREATH_S, BURST_LETTERS, LETTERS_PER_S, Pace


def test_a_large_table_goes_out_at_once() -> None:
    assert Pace(0.0).wait_s(int(BURST_LETTERS), now_s=0.0) == 0


def test_who_printed_little_for_a_while_may_print_much_again() -> None:
    begun = Pace(0.0)
    assert begun.wait_s(int(2 * BURST_LETTERS), now_s=0.0) > 0
    assert begun.wait_s(int(BURST_LETTERS), now_s=60.0) == 0
    assert begun.wait_s(1, now_s=60.0) > 0, "but saves up no more than that"


def test_a_loop_that_prints_keeps_the_pace_and_waits_seldom() -> None:
    now_s, printed, waits, begun = 0.0, 0, 0, Pace(0.0)
    while now_s < 10:
        printed += 80
        wait_s = begun.wait_s(80, now_s)
        waits += wait_s > 0
        now_s += wait_s + 1e-6  # what printing takes
    assert printed == pytest.approx(BURST_LETTERS + 10 * LETTERS_PER_S, rel=0.02)
    assert waits <= 10 / BREATH_S


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_console_that_prints_without_end_keeps_the_pace(
    attached: Attach, stream: str
) -> None:
    terminal = attached()
    begun_s = time.monotonic()
    printing = (
        f"import sys; [print('x' * 78, file=sys.{stream}) for _ in range(25_000)]"
    )
    terminal.type(f"{printing}.clear()\r")
    terminal.read_until("(uno@uno 2/2)2>")
    owed_s = (25_000 * 79 - BURST_LETTERS) / LETTERS_PER_S
    assert time.monotonic() - begun_s > owed_s


def test_ctrl_c_ends_it_while_it_waits(attached: Attach) -> None:
    terminal = attached()
    terminal.type("print('x' * 3_000_000)\r")  # a wait of two seconds
    terminal.read_until("x" * 3000)
    terminal.type("\x03")
    terminal.read_until("KeyboardInterrupt")
    terminal.type("6 * 7\r")
    terminal.read_until("\n42")

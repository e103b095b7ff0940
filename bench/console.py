"""A person at the console: how long until the prompt, until a key is on the screen.

On a pseudo-terminal of 80x24, at a node that has 1,000 containers, each of which is
offered at some of the keys.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.console_node import CONTAINERS, node
from bench.report import ratio, spread, tail
from tests.console.terminal import Terminal

TYPED = (
    'container_sup.stop("veo-n7-web7-000007-3-1")',
    "container_sup.scale(name='web12', replicas=3)",
    "node_monitor.drain(n7@host7, ",
    "[c.name for c in container_sup.cloud_containers() if c.restarts]",
    "container_sup.cloud_containers()[0].address, len(_)",
)
EVERY_S = 0.05
"""A fast typist's keys."""
SETTLE_S = 1.0
SIZE = 24, 80
BARE = "input('ready> ')"
PLAIN = (
    "from prompt_toolkit import PromptSession as P; p = P('> ')\nwhile 1: p.prompt()"
)


def bench(rounds: int) -> None:
    """Measure and print."""
    with served() as run_dir:
        ready, bare = [], []
        keys_ms: list[float] = []
        plain_ms: list[float] = []
        for _ in range(rounds):
            bare.append(until_s([sys.executable, "-c", BARE], run_dir, "ready> "))
            ready.append(until_s(attach(run_dir), run_dir, f"({node(0)} 20/20)1>"))
        plain = [sys.executable, "-c", PLAIN]
        with (
            terminal(attach(run_dir), run_dir) as console,
            terminal(plain, run_dir) as other,
        ):
            console.read_until("20/20)1>")
            other.read_until(">")
            time.sleep(SETTLE_S)
            for _ in range(rounds):
                for line in TYPED:
                    keys_ms += typed(console, line)
                    plain_ms += typed(other, line)
    spread("veo attach until the prompt", ready, aim="≤ 0.4 s")
    spread("python until input() asks", bare)
    ratio("python until input() asks", ready, bare)
    tail(f"key on the screen, {CONTAINERS} containers", keys_ms, "ms", aim="p99 ≤ 16")
    tail("  at a plain prompt of prompt_toolkit", plain_ms, "ms")


@contextlib.contextmanager
def served() -> Iterator[Path]:
    """Have a node with many containers; its run directory is a home, too."""
    with tempfile.TemporaryDirectory(prefix="veo-bench-") as folder:
        argv = [sys.executable, "-m", "bench.console_node", folder]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            process.stdout.readline()
            try:
                yield Path(folder)
            finally:
                process.kill()


def attach(run_dir: Path) -> list[str]:
    """Return the command of a console."""
    return [sys.executable, "-m", "veo_shell", "attach", "--run-dir", str(run_dir)]


@contextlib.contextmanager
def terminal(argv: list[str], home: Path) -> Iterator[Terminal]:
    """Run something on a terminal of its own."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm-256color",
        "PROMPT_TOOLKIT_NO_CPR": "1",
    }
    made = Terminal(argv, env, SIZE)
    try:
        yield made
    finally:
        made.close()


def until_s(argv: list[str], home: Path, prompt: str) -> float:
    """Return the seconds until a program asks."""
    begun = time.perf_counter()
    with terminal(argv, home) as console:
        console.read_until(prompt)
        return time.perf_counter() - begun


def typed(console: Terminal, line: str) -> Iterator[float]:
    """Type a line and take it back; yield the milliseconds until each key is seen."""
    for key in line:
        console.drain()
        begun = time.perf_counter()
        console.type(key)
        if key != " ":  # that one may be drawn by moving the cursor
            console.read_until_raw(key.encode())
            yield (time.perf_counter() - begun) * 1000
        time.sleep(EVERY_S)
    console.type("\x15")  # Ctrl-U
    time.sleep(SETTLE_S)

"""A console that is busy without end: does its node notice?

One node; its DNS and the loop that sends its heartbeats are asked in turn while the
console is at its prompt, and while it runs or prints for ever.
"""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import time
from collections.abc import Iterator

import dns.message
import dns.query
import msgspec
import zmq

from bench.console import attach, terminal
from bench.report import spread
from scripts.demo import ADDRESSES, Demo, stage
from tests.console.terminal import Terminal

SPINNING = "while True: pass\r\r"
PRINTING = "while True: print('x' * 78)\r\r"
PHASE_S = 2.0
SETTLE_S = 0.3
AIM = "0.90–1.10"


def bench(rounds: int) -> None:
    """Measure and print."""
    with stage() as (demo, _):
        demo.start("uno")
        run_dir = demo.folder / "uno" / "run"
        with terminal(attach(run_dir), demo.folder) as console:
            console.read_until(")1>")
            with swallowed(console):
                for what, typed in (("spins", SPINNING), ("prints", PRINTING)):
                    compare(demo, console, what, typed, rounds)


def compare(demo: Demo, console: Terminal, what: str, typed: str, rounds: int) -> None:
    """Measure by turns while a console is quiet and while it is not."""
    ratios: dict[str, list[float]] = {"DNS answer": [], "turn of the loop": []}
    for _ in range(rounds):
        quiet = latencies_ms(demo)
        console.type(typed)
        time.sleep(SETTLE_S)
        busy = latencies_ms(demo)
        console.type("\x03")
        time.sleep(SETTLE_S)
        for name, ratio in zip(ratios, map(_ratio, busy, quiet), strict=True):
            ratios[name].append(ratio)
    for name, found in ratios.items():
        spread(f"console {what} for ever: {name}, busy to quiet", found, "", aim=AIM)


def _ratio(busy: float, quiet: float) -> float:
    return busy / quiet


@contextlib.contextmanager
def swallowed(console: Terminal) -> Iterator[None]:
    """Have a terminal that takes all that is printed, as fast as it comes."""
    with subprocess.Popen(
        ["cat"], stdin=console.master, stdout=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


def latencies_ms(demo: Demo) -> tuple[float, float]:
    """Return the medians of a DNS answer's time, and of a turn of the node's loop.

    What sends its heartbeats takes its turn as the question does.
    """
    answered, turned = [], []
    query = dns.message.make_query("nothing.veo.", "A")
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    with context, context.socket(zmq.DEALER) as line:
        line.linger = 0
        line.connect(f"ipc://{demo.folder / 'uno' / 'run' / 'control.sock'}")
        end_s = time.monotonic() + PHASE_S
        while time.monotonic() < end_s:
            begun = time.perf_counter()
            dns.query.udp(query, ADDRESSES["uno"], timeout=2, port=demo.dns_port)
            answered.append((time.perf_counter() - begun) * 1000)
            begun = time.perf_counter()
            line.send(msgspec.msgpack.encode(["ping", 1]))
            line.recv()
            turned.append((time.perf_counter() - begun) * 1000)
            time.sleep(0.005)
    return statistics.median(answered), statistics.median(turned)

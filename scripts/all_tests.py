"""Every test, in two runs at once, and the coverage of both.

    python -m scripts.all_tests

What keeps no time of its own runs beside what does: real nodes, engines and hosts,
which mostly wait. It takes what they leave of the processors, and is told at the end.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
BESIDE = ("tests/core", "tests/sim", "tests/console", "tests/test_cli.py")
NICENESS = 10
# Each part measures for itself, and only both together have to cover enough.
PYTEST = [
    *(sys.executable, "-m", "pytest", "--cov", "--cov-report=", "--cov-fail-under=0"),
    *("-p", "no:cacheprovider"),
]


def main() -> int:
    """Run the parts, then tell what they covered; return the exit status."""
    coverage("erase")
    others = [f"--ignore={path}" for path in BESIDE]
    with tempfile.TemporaryFile() as told:
        niced = ["nice", "-n", str(NICENESS), *PYTEST]
        beside = begin("beside", "127.0.6", [*niced, *BESIDE], told.fileno())
        first = begin("first", "127.0.5", [*PYTEST, "tests", *others])
        pass_signals_on(beside, first)
        statuses = [first.wait(), beside.wait()]
        told.seek(0)
        sys.stdout.write(told.read().decode(errors="replace"))
        sys.stdout.flush()
    combined = coverage("combine", "--quiet")
    covered = combined or coverage("report", "--skip-covered")
    return next((status for status in [*statuses, covered] if status), 0)


def begin(
    name: str, network: str, argv: list[str], output: int | None = None
) -> subprocess.Popen[bytes]:
    """Have a part run on addresses, and measure into a file, of its own."""
    variables = {
        "COVERAGE_FILE": str(ROOT / f".coverage.{name}"),
        "TEST_NETWORK": network,
    }
    return subprocess.Popen(
        argv, cwd=ROOT, env={**os.environ, **variables}, stdout=output, stderr=output
    )


def pass_signals_on(*children: subprocess.Popen[bytes]) -> None:
    """Have the parts end when this is told to; a terminal tells them Ctrl-C itself."""

    def pass_on(number: int, frame: FrameType | None) -> None:
        for child in children:
            child.send_signal(number)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, pass_on)


def coverage(*argv: str) -> int:
    """Run `coverage`; return its exit status."""
    command = [sys.executable, "-m", "coverage", *argv]
    return subprocess.run(command, cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())

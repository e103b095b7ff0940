"""Many histories, on all cores: each chunk of seeds in a process of its own."""

from __future__ import annotations

import itertools
import os
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import attrs

ROOT = Path(__file__).parents[2]
CHUNK = 8


@attrs.frozen(kw_only=True)
class Chunk:
    """What came of some histories; `failed` is the seed of one that did not hold."""

    held: int
    failed: str = ""
    told: str = ""


def fresh() -> str:
    """Return a seed that nobody has seen."""
    return secrets.token_hex(4)


def chunks(seeds: Iterable[str], size: int = CHUNK) -> Iterator[list[str]]:
    """Yield seeds, some at a time."""
    chunk: list[str] = []
    for seed in seeds:
        chunk.append(seed)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def run(seeds: Sequence[str], mutant: str = "") -> Chunk:
    """Run histories until one fails, with a fault planted or none."""
    options = ["--mutant", mutant] if mutant else []
    command = [sys.executable, "-m", "tests.sim", *options, *seeds]
    done = subprocess.run(
        command, cwd=ROOT, env=_environment(), capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    if done.returncode == 0:
        return Chunk(held=len(lines))
    if done.returncode != 1 or not lines or done.stderr:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr}")
    told = lines[-1]
    return Chunk(held=len(lines) - 1, failed=told.partition(":")[0], told=told)


def run_all(seeds: Iterable[str]) -> Iterator[Chunk]:
    """Run histories on all cores and yield what comes of them, until one fails."""
    workers = os.cpu_count() or 1
    waiting = chunks(seeds)
    with ThreadPoolExecutor(workers) as pool:
        running = {pool.submit(run, c) for c in itertools.islice(waiting, workers)}
        failed = False
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                failed = failed or bool(future.result().failed)
                if not failed and (chunk := next(waiting, None)):
                    running.add(pool.submit(run, chunk))
                yield future.result()


def replay(seed: str) -> str:
    """Return the command that replays a history."""
    return f".venv/bin/python -m tests.sim {seed} --trace"


def journal(seed: str) -> str:
    """Return all that happened in a history."""
    command = [sys.executable, "-m", "tests.sim", seed, "--trace"]
    done = subprocess.run(
        command, cwd=ROOT, env=_environment(), capture_output=True, text=True
    )
    return done.stdout


def _environment() -> dict[str, str]:
    """Return ours without what has processes measure which lines they run: too slow."""
    return {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE")}

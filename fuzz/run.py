"""Look for bytes that do harm, by which code they reach (libFuzzer, through atheris).

    python -m fuzz.run TARGET SECONDS

What leads anywhere is kept in `.fuzz/TARGET/`. What did harm is in `.fuzz/`, in a file
that the last line names: `python -m fuzz.run TARGET FILE` does it again.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["veo_shell"]):
    from fuzz.targets import seeds, targets

FOLDER = Path(__file__).resolve().parents[1] / ".fuzz"
MOST_MIB = 1024


def main() -> None:
    """Run until the time is over, or something was found."""
    target, rest = sys.argv[1], sys.argv[2]
    logging.disable()
    loop = asyncio.new_event_loop()
    corpus = FOLDER / target
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()[target]):
        (corpus / f"seed{number}").write_bytes(seed)
    limit = [f"-max_total_time={rest}", str(corpus)] if rest.isdigit() else [rest]
    options = [f"-rss_limit_mb={MOST_MIB}", "-timeout=5", "-max_len=5000"]
    where = f"-artifact_prefix={FOLDER}/"
    atheris.Setup([sys.argv[0], *options, where, *limit], targets(loop)[target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()

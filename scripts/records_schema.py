"""The schema of what `--json` prints: `python -m scripts.records_schema` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from veo_shell.console.execute import Executed
from veo_shell.core import model
from veo_shell.core.logs import LogLine
from veo_shell.core.planned import Applied, Plan

FILE = Path(__file__).parents[1] / "docs" / "records.schema.json"
RECORDS: tuple[type, ...] = (
    model.Added,
    model.Candidate,
    model.Container,
    model.DnsAgreement,
    model.DnsPlace,
    model.DnsTraffic,
    model.DnsRecord,
    model.Event,
    model.ImagePull,
    model.InstanceHealth,
    model.JournalEntry,
    model.Loss,
    model.NodeEntry,
    model.NodeInfo,
    model.NodeLink,
    model.NodeRoom,
    model.Resources,
    model.Service,
    model.StandingService,
    model.Written,
    Applied,
    Executed,
    LogLine,
    Plan,
)
"""What verbs return; what these hold is in the schema too."""


def schema() -> dict[str, Any]:
    """Return the schema of each record, by its name."""
    _, components = msgspec.json.schema_components(RECORDS)
    for component in components.values():
        component.pop("description", None)
    return {"$defs": components}


def main() -> None:
    """Write the file anew."""
    encoded = msgspec.json.encode(schema(), order="sorted")
    FILE.write_bytes(msgspec.json.format(encoded, indent=1) + b"\n")


if __name__ == "__main__":
    main()

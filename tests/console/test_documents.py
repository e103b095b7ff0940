"""Values as JSON: what programs may rely on."""

from __future__ import annotations

import msgspec

from scripts import records_schema
from tests.console.sample_node import container
from veo_shell.console.documents import document
from veo_shell.console.linked import NodeName


def test_the_schema_of_records_stays_what_it_is() -> None:
    told = msgspec.json.decode(records_schema.FILE.read_bytes())
    wanted = msgspec.json.decode(msgspec.json.encode(records_schema.schema()))
    hint = "fields may come, none may change or go: python -m scripts.records_schema"
    assert told == wanted, hint


def test_a_document_has_the_fields_of_the_schema() -> None:
    told = msgspec.json.decode(document(container(0)))
    described = records_schema.schema()["$defs"]["Container"]
    assert told.keys() == described["properties"].keys()
    assert told["state"] == "running"


def test_a_text_that_leads_on_is_a_text() -> None:
    assert document([NodeName("uno@uno")]) == '["uno@uno"]'
    assert document({NodeName("uno@uno"): 1}) == '{"uno@uno":1}'

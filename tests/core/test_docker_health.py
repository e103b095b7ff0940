"""Health checks: what Docker is given for each, and what its documents say of them."""

from __future__ import annotations

from typing import Any

import pytest

from veo_shell.core.docker_health import (
    from_payload,
    health_from,
    health_in,
    health_of,
    last_output,
    to_payload,
)
from veo_shell.core.model import Health, HealthCheck, HealthKind, InstanceHealth

S = 1_000_000_000
LINE = "wget -qO- http://127.0.0.1/"
OF_IMAGE = {"Test": ["CMD", "image"], "Interval": 7 * S, "Timeout": S, "Retries": 9}
CHECKS: list[tuple[HealthCheck, dict[str, Any]]] = [
    (HealthCheck(kind=HealthKind.CMD, cmd=("a", "b")), {"Test": ["CMD", "a", "b"]}),
    (
        HealthCheck(
            kind=HealthKind.SHELL,
            cmd=(LINE,),
            interval_ns=5 * S,
            timeout_ns=2 * S,
            start_period_ns=S,
            retries=3,
        ),
        {
            "Test": ["CMD-SHELL", LINE],
            "Interval": 5 * S,
            "Timeout": 2 * S,
            "StartPeriod": S,
            "Retries": 3,
        },
    ),
    (HealthCheck(kind=HealthKind.NONE), {"Test": ["NONE"]}),
    (HealthCheck(kind=HealthKind.INHERIT, interval_ns=S), {"Interval": S}),
    (HealthCheck(kind=HealthKind.INHERIT), {}),
]


@pytest.mark.parametrize(
    ("check", "payload"), CHECKS, ids=["cmd", "shell", "none", "inherit", "as it is"]
)
def test_a_check_is_written_and_read_back(
    check: HealthCheck, payload: dict[str, Any]
) -> None:
    assert to_payload(check) == payload
    assert from_payload(payload, check) == check
    # Docker fills in what the image says.
    assert from_payload({**OF_IMAGE, **payload}, check) == check


def test_what_means_nothing_to_docker_is_not_told_to_it() -> None:
    assert to_payload(HealthCheck(kind=HealthKind.NONE, interval_ns=S)) == {
        "Test": ["NONE"]
    }


def test_the_check_of_the_image_is_not_the_services() -> None:
    assert from_payload(OF_IMAGE, None) is None


def test_what_docker_reports_is_what_is_read() -> None:
    asked = HealthCheck(kind=HealthKind.CMD, cmd=("a",), interval_ns=S, retries=1)
    read = HealthCheck(
        kind=HealthKind.CMD, cmd=("image",), interval_ns=7 * S, retries=9
    )
    assert from_payload(OF_IMAGE, asked) == read
    assert from_payload({}, asked) == HealthCheck(kind=HealthKind.INHERIT)


def document(status: str = "unhealthy", *log: dict[str, Any]) -> dict[str, Any]:
    health = {"Status": status, "FailingStreak": len(log), "Log": list(log)}
    return {"State": {"Health": health}}


def test_the_health_of_a_container_is_read() -> None:
    assert health_from("healthy") is Health.HEALTHY
    assert health_from("splendid") is Health.NONE
    assert health_in(document("starting")) is Health.STARTING
    assert health_in({}) is Health.NONE


@pytest.mark.parametrize(
    ("check", "told"),
    [
        ({"ExitCode": 1, "Output": "curl: (7)\n  no\x1b[1m answer\n"},
         "curl: (7) no\\x1b[1m answer"),
        ({"ExitCode": 2, "Output": "\n"}, "its check ended with exit code 2"),
        ({"ExitCode": 0, "Output": ""}, ""),
        ({"ExitCode": 1, "Output": "x" * 300}, "x" * 199 + "…"),
    ],
    ids=["said", "said nothing", "content", "long"],
)  # fmt: skip
def test_what_a_check_said_is_told_on_one_line(
    check: dict[str, Any], told: str
) -> None:
    assert last_output(document("unhealthy", {"Output": "before"}, check)) == told


def test_without_a_check_nothing_was_said() -> None:
    assert last_output({}) == last_output(document()) == ""


def test_all_that_docker_keeps_is_told() -> None:
    log = [{"Output": "one"}, {"Output": "two"}]
    assert health_of(document("unhealthy", *log), "web-0", "uno@uno", 3.0) == (
        InstanceHealth(
            name="web-0",
            node="uno@uno",
            health=Health.UNHEALTHY,
            since_s=3.0,
            failing=2,
            outputs=("one", "two"),
        )
    )
    assert health_of({}, "web-0", "uno@uno", 0.0).health is Health.NONE

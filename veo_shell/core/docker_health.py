"""Health checks <-> Docker's `Healthcheck` and `State.Health`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from veo_shell.core.model import Health, HealthCheck, HealthKind, InstanceHealth
from veo_shell.core.printable import printable

OUTPUT_MOST = 200
_NUMBERS = {
    "interval_ns": "Interval",
    "timeout_ns": "Timeout",
    "start_period_ns": "StartPeriod",
    "retries": "Retries",
}


def to_payload(check: HealthCheck) -> dict[str, Any]:
    """Return the `Healthcheck` of a container; {} for the image's own as it is."""
    if check.kind is HealthKind.NONE:
        return {"Test": ["NONE"]}
    numbers = {docker: getattr(check, ours) for ours, docker in _NUMBERS.items()}
    given: dict[str, Any] = {name: value for name, value in numbers.items() if value}
    # Without a test the image's own is run, at these intervals.
    if check.kind is HealthKind.INHERIT:
        return given
    shell = check.kind is HealthKind.SHELL
    words = [" ".join(check.cmd)] if shell else list(check.cmd)
    return {"Test": [check.kind.value, *words], **given}


def from_payload(
    reported: Mapping[str, Any], asked: HealthCheck | None
) -> HealthCheck | None:
    """Return the check with what Docker reports of it.

    Docker fills in what the image says where nothing was: what that is tells `asked`.
    """
    if asked is None:
        return None
    kind, *words = reported.get("Test") or [HealthKind.INHERIT.value]
    if asked.kind is HealthKind.INHERIT:
        kind, words = asked.kind.value, []
    numbers = {
        ours: reported.get(docker) or 0
        for ours, docker in _NUMBERS.items()
        if getattr(asked, ours) and asked.kind is not HealthKind.NONE
    }
    return HealthCheck(kind=HealthKind(kind), cmd=tuple(words), **numbers)


def health_in(inspect: Mapping[str, Any]) -> Health:
    """Return the health of a container."""
    return health_from(_state(inspect).get("Status", ""))


def health_from(status: str) -> Health:
    """Read Docker's word for a container's health; NONE for one that is new to us."""
    try:
        return Health(status)
    except ValueError:
        return Health.NONE


def health_of(
    inspect: Mapping[str, Any], name: str, node: str, since_s: float
) -> InstanceHealth:
    """Return what Docker keeps of a container's health check."""
    state = _state(inspect)
    return InstanceHealth(
        name=name,
        node=node,
        health=health_in(inspect),
        since_s=since_s,
        failing=state.get("FailingStreak") or 0,
        outputs=tuple(map(_output, state.get("Log") or ())),
    )


def last_output(inspect: Mapping[str, Any]) -> str:
    """Return on one line what a container's health check said last, "" for nothing."""
    log = _state(inspect).get("Log") or ()
    return _output(log[-1]) if log else ""


def _state(inspect: Mapping[str, Any]) -> Mapping[str, Any]:
    state: Mapping[str, Any] = (inspect.get("State") or {}).get("Health") or {}
    return state


def _output(check: Mapping[str, Any]) -> str:
    said = printable(" ".join((check.get("Output") or "").split()))
    if not said and (code := check.get("ExitCode")):
        return f"its check ended with exit code {code}"
    return said if len(said) <= OUTPUT_MOST else f"{said[: OUTPUT_MOST - 1]}…"

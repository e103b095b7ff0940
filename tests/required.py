"""Where VEO_REQUIRE_DOCKER is set, a skipped test that needs Docker is a failed one.

Without it such tests are skipped on a machine where they cannot run.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

# Fixture -> marker: who asks for an engine is marked as needing it.
MARKERS = {"docker_url": "docker", "rig": "rig"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that use an engine or the rig."""
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            if fixture in MARKERS:
                item.add_marker(MARKERS[fixture])


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the skip of a test that has to run into a failure."""
    report = yield
    needed = any(item.get_closest_marker(name) for name in MARKERS.values())
    expected_to_fail = hasattr(report, "wasxfail")
    if report.skipped and needed and is_required() and not expected_to_fail:
        report.outcome = "failed"
        report.longrepr = f"has to run here, but was skipped: {reason_of(report)}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the skip of a whole file into a failure: what is in it is not known."""
    report = yield
    if report.skipped and is_required():
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid}: a file may not be skipped as a whole"
    return report


def is_required() -> bool:
    """Tell whether every test has to run."""
    return os.environ.get("VEO_REQUIRE_DOCKER", "") not in ("", "0")


def reason_of(report: pytest.TestReport) -> str:
    """Return what the skip gave as its reason."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else ""

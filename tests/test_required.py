"""A skipped test that needs Docker fails where Docker is required."""

from __future__ import annotations

import pytest

FILE = """
    import pytest

    @pytest.fixture
    def docker_url():
        pytest.skip("no engine")

    def test_with_engine(docker_url):
        pass

    @pytest.mark.rig
    def test_with_rig():
        pytest.skip("no root")

    @pytest.mark.docker
    @pytest.mark.xfail
    def test_known():
        assert False

    def test_other():
        pytest.skip("for a reason of its own")
"""
ARGUMENTS = ("-p", "tests.required", "-p", "no:asyncio", "-p", "no:cacheprovider")


@pytest.fixture
def run(pytester: pytest.Pytester) -> pytest.Pytester:
    """Have a folder with a test file that skips."""
    pytester.makepyfile(FILE)
    pytester.makeini("[pytest]\nmarkers =\n    docker\n    rig\n")
    return pytester


def test_skips_are_skips_without_the_demand(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("VEO_REQUIRE_DOCKER", raising=False)
    run.runpytest(*ARGUMENTS).assert_outcomes(skipped=3, xfailed=1)


def test_skips_of_what_needs_docker_fail_where_it_is_required(
    run: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEO_REQUIRE_DOCKER", "1")
    result = run.runpytest(*ARGUMENTS)
    result.assert_outcomes(errors=1, failed=1, skipped=1, xfailed=1)
    result.stdout.fnmatch_lines(["*has to run here, but was skipped: *no engine*"])


def test_a_file_skipped_as_a_whole_fails_where_docker_is_required(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VEO_REQUIRE_DOCKER", "1")
    pytester.makepyfile("import pytest; pytest.importorskip('no_such_module')")
    result = pytester.runpytest(*ARGUMENTS)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*a file may not be skipped as a whole*"])

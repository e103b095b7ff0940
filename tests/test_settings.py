"""The word `settings`: which file it reads, what it answers, what is told."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import veo_shell
from veo_shell import settings
from veo_shell.core.model import NodeEntry, Port, Restart, Service
from veo_shell.errors import ConfigError

EXAMPLE = Path(veo_shell.__file__).parents[1] / "examples" / "cluster.yml"
TEXT = """
nodes: [{node: uno@uno, role: master}, {node: dos@dos}]
services:
  web: {image: one}
  db: {image: two}
  web: {image: three}
"""


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cluster.yml in an empty current directory; nothing in the environment."""
    monkeypatch.delenv("VEO_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cluster.yml"
    path.write_text(TEXT)
    return path


def told(path: str | os.PathLike[str] | None = None) -> str:
    with pytest.raises(ConfigError) as error:
        settings.get_applications(path)
    [problem] = error.value.problems
    return problem


def test_the_example_is_what_the_walkthrough_needs() -> None:
    h, t = settings.get_applications(EXAMPLE)
    assert (h.name, h.network_mode, h.ports, h.privileged) == (
        "nginx", "host", (), False,
    )  # fmt: skip
    assert (t.name, t.network_mode, t.privileged) == ("nginx", "bridge", False)
    assert t.ports == (Port(name="website", container_port=80),)
    for service in (h, t):
        assert (service.image, service.restart, service.roles) == (
            "nginx:latest", Restart.ON_FAILURE, ("master",),
        )  # fmt: skip
    assert settings.get_nodes(EXAMPLE) == (
        NodeEntry(node="uno@uno", role="master"),
        NodeEntry(node="dos@dos", role="master"),
    )


FILES = "services: {{web: {{image: x, files: [{{target: /x, source: {0}}}]}}}}"


def test_the_files_of_a_service_are_read_beside_its_own(
    file: Path, tmp_path: Path
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "x.conf").write_text("a = ä\n")
    (tmp_path / "etc" / "cluster.yml").write_text(FILES.format("./x.conf"))
    [service] = settings.get_applications(tmp_path / "etc" / "cluster.yml")
    assert [f.content for f in service.files] == ["a = ä\n"]
    spec = {"image": "x", "files": [{"target": "/x", "source": "etc/x.conf"}]}
    assert settings.parse_service({"web": spec}).files == service.files


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        (b"\xff", "is not text in UTF-8"),
        (b"a\0", "is not text: it has a NUL in it"),
        (b"x" * 2**18, "take 131073 bytes together, at most 131072 are taken"),
    ],
    ids=["missing", "not UTF-8", "NUL", "large"],
)
def test_what_cannot_be_put_into_a_container_is_told(
    file: Path, content: bytes | None, said: str
) -> None:
    file.write_text(FILES.format("x.conf"))
    if content is not None:
        (file.parent / "x.conf").write_bytes(content)
    [problem] = settings.check(file)
    assert said in problem
    assert problem.startswith(f"{file}:1: services.web.files")


def test_services_keep_the_files_order(file: Path) -> None:
    images = [service.image for service in settings.get_applications(str(file))]
    assert images == ["one", "two", "three"]


def test_a_name_may_mean_several_services(file: Path) -> None:
    found = settings.get_application(file, "web")
    assert [service.image for service in found] == ["one", "three"]
    assert settings.get_application(file, "mail") == ()


def test_a_role_is_the_nodes_or_none(file: Path) -> None:
    assert settings.get_role("uno@uno", file) == "master"
    assert settings.get_role("dos@dos", file) is None
    assert settings.get_role("tres@tres") is None


def test_plain_data_is_a_service() -> None:
    assert settings.parse_service({"web": {"image": "x"}}) == Service(
        name="web", image="x"
    )


def test_check_lists_what_is_wrong(file: Path) -> None:
    assert settings.check(file) == settings.check() == []
    file.write_text("services:\n  web: {img: x}\n")
    assert settings.check(file) == [
        f"{file}:2: services.web.img: unknown key; did you mean `image`?",
        f"{file}:2: services.web.image: is missing",
    ]
    assert settings.check()[0].startswith("cluster.yml:2: services.web.img: ")
    assert settings.check(file.parent / "none.yml") == [
        f"{file.parent}/none.yml: cannot be read: No such file or directory"
    ]


def test_the_file_is_read_afresh_at_each_call(file: Path) -> None:
    assert len(settings.get_applications()) == 3
    file.write_text("services: {}\n")
    assert settings.get_applications() == ()


def test_the_environment_names_the_file_first(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = file.parent / "other.yml"
    other.write_text("services: {mail: {image: x}}\n")
    monkeypatch.setenv("VEO_CONFIG", str(other))
    assert [service.name for service in settings.get_applications()] == ["mail"]
    other.unlink()
    assert told() == f"{other}: cannot be read: No such file or directory"


def test_the_systems_file_comes_last(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = file.parent / "system.yml"
    file.rename(system)
    names = ("cluster.yml", str(system))
    monkeypatch.setattr(settings, "DEFAULT_FILES", names)
    assert settings.default_file() == system
    system.unlink()
    assert told() == (
        "no cluster.yml: tried $VEO_CONFIG (not set), ./cluster.yml, "
        f"{system}; name one with --config"
    )
    assert settings.check() == [told()]


def test_a_default_file_out_of_reach_is_not_passed_over(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = file.parent / "closed"
    closed.mkdir(mode=0)
    names = (str(closed / "cluster.yml"), "cluster.yml")
    monkeypatch.setattr(settings, "DEFAULT_FILES", names)
    user = os.geteuid()
    if user == 0:  # to root nothing is closed
        os.seteuid(65534)
    try:
        assert told() == f"{names[0]}: cannot be read: Permission denied"
    finally:
        os.seteuid(user)


def test_what_is_no_file_is_told(file: Path) -> None:
    assert told(file.parent) == f"{file.parent}: cannot be read: Is a directory"
    assert told("a\0b") == "'a\\x00b': cannot be read: embedded null byte"
    assert told("/dev/null").startswith("/dev/null: is empty")


def test_a_huge_file_is_refused_unread(file: Path) -> None:
    with file.open("wb") as stream:
        stream.truncate(5 * 1024**3)
    assert told(file) == f"{file}: is larger than 4 MiB, which no cluster.yml is"


def test_importing_it_does_not_import_yaml() -> None:
    code = (
        "import sys, veo_shell.settings\n"
        "print(sorted({'yaml', 'attrs', 'asyncio'} & set(sys.modules)))"
    )
    assert _python(code).strip() == "[]"


def _python(code: str) -> str:
    """Run the code in a new interpreter that finds what this one has imported."""
    path = os.pathsep.join([str(EXAMPLE.parents[1]), *filter(None, sys.path)])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stderr == ""
    return done.stdout

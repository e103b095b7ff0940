"""Files of a service: what may be said, and what a wrong one is told."""

from __future__ import annotations

import pytest

from veo_shell.core.model import File
from veo_shell.core.parse import parse, parse_service
from veo_shell.core.parse_files import FILES_MOST_BYTES
from veo_shell.core.scalars import Wrong
from veo_shell.errors import ConfigError

CONF = File(target="/etc/x.conf", content="a = 1\n")


def read(name: str) -> str:
    if name == "missing":
        raise Wrong('"missing" cannot be read: No such file')
    return f"what stands in {name}"


def files(text: str) -> tuple[File, ...]:
    return parse(_file(text), "c.yml", read).services[0].files


def problems(text: str, *more: str) -> list[str]:
    with pytest.raises(ConfigError) as told:
        parse(_file(text, *more), "c.yml", read)
    return [line.replace("services.web.", "") for line in told.value.problems]


def _file(text: str, *more: str) -> str:
    indented = "".join(f"      {line}\n" for line in text.splitlines())
    rest = "".join(f"    {line}\n" for line in more)
    return f"services:\n  web:\n    image: x\n{rest}    files:\n{indented}"


def test_content_stands_in_the_file_or_in_one_beside_it() -> None:
    text = """- {target: /etc/x.conf, content: "a = 1\\n"}
- {target: /etc/y.conf, source: ./y.conf, mode: 0600}
- {target: /run.sh, content: "", mode: "755"}"""
    assert files(text) == (
        CONF,
        File(target="/etc/y.conf", content="what stands in ./y.conf", mode=0o600),
        File(target="/run.sh", content="", mode=0o755),
    )


NOT_A_FILE = "is not the absolute path of a file"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("- {content: x}", ["files[0].target: is missing"]),
        ("- {target: /x}", ["files[0].content: is missing: give that, or a `source`"]),
        ("- {target: x, content: x}", [f'files[0].target: "x" {NOT_A_FILE}']),
        ("- {target: /, content: x}", [f'files[0].target: "/" {NOT_A_FILE}']),
        ("- {target: /a/, content: x}", [f'files[0].target: "/a/" {NOT_A_FILE}']),
        ("- {target: /a/../b, content: x}", [
            f'files[0].target: "/a/../b" {NOT_A_FILE}',
        ]),
        ("- {target: /etc/hosts, content: x}", [
            'files[0].target: "/etc/hosts" is written by Docker itself',
        ]),
        ("- {target: /proc/x, content: x}", [
            'files[0].target: "/proc/x" is in /proc, which is the kernel\'s',
        ]),
        ("- {target: /x, source: missing}", [
            'files[0].source: "missing" cannot be read: No such file',
        ]),
        ("- {target: /x, source: a, content: b}", [
            "files[0].content: says the same as `source`: keep one",
        ]),
        ("- {target: /x, content: a, mode: 0888}", [
            'files[0].mode: "0888" is not a mode (octal, like "0444")',
        ]),
        ("- {target: /x, content: a, mode: 1777}", [
            'files[0].mode: "1777" is not a mode (octal, like "0444")',
        ]),
        ("- /x", ["files[0]: is a single value, not a mapping"]),
        ("- {target: /x, content: a}\n- {target: /x, content: b}", [
            'files[1]: the target "/x" is that of files[0] too',
        ]),
    ],
)  # fmt: skip
def test_errors(text: str, expected: list[str]) -> None:
    assert [line.partition(": ")[2] for line in problems(text)] == expected


@pytest.mark.parametrize("target", ["/data", "/data/x"])
def test_a_file_is_not_put_into_a_volume(target: str) -> None:
    [line] = problems(f"- {{target: {target}, content: a}}", "volumes: [/data/]")
    assert line == (
        f'c.yml:2: files: "{target}" is in the volume "/data": files are put into the '
        "container itself"
    )


def test_beside_a_volume_it_may_be() -> None:
    text = _file("- {target: /database, content: a}", "volumes: [/data]")
    assert parse(text, "c.yml").services[0].files[0].target == "/database"


def test_all_together_are_small() -> None:
    half = "x" * (FILES_MOST_BYTES // 2)
    rows = [{"target": f"/{n}", "content": half} for n in range(3)]
    spec = {"image": "x", "files": rows[:2]}
    assert len(parse_service({"web": spec}).files) == 2
    with pytest.raises(ConfigError, match="take 196608 bytes together, at most 131072"):
        parse_service({"web": {**spec, "files": rows}})


def test_where_no_file_can_be_read_none_is() -> None:
    spec = {"image": "x", "files": [{"target": "/x", "source": "y"}]}
    with pytest.raises(ConfigError, match='"y": no file can be read here'):
        parse_service({"web": spec})

"""Files as trees: what is no YAML, aliases and merges, and nothing that takes long."""

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from veo_shell.core.parse import parse
from veo_shell.core.tree import MAX_PROBLEMS, Tree, from_plain, load
from veo_shell.errors import ConfigError


def problems(text: str | bytes) -> list[str]:
    with pytest.raises(ConfigError) as told:
        parse(text, "c.yml")
    return told.value.problems


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "c.yml: is empty; it takes `nodes:` and `services:`"),
        ("# only words\n", "c.yml: is empty; it takes `nodes:` and `services:`"),
        ("---\n", "c.yml: is empty; it takes `nodes:` and `services:`"),
        ("- a\n", "c.yml:1: is a list, not a mapping"),
        ("hello\n", "c.yml:1: is a single value, not a mapping"),
        (b"a: b\nc: \xff\n", "c.yml:2: is not UTF-8 text (byte 0xff)"),
        ("a: b\n\0", "c.yml:2: has a control character (U+0000)"),
        (
            "a:\n\tb: c\n",
            "c.yml:2: is not YAML: a tab stands where YAML takes spaces only",
        ),
        (
            "services:\n  web: a: b\n",
            "c.yml:2: is not YAML: mapping values are not allowed here",
        ),
        (
            "services: [\n",
            "c.yml:2: is not YAML: expected the node content, but found '<stream end>'",
        ),
        ("nodes: *a\n", "c.yml:1: is not YAML: found undefined alias 'a'"),
        (
            "a: b\n---\nc: d\n",
            "c.yml:2: is not YAML: expected a single document in the stream, "
            "but found another document",
        ),
        ('a:\n "\\UFFFFFFFF"\n', "c.yml:2: is not YAML: a number is out of range"),
        (
            "%YAML 1." + "9" * 5000 + "\n--- a\n",
            "c.yml:1: is not YAML: a number is out of range",
        ),
        ("[" * 10_000, "c.yml:1: is nested more than 32 deep"),
        ("[" + "a," * 200_000 + "]", "c.yml:1: has more than 100000 values"),
        ("services: &s\n  web: *s\n", "c.yml:2: the alias *s contains itself"),
        ("services: &s\n  <<: *s\n", "c.yml:2: the alias *s contains itself"),
        (
            "services: !tuple {}\n",
            'c.yml:1: services: has the tag "!tuple", which means nothing here',
        ),
        (
            "services: {web: {image: !!binary aGk=}}\n",
            'c.yml:1: services.web.image: has the tag "!!binary", '
            "which means nothing here",
        ),
        (
            'services: {web: {image: "a\\0"}}',
            "c.yml:1: services.web.image: has a NUL character in it",
        ),
        (
            'services: {web: {image: "\\ud800"}}',
            "c.yml:1: services.web.image: "
            "has half a character in it (a lone surrogate)",
        ),
        ("? [a]\n: b\n", "c.yml:1: a key is a list, not a single value"),
        ('"": b\n', "c.yml:1: a key is empty"),
        ("services:\n  ~: {image: x}\n", "c.yml:2: services: a key is empty"),
        (
            "services:\n  <<: [a]\n",
            "c.yml:2: services: `<<` takes a mapping or a list of mappings",
        ),
    ],
)
def test_one_line_says_what_is_wrong(text: str | bytes, message: str) -> None:
    assert problems(text) == [message]


def test_a_merge_gives_what_is_not_there_already() -> None:
    text = """
x-one: &one {image: one, restart: always, cpus: 1}
x-two: &two {image: two, privileged: yes}
services:
  a: {<<: *one, image: own}
  b:
    <<: [*two, *one]
    cpus: 2
  c: &c {<<: *two}
  d: {<<: *c, group: g}
"""
    a, b, c, d = parse(text, "c.yml").services
    assert (a.image, a.restart.value, a.cpus) == ("own", "always", 1)
    assert (b.image, b.restart.value, b.cpus) == ("two", "always", 2)
    assert (b.privileged, c.image, c.privileged) == (True, "two", True)
    assert (d.image, d.group) == ("two", "g")


def test_services_can_be_merged_in_and_lines_are_the_anchors() -> None:
    text = "x-a: &a\n  web: {image: x, cpus: z}\nservices:\n  <<: *a\n"
    assert problems(text) == [
        'c.yml:2: services.web.cpus: "z" is not a number of CPUs (0, or from 0.01)'
    ]


def test_an_alias_is_the_same_value_again() -> None:
    text = "services:\n  a: &a {image: x}\n  b: *a\n"
    a, b = parse(text, "c.yml").services
    assert (a.name, b.name, a.image, b.image) == ("a", "b", "x", "x")


def test_a_quoted_merge_key_is_a_key() -> None:
    assert problems('"<<": {services: {}}\n') == [
        "c.yml:1: <<: unknown key; known are nodes, services, dns"
    ]


def _merge_bomb() -> str:
    levels = [
        f"x-{n}: &b{n} {{<<: [{', '.join([f'*b{n - 1}'] * 9)}]}}\n"
        for n in range(1, 30)
    ]
    return "x-0: &b0 {a: b}\n" + "".join(levels) + "services: {<<: *b29}\n"


def _merge_chain() -> str:
    levels = [f"x-{n}: &b{n} {{<<: *b{n - 1}}}\n" for n in range(1, 2000)]
    return "x-0: &b0 {a: b}\n" + "".join(levels) + "services: {<<: *b1999}\n"


def _wide_merge() -> str:
    keys = ", ".join(f"k{n}: 1" for n in range(1000))
    return f"x-0: &a {{{keys}}}\nservices: {{<<: [{', '.join(['*a'] * 20_000)}]}}\n"


def _list_bomb() -> str:
    roles = ", ".join(["r"] * 1000)
    services = "".join(f"  s{n}: *a\n" for n in range(1000))
    return f"services:\n  s: &a {{image: x, roles: [{roles}]}}\n{services}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_merge_bomb(), "c.yml: has too many values, counting each alias"),
        (_wide_merge(), "c.yml: has too many values, counting each alias"),
        (_list_bomb(), "c.yml: has too many values, counting each alias"),
        (
            _merge_chain(),
            "c.yml:1969: services: `<<` of mappings with `<<` goes too deep",
        ),
    ],
    ids=["merge", "wide", "list", "chain"],
)
def test_a_bomb_is_told_not_expanded(text: str, message: str) -> None:
    # Expanded, most of these would take longer than the universe.
    assert problems(text) == [message]


def test_errors_beyond_count_are_cut_short() -> None:
    found = problems("".join(f"k{n}: 1\n" for n in range(2 * MAX_PROBLEMS)))
    assert len(found) == MAX_PROBLEMS + 1
    assert found[0] == "c.yml: has over 1000 errors; the first are told here"
    assert found[1] == "c.yml:1: k0: unknown key; known are nodes, services, dns"


def test_escapes_of_json_are_put_together() -> None:
    text = '{"services": {"web": {"image": "x", "args": ["\\ud83d\\ude00"]}}}'
    assert parse(text, "c.json").services[0].args == ("😀",)


def test_a_byte_order_mark_is_no_error() -> None:
    assert parse(b"\xef\xbb\xbfservices: {}\n", "c.yml").services == ()


def test_a_tree_of_a_file_knows_paths_and_lines() -> None:
    [(key, tree)] = load("a:\n  - b\n  - c\n", "c.yml").pairs()
    assert (key, tree.path, tree.line, tree.kind) == ("a", "a", 1, "seq")
    assert [(i.text(), i.path, i.line) for i in tree.items()] == [
        ("b", "a[0]", 2),
        ("c", "a[1]", 3),
    ]


def test_a_tree_of_plain_data_has_paths_and_no_lines() -> None:
    tree = from_plain({"b": [True, None, 1.5, "x"], "a": ("y",)})
    (_, several), (_, one) = tree.pairs()
    assert (several.path, several.line) == ("b", None)
    first, second, *_ = several.items()
    assert (first.text(), second.is_empty, one.kind) == ("true", True, "seq")


def _nested(depth: int) -> Any:
    data: Any = "x"
    for _ in range(depth):
        data = [data]
    return data


@pytest.mark.parametrize(
    "data", [{"a": object()}, _nested(100_000)], ids=["object", "deep"]
)
def test_what_is_no_plain_data_is_told(data: Any) -> None:
    with pytest.raises(ConfigError) as told:
        from_plain(data)
    assert told.value.problems == ["not plain data: mappings, lists, texts, numbers"]


def test_plain_data_that_contains_itself_is_no_hang() -> None:
    data: dict[str, Any] = {"a": []}
    data["a"].append(data)
    [(_, tree)] = from_plain(data).pairs()
    assert tree.items()[0].kind == "map"


WORDS = st.sampled_from(
    [
        "services",
        "nodes",
        "image",
        "ports",
        "cmd",
        "health_check",
        "web",
        "x",
        "-",
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "&",
        "*",
        "<<",
        "?",
        "!",
        "|",
        ">",
        "'",
        '"',
        "#",
        "%YAML",
        "---",
        "...",
        "&a",
        "*a",
        "~",
        "80",
        "80:80",
        "\\",
        "@",
        "`",
        "\n",
        "\n\n",
        "\t",
        "\ufeff",
        "\x85",
        "\u2028",
        "é",
        "😀",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
@example(b"\xff\xfea\0")
@example(b"%YAML 1.\n---")
@example(b"!<>")
def test_any_bytes_are_a_file_or_an_error(data: bytes) -> None:
    _parse_or_lines(data)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(WORDS, st.text(max_size=3)), max_size=40), st.data())
def test_any_text_like_yaml_is_a_file_or_an_error(
    words: list[str], data: st.DataObject
) -> None:
    _parse_or_lines(data.draw(st.sampled_from(["", " "])).join(words))


def _parse_or_lines(text: str | bytes) -> None:
    problems = []
    try:
        parse(text, "c.yml")
    except ConfigError as exc:
        problems = exc.problems or [""]
    for problem in problems:
        assert problem.startswith("c.yml:")
        assert len(problem.splitlines()) == 1


def test_its_repr_does_not_show_the_whole_file() -> None:
    tree = load("a: b\n", "c.yml")
    assert isinstance(tree, Tree)
    assert "c.yml" not in repr(tree)

"""The command line as a user meets it: words in; a status and a line out."""

from __future__ import annotations

import argparse
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local_node import (
    ROOT,
    LocalNode,
    environment,
    other_user,
    unmeasured_environment,
)
from veo_shell import __version__, cli, cli_start

BAD = "a b"  # for each option that can be given wrongly


@pytest.fixture
def place(tmp_path: Path) -> LocalNode:
    """Have a folder without a node."""
    return LocalNode(tmp_path)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalNode]:
    """Have a real console of few words: no engine, no mesh."""
    node = LocalNode(tmp_path_factory.mktemp("n"))
    node.run_dir.mkdir(mode=0o700)
    command = [sys.executable, "-m", "tests.console.sample_node", str(node.run_dir)]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield node
        process.terminate()


def test_version(place: LocalNode) -> None:
    said = place.veo("--version")
    assert (said.status, said.out) == (0, f"veo {__version__}\n")


def test_help_names_every_command(place: LocalNode) -> None:
    said = place.veo("--help")
    assert (said.status, said.err) == (0, "")
    commands = ("start", "stop", "status", "events", "attach", "check", "check-session")
    for command in (*commands, "plan", "apply", "resolver"):
        assert re.search(rf"\n    {command}\s", said.out)
        assert place.veo(command, "--help").out.startswith(f"usage: veo {command} ")


def test_start_help_names_every_option_with_its_variables(place: LocalNode) -> None:
    said = place.veo("start", "--help").out
    for setting in cli_start.START:
        assert f"\n  {setting.flag} {setting.metavar}" in said
        assert all(variable in said for variable in setting.variables)
        assert f"VEO_{setting.flag[2:].upper().replace('-', '_')}" in setting.variables
    others = ("VEO_JOIN, JOIN", "VEO_RUN_DIR", "VEO_DETACH", "VEO_RECOVER", "COOKIE")
    for variable in others:
        assert variable in " ".join(said.split())


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["strat"],
        ["start", "--bogus"],
        ["start", "--addr", "127.0.0.1"],  # no abbreviations: they would soon mean two
        ["start", "--name"],
        ["start", "uno"],
        ["stop", "now"],
        ["status", "--xml"],
        ["check"],
        ["check", "a", "b"],
        ["attach", "deploy.py"],
        ["attach", "-c"],
        ["attach", "--script"],
        ["attach", "--script", "f.py", "--run-dir", "x"],
        ["attach", "-c", "1", "a", "--run-dir=x"],
        ["attach", "-c", "1", "--echo"],
        ["attach", "-c", "1", "--timeout", "3"],
        ["attach", "-c", "1", "--record", "f"],
        ["attach", "--record", "/nowhere/x", "-c", "1"],
        ["attach", "--record", "/tmp", "-c", "1"],
        ["check-session"],
        ["check-session", "missing.txt"],
        ["attach", "--timeout", "0", "-c", "1"],
        ["attach", "--timeout", "soon", "-c", "1"],
        ["attach", "--timeout", "1e12", "-c", "1"],
        ["resolver"],
        ["resolver", "instal"],
        ["start", "--dns-port", "0"],
        ["start", "--dns-port", "65536"],
        ["start", "--dns-port", "9" * 5000],
        ["start", "--mesh-port", "65535"],
        ["start", "--mesh-port", "-1"],
        ["start", "--dns-port", "8088"],
        ["start", "--name", "a@b@c"],
        ["start", "--name", "ä@b"],
        ["start", "--name", "a" * 64],
        ["start", "--cluster", "a b"],
        ["start", "--log-level", "loud"],
        ["start", "--address", "0.0.0.0"],
        ["start", "--address", "::"],
        ["start", "--address", "224.0.0.1"],
        ["start", "--address", "fe80::1"],
        ["start", "--address6", "fe80::1"],
        ["start", "--address6", "127.0.0.1"],
        ["start", "--address", "::1", "--address6", "::1"],
        ["start", "--join", ":80"],
        ["start", "--join", "127.0.0.1:x"],
        ["start", "--join", "[::1]:0"],
        ["start", "--docker", "bogus://x"],
    ],
    ids=lambda argv: " ".join(argv)[:40] or "nothing",
)
def test_wrong_usage_is_one_line_and_status_2(
    place: LocalNode, argv: list[str]
) -> None:
    files = ["--data-dir", "data", "--run-dir", "run"] if argv[:1] == ["start"] else []
    said = place.veo(*argv[:1], *files, *argv[1:])
    assert said.status == 2, said
    assert said.out == ""
    assert len(said.err.splitlines()) == 1 or "INFO" in said.err
    assert said.complaint


def test_wrong_usage_leaves_nothing(place: LocalNode) -> None:
    assert place.start("--name", BAD).status == 2
    assert list(place.folder.iterdir()) == []


# Precedence: option, then VEO_ variable, then the plain one. A start that fails tells
# which it took.


@pytest.mark.parametrize(
    ("option", "variables"),
    [
        ("--name", ["VEO_NAME", "NAME"]),
        ("--address", ["VEO_ADDRESS"]),
        ("--address6", ["VEO_ADDRESS6"]),
        ("--config", ["VEO_CONFIG"]),
        ("--join", ["VEO_JOIN", "JOIN"]),
        ("--cluster", ["VEO_CLUSTER"]),
        ("--cookie-file", ["VEO_COOKIE_FILE"]),
        ("--accept-cookie-file", ["VEO_ACCEPT_COOKIE_FILE"]),
        ("--dns-port", ["VEO_DNS_PORT"]),
        ("--mesh-port", ["VEO_MESH_PORT"]),
        ("--data-dir", ["VEO_DATA_DIR"]),
        ("--run-dir", ["VEO_RUN_DIR"]),
        ("--docker", ["VEO_DOCKER", "DOCKER_HOST"]),
        ("--log-level", ["VEO_LOG_LEVEL"]),
    ],
)
def test_precedence(place: LocalNode, option: str, variables: list[str]) -> None:
    usual = {
        "VEO_DATA_DIR": str(place.data_dir),
        "VEO_RUN_DIR": str(place.run_dir),
        "VEO_ADDRESS": place.address,
        "VEO_DOCKER": "unix:///not/there",
    }
    usual.pop(variables[0], None)
    asked = {name: f"/dev/null/{name}" for name in variables}
    said = place.veo("start", option, "/dev/null/option", **{**usual, **asked})
    assert "/dev/null/option" in said.complaint
    for name in variables:
        said = place.veo("start", **{**usual, **asked})
        assert f"/dev/null/{name}" in said.complaint
        del asked[name]


def test_an_empty_variable_counts_as_none(place: LocalNode) -> None:
    said = place.veo(*place.start_options()[:1], VEO_NAME="", NAME=BAD)
    assert BAD in said.complaint


@pytest.mark.parametrize("variable", ["VEO_RECOVER", "VEO_DETACH"])
def test_a_variable_that_is_no_switch(place: LocalNode, variable: str) -> None:
    said = place.veo(*place.start_options(), **{variable: "nein"})
    why = f"{variable}=nein: one of 1, true, yes, on, 0, false, no, off"
    assert (said.status, said.complaint) == (2, why)
    assert place.refusal(**{variable: "Off"}).startswith("no Docker Engine")


@pytest.mark.parametrize(
    "option", [*(setting.flag for setting in cli_start.START), "--run-dir", "--join"]
)
def test_an_option_that_is_given_and_empty(place: LocalNode, option: str) -> None:
    """As by a variable of a script that is not set."""
    said = place.veo(*place.start_options(), option, "")
    assert (said.status, said.out) == (2, "")
    assert option in said.complaint
    assert list(place.folder.iterdir()) == []


def test_log_levels_in_any_case(place: LocalNode) -> None:
    assert place.refusal("--log-level", "ERROR").startswith("no Docker Engine")


def test_joins_in_the_environment_are_several(place: LocalNode) -> None:
    for joins in ("127.0.0.1,x..y", "127.0.0.1 x..y", "[::1]:9, x..y:1"):
        said = place.veo(*place.start_options(), VEO_JOIN=joins)
        assert (said.status, said.complaint[:11]) == (2, "--join x..y")


def test_a_cookie_file_counts_more_than_COOKIE(place: LocalNode) -> None:  # noqa: N802
    assert "COOKIE in the environment is empty" in place.refusal(COOKIE="")
    assert "/nope" in place.refusal("--cookie-file", "/nope", COOKIE="")


# No node


@pytest.mark.parametrize(
    "argv",
    [
        ["stop"],
        ["stop", "--leave"],
        ["status"],
        ["status", "--json"],
        ["check-session", str(ROOT / "docs" / "tour.md")],
    ],
    ids=lambda argv: " ".join(argv)[:20],
)
def test_no_node_is_status_3(place: LocalNode, argv: list[str]) -> None:
    said = place.veo(*argv, VEO_RUN_DIR=str(place.run_dir))
    assert (said.status, said.out) == (3, "")
    assert str(place.run_dir) in said.complaint
    assert place.veo(*argv, "--run-dir", "/dev/null").status == 3


def test_attach_to_no_node_is_status_3(place: LocalNode) -> None:
    for argv in (["-c", "1"], ["--script", __file__], []):
        said = place.attach(*argv)
        assert (said.status, said.out, len(said.err.splitlines())) == (3, "", 1)


def test_without_a_home_a_run_dir_is_asked_for(place: LocalNode) -> None:
    command = [sys.executable, "-m", "veo_shell", "status"]
    env = unmeasured_environment(place.folder)
    del env["HOME"]
    probe = subprocess.run(
        [*other_user(), *command],
        env=env,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert probe.returncode == 2
    assert probe.stderr.startswith("veo: no home directory")


# Sessions


@pytest.mark.parametrize(
    ("given", "argv"),
    [
        (["a", "b"], ["a", "b"]),
        (["--flag", "x"], ["--flag", "x"]),
        (["-h"], ["-h"]),
        (["-c", "2"], ["-c", "2"]),
        (["--", "--flag", "x"], ["--flag", "x"]),
        (["--", "--run-dir", "x"], ["--run-dir", "x"]),
        (["--", "--", "x"], ["--", "x"]),
        (["a", "--", "--echo"], ["a", "--", "--echo"]),
    ],
    ids=" ".join,
)
def test_arguments_reach_the_script(
    node: LocalNode, given: list[str], argv: list[str]
) -> None:
    script = node.folder / "f.py"
    script.write_text("import sys\nprint(sys.argv[1:], container_sup.count())\n")
    for how in (["--script", "f.py"], ["--script=f.py"]):
        assert node.attach(*how, *given).out == f"{argv} 42\n"
    code = "import sys; print(sys.argv)"
    for how in (["-c", code], [f"-c{code}"]):
        assert node.attach(*how, *given).out == f"{['-c', *argv]}\n"


def test_options_of_ours_stand_before_the_code(node: LocalNode) -> None:
    said = node.veo("attach", "--echo", f"--run-dir={node.run_dir}", "-c", "-1")
    assert (said.status, said.out) == (0, "(uno@uno)1> -1\n-1\n")
    said = node.attach("-c", "1", "--run-dir", "elsewhere")
    assert (said.status, said.out) == (2, "")
    assert "put it before" in said.complaint


def test_code_on_stdin_is_bytes(node: LocalNode) -> None:
    assert node.attach(stdin="'ä'").out == "'ä'\n"
    said = subprocess.run(
        [sys.executable, "-m", "veo_shell", "attach", "--run-dir", str(node.run_dir)],
        input=b"'\xff'",
        capture_output=True,
        env=environment(node.folder),
        timeout=30,
        check=False,
    )
    assert said.returncode == 1
    assert b"SyntaxError" in said.stderr


def test_a_script_that_is_not_there(node: LocalNode) -> None:
    said = node.attach("--script", "/nope.py")
    assert (said.status, said.out) == (2, "")
    assert said.complaint == "cannot read /nope.py: No such file or directory"


def shell(node: LocalNode, line: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell; `$VEO` is the command."""
    veo = f"{sys.executable} -m veo_shell"
    return subprocess.run(
        ["bash", "-c", line],
        env=environment(node.folder, VEO=veo, VEO_RUN_DIR=str(node.run_dir)),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("stream", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_streams(node: LocalNode, stream: str) -> None:
    for command in ("attach -c 1", "attach", "check /nope", "--version"):
        done = shell(node, f"$VEO {command} {stream}")
        assert "Traceback" not in done.stderr
        assert done.returncode == (1 if "check" in command else 0), done


def test_a_reader_that_left(node: LocalNode) -> None:
    done = shell(node, "$VEO start --help | true; exit ${PIPESTATUS[0]}")
    assert (done.returncode, done.stderr) == (141, "")
    assert shell(node, "$VEO attach -c 1 | true").stderr == ""


def test_a_full_disk_behind_stdout(node: LocalNode) -> None:
    done = shell(node, "$VEO start --help >/dev/full")
    assert done.returncode == 1
    assert done.stderr.startswith("veo: cannot write")


# check


def test_check(place: LocalNode) -> None:
    good = ROOT / "examples" / "cluster.yml"
    said = place.veo("check", str(good))
    assert (said.status, said.out, said.err) == (0, "", "")
    said = place.veo("check", "nope.yml")
    assert said.status == 1
    assert said.err == "nope.yml: cannot be read: No such file or directory\n"
    said = place.veo("check", "no\x1b[31m.yml")
    assert said.err == "no\\x1b[31m.yml: cannot be read: No such file or directory\n"
    (place.folder / "bad.yml").write_text(
        'services:\n  web:\n    image: x\n    restrt: no\n    ports: ["80x"]\n'
    )
    said = place.veo("check", "bad.yml")
    assert said.status == 1
    assert [line.split(" ")[0] for line in said.err.splitlines()] == [
        "bad.yml:4:",
        "bad.yml:5:",
    ]


# Weight


def test_importing_the_command_line_is_light() -> None:
    code = "import sys; old = set(sys.modules); import veo_shell.cli; "
    code += "print(*set(sys.modules) - old)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(Path("/")),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert not loaded & {"asyncio", "attrs", "msgspec", "zmq", "yaml", "docker", "rich"}
    assert loaded - sys.stdlib_module_names == {"veo_shell"}


def test_a_one_liner_imports_nothing_that_it_does_without(node: LocalNode) -> None:
    """Each of these takes a twentieth of all that it does."""
    heavy = ["inspect", "typing_extensions", "shutil", "signal", "asyncio", "attr"]
    code = f"import sys; [name for name in {heavy} if name in sys.modules]"
    done = subprocess.run(
        [sys.executable, "-m", "veo_shell", "attach", "-c", code],
        env=unmeasured_environment(node.folder, VEO_RUN_DIR=str(node.run_dir)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[]\n"


COMMAND = re.compile(
    r"^(?:.*?(?:run:|-|\$|\|) )?veo ([a-z].*?)(?: [|>#].*)?$", re.MULTILINE
)


def test_the_commands_of_the_page_about_the_console_are_right() -> None:
    """Among them those that a CI job is to have."""
    text = (ROOT / "docs" / "console.md").read_text()
    blocks = re.findall(r"^```(?:yaml)?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in COMMAND.findall(block)]
    assert len(lines) > 10
    for line in lines:
        own, rest = cli._split(shlex.split(line))
        parsed = cli._parser(cli._Parser).parse_args(own, argparse.Namespace(args=rest))
        assert callable(parsed.run)


def test_the_resolver_needs_a_node_to_be_installed_and_none_to_be_removed(
    place: LocalNode,
) -> None:
    said = place.veo("resolver", "install")
    assert said.status == 3
    assert len(said.err.splitlines()) == 1
    said = place.veo("resolver", "remove")
    assert (said.status, said.err) == (0, "")
    assert said.out == "nothing was added here: nothing is to be done\n"

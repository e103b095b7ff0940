"""What surrounds the code: the package's metadata and what `make` and CI rely on."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import veo_shell
from scripts import nginx_image, ports

ROOT = Path(__file__).parents[1]
# Import name -> name on PyPI, where they differ.
DISTRIBUTIONS = {
    "dns": "dnspython",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
    "prompt_toolkit": "ptpython",
    "pygments": "ptpython",
    "requests": "docker",
    "urllib3": "docker",
}


def setup_cfg() -> configparser.ConfigParser:
    """Return the package's metadata as written."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def required() -> set[str]:
    """Return the packages that are installed with VEO."""
    lines = setup_cfg()["options"]["install_requires"].split("\n")
    return {Requirement(line).name.lower() for line in lines if line}


def imported() -> Iterator[str]:
    """Yield the top-level modules that the package imports and Python lacks."""
    for path in (ROOT / "veo_shell").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


def test_all_that_is_imported_is_required() -> None:
    others = set(imported()) - sys.stdlib_module_names - {"veo_shell"}
    assert {DISTRIBUTIONS.get(name, name) for name in others} <= required()


def test_the_entry_point_is_there() -> None:
    line = setup_cfg()["options.entry_points"]["console_scripts"].strip()
    name, module, function = re.split(r"\s*[=:]\s*", line)
    assert name == "veo"
    path = ROOT / f"{module.replace('.', '/')}.py"
    tree = ast.parse(path.read_text())
    functions = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
    assert function in functions


def test_the_module_tells_its_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "veo_shell", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"veo {veo_shell.__version__}\n"


def test_a_wheel_holds_the_whole_package(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "LICENSE", "README.md", "veo_shell"):
        copy(ROOT / name, source / name)
    argv = ["-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(tmp_path), "."]
    subprocess.run([sys.executable, *argv], cwd=source, check=True)
    (wheel,) = tmp_path.glob(f"veo_shell-{veo_shell.__version__}-*.whl")
    shutil.unpack_archive(wheel, tmp_path / "wheel", "zip")
    packed = files_below(tmp_path / "wheel" / "veo_shell")
    assert packed == files_below(ROOT / "veo_shell")


def copy(source: Path, target: Path) -> None:
    """Copy a file or a folder."""
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copy(source, target)


def files_below(folder: Path) -> set[str]:
    """Return the Python files below a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.py")}


TARGETS = "demo start stop image multiple three load down test check bench"


@pytest.mark.parametrize("target", TARGETS.split())
def test_make_has_the_target(target: str) -> None:
    done = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    named = re.findall(r"^(scripts/\S+)|-m (scripts\.\S+)", done.stdout, re.MULTILINE)
    paths = {a or f"{b.replace('.', '/')}.py" for a, b in named}
    assert paths
    assert all((ROOT / path).is_file() for path in paths)


def test_ci_and_the_scripts_can_be_run() -> None:
    names = (
        "need venv check test start stop runc-clamp image multiple load down compose"
    )
    for path in [
        ROOT / ".ci" / "run",
        *(ROOT / "scripts" / name for name in names.split()),
    ]:
        assert os.access(path, os.X_OK), path


def need(*words: str, path: str) -> subprocess.CompletedProcess[str]:
    """Run scripts/need where only `path` has commands."""
    return subprocess.run(
        ["/bin/sh", str(ROOT / "scripts" / "need"), *words],
        env={"PATH": path},
        capture_output=True,
        text=True,
    )


def test_need_is_silent_where_nothing_is_missing() -> None:
    done = need("sh", "ls", path="/usr/bin:/bin")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_need_names_the_packages_in_one_sentence_if_it_may_not_install(
    tmp_path: Path,
) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "id").write_text("#!/bin/sh\necho 1000\n")
    (tools / "id").chmod(0o755)
    done = need("veo-no-such-command", path=f"{tools}:/usr/bin:/bin")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "something is missing here, install it first: "
        "apt-get install veo-no-such-command"
    ]


def test_need_shows_what_apt_says_when_it_fails(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, body in {
        "id": "echo 0",
        "apt-get": "echo $3: no such package; false",
    }.items():
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    done = need("veo-no-such-command", path=f"{tools}:/usr/bin:/bin")
    assert done.returncode == 1
    assert "no such package" in done.stderr
    assert "cannot install veo-no-such-command" in done.stderr


SPEC = '{"process":{"capabilities":{"bounding":["CAP_CHOWN",%s"CAP_KILL"]}}}'


def test_the_clamp_drops_only_what_the_kernel_holds_back(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    (bundle / "config.json").write_text(SPEC % '"CAP_SYS_TIME",')
    runc = tmp_path / "runc"
    runc.write_text('#!/bin/sh\necho "$@"\n')
    runc.chmod(0o755)
    argv = ["--log", "x", "create", "--bundle", str(bundle), "c1"]
    done = subprocess.run(
        [*without_sys_time(), str(ROOT / "scripts" / "runc-clamp"), *argv],
        env={"PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"},
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == argv, done.stderr
    assert (bundle / "config.json").read_text() == SPEC % ""


def without_sys_time() -> list[str]:
    """Return what to put before a command to hold back one capability from it."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root and setpriv, to hold a capability back")
    return ["setpriv", "--bounding-set", "-sys_time"]


def test_the_image_is_not_built_from_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/no/such/folder")
    with pytest.raises(nginx_image.BuildFailed, match="no apt-cache here"):
        nginx_image.output("apt-cache", "depends", "nginx")


def test_a_dns_port_is_free_on_all_addresses() -> None:
    port = ports.dns_port(["127.0.0.1", "127.0.0.2"])
    assert port == 53 or port >= 5300
    assert ports.is_free("127.0.0.1", port)
    assert ports.is_free("127.0.0.2", port)

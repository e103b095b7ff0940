"""The cookie: found, made, refused; and the keys that come of it."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq

from veo_shell.edge.cookie import derive_keys, load_cookie
from veo_shell.errors import StartError

GOOD = "a cookie of more than twenty"


def write(path: Path, content: bytes, mode: int = 0o400) -> str:
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def test_the_option_is_preferred_to_the_environment_to_the_home(tmp_path: Path) -> None:
    (tmp_path / ".veo").mkdir()
    write(tmp_path / ".veo" / "cookie", b"from the home directory")
    option = write(tmp_path / "option", b"from the option, with care\n")
    env = {"HOME": str(tmp_path), "COOKIE": " from the environment "}

    assert load_cookie(option, env) == "from the option, with care"
    assert load_cookie(None, env) == "from the environment"
    assert load_cookie(None, {"HOME": str(tmp_path)}) == "from the home directory"


def test_the_first_start_makes_one_that_stays(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}

    made = load_cookie(None, env)

    assert len(made) == 48
    assert load_cookie(None, env) == made
    assert [p.name for p in (tmp_path / ".veo").iterdir()] == ["cookie"]
    assert stat.S_IMODE((tmp_path / ".veo").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / ".veo" / "cookie").stat().st_mode) == 0o400


def test_nodes_that_start_at_once_agree(tmp_path: Path) -> None:
    env = {"HOME": str(tmp_path)}
    with ThreadPoolExecutor(16) as pool:
        cookies = list(pool.map(lambda _: load_cookie(None, env), range(64)))

    assert len(set(cookies)) == 1
    assert [p.name for p in (tmp_path / ".veo").iterdir()] == ["cookie"]


def make_directory(path: Path) -> None:
    path.mkdir(mode=0o700)


def make_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def make_nothing(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        pytest.param(make_nothing, "cannot read the cookie file {}: No such", id="no"),
        pytest.param(make_directory, "{}: Is a directory", id="directory"),
        pytest.param(make_fifo, "{} is not a regular file", id="fifo"),
        pytest.param(lambda p: write(p, b""), "{} is empty", id="empty"),
        pytest.param(lambda p: write(p, b" \n"), "{} is empty", id="blank"),
        pytest.param(lambda p: write(p, b"\xff\xfe"), "{} is not text", id="not-text"),
        pytest.param(lambda p: write(p, b"a\x00b"), "cannot be printed", id="control"),
        pytest.param(
            lambda p: write(p, b"a" * 5000), "{} has more than 4096 bytes", id="large"
        ),
        pytest.param(
            lambda p: write(p, b"secret", 0o640),
            "(mode 0640): chmod 400 {}",
            id="group",
        ),
        pytest.param(
            lambda p: write(p, b"secret", 0o604),
            "(mode 0604): chmod 400 {}",
            id="world",
        ),
    ],
)
def test_a_bad_file_is_one_clear_line(
    tmp_path: Path, make: Callable[[Path], object], complaint: str
) -> None:
    path = tmp_path / "cookie"
    make(path)

    with pytest.raises(StartError) as raised:
        load_cookie(str(path), {"COOKIE": GOOD})

    assert complaint.format(path) in str(raised.value)
    assert "\n" not in str(raised.value)
    assert "secret" not in str(raised.value)


def test_an_empty_variable_is_an_error_not_a_new_cookie(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="COOKIE in the environment is empty"):
        load_cookie(None, {"HOME": str(tmp_path), "COOKIE": ""})
    assert not (tmp_path / ".veo").exists()


def test_a_home_that_cannot_hold_it_is_an_error(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.write_text("a file")
    with pytest.raises(
        StartError, match=r"cannot make the cookie file .*--cookie-file"
    ):
        load_cookie(None, {"HOME": str(home)})


def test_a_short_cookie_is_warned_of_and_not_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)

    assert load_cookie(None, {"COOKIE": "swordfish"}) == "swordfish"
    assert "only 9 characters" in caplog.text
    assert "swordfish" not in caplog.text

    caplog.clear()
    load_cookie(None, {"COOKIE": "x" * 20})
    assert not caplog.records


def test_keys_follow_from_cookie_and_cluster() -> None:
    public, secret = derive_keys(GOOD, "veo")

    assert (public, secret) == derive_keys(GOOD, "veo")
    assert zmq.curve_public(secret.encode()) == public.encode()
    others = {derive_keys(GOOD, "shop"), derive_keys(GOOD + "!", "veo")}
    assert len(others | {(public, secret)}) == 3


def test_keys_never_change_between_releases() -> None:
    """Nodes of two releases could not talk, if these did."""
    assert derive_keys("swordfish", "veo") == (
        "*k(Rc7V:Z[?1vPSr^C{Y+)gyHTFabEtXfC7^=F%^",
        ":#eV?Yz#Ukw#EU0>2:=fNS[P6jcjUOh6kga8$FML",
    )

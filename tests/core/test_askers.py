"""Who asks from this host, and who does not."""

from __future__ import annotations

import pytest

from veo_shell.core.askers import is_near

NETWORKS = ("172.17.0.0/16", "fd00:1::/64")


@pytest.mark.parametrize(
    ("address", "near"),
    [
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("172.17.3.4", True),
        ("fd00:1::7", True),
        ("192.0.2.1", True),  # the host's own
        ("172.18.0.2", False),
        ("fd00:2::7", False),
        ("192.0.2.2", False),
        ("fe80::1%eth0", False),
    ],
)
def test_near_are_the_host_and_its_containers(address: str, near: bool) -> None:
    assert is_near(address, NETWORKS, "192.0.2.1".__eq__) is near

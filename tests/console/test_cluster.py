"""The short way to what is asked for most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.console.sample_node import SERVICE, container
from veo_shell.console.client import Client
from veo_shell.console.cluster import Cluster
from veo_shell.console.records import Records
from veo_shell.core.model import State
from veo_shell.errors import UsageError


class Asked:
    """Stands in for a word: tells what was called, with what."""

    def __getattr__(self, verb: str) -> Any:
        return lambda *args, **named: (verb, args, named)

    def cloud_containers(self) -> Records[Any]:
        return Records([container(0), container(1), container(2, State.FAILED)])

    def services(self) -> Records[Any]:
        return Records([SERVICE])


@pytest.fixture
def cluster() -> Cluster:
    asked = Asked()
    words = dict.fromkeys(("container_sup", "node_monitor", "dns_registry"), asked)
    calls = {name: getattr(asked, name) for name in ("why", "history")}
    client: Any = None
    return Cluster(client, {**words, **calls})


def test_the_short_way_is_the_long_one(cluster: Cluster) -> None:
    told: Any = cluster
    assert told.services["nginx"] == SERVICE
    assert len(told.containers.where(state="failed")) == 1
    assert told.nodes == ("nodes", (), {})
    assert told.dns == ("records", (), {})
    assert told.plan() == ("plan", (), {"prune": False})
    assert told.apply("f.yml", prune=True) == ("apply", ("f.yml",), {"prune": True})
    assert told.why("nginx") == ("why", ("nginx",), {})
    assert told.history(5) == ("history", (), {"last": 5})
    assert told.events("x", "1h") == ("events", ("x",), {"since": "1h"})
    assert told.if_lost("dos") == ("if_lost", ("dos",), {})
    assert told.where(SERVICE) == ("where", (SERVICE,), {})


def test_what_it_has_not_is_told_in_one_line(cluster: Any) -> None:
    with pytest.raises(UsageError, match="cluster has no 'aply': did you mean 'apply'"):
        cluster.aply()
    with pytest.raises(UsageError, match="cluster has no 'foo'; it has nodes, servic"):
        cluster.foo()
    assert not hasattr(cluster, "_foo")
    assert not hasattr(cluster, "foo")


def test_it_tells_how_it_is(node: Any, tmp_path: Path) -> None:
    from veo_shell.console import namespace

    client = Client(tmp_path)
    names = namespace.build(client)
    names["cluster"]._words["container_sup"].__dict__["services"] = list
    assert repr(names["cluster"]) == (
        "cluster test: nodes 2 alive, 1 left; services 0; containers 1 running, "
        "1 backoff"
    )
    client.close()

"""The short way to what is asked for most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.console.sample_node import SERVICE, container
from tests.core.samples import standing
from veo_shell.console.client import Client
from veo_shell.console.cluster import Cluster
from veo_shell.console.namespace import NoSuchVerb
from veo_shell.console.records import Records
from veo_shell.core.model import State
from veo_shell.errors import UsageError


class Asked:
    """Stands in for a word: tells what was called, with what."""

    def __getattr__(self, verb: str) -> Any:
        return lambda *args, **named: (verb, args, named)

    def cloud_containers(self) -> Records[Any]:
        return Records([container(0), container(1), container(2, State.FAILED)])

    def service_status(self) -> Records[Any]:
        return Records([standing("u1", SERVICE, ready=2, wanted=3)])


@pytest.fixture
def cluster() -> Cluster:
    asked = Asked()
    words = dict.fromkeys(("container_sup", "node_monitor", "dns_registry"), asked)
    calls = {name: getattr(asked, name) for name in ("why", "history")}
    client: Any = None
    return Cluster(client, {**words, **calls})


def test_the_short_way_is_the_long_one(cluster: Cluster) -> None:
    told: Any = cluster
    assert told.services["nginx"].spec == SERVICE
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


def test_a_node_of_the_version_before_lists_the_services_alone(
    cluster: Cluster,
) -> None:
    class Before:
        def __getattr__(self, verb: str) -> Any:
            raise NoSuchVerb(verb)

        def services(self) -> Records[Any]:
            return Records([SERVICE])

    cluster._words = {"container_sup": Before()}
    assert cluster.services == [SERVICE]


TWO = [standing(wanted=3), standing("u2")]


class Standing:
    """Has just the verbs that it is given."""

    def __getattr__(self, verb: str) -> Any:
        raise NoSuchVerb(verb)

    def cloud_containers(self) -> Records[Any]:
        return Records([container(0), container(1, State.BACKOFF)])


@pytest.mark.parametrize(
    ("verb", "services", "said"),
    [
        ("service_status", [], "services 0"),
        (
            "service_status",
            [standing(wanted=3), standing("u2")],
            "services 2, ready 2/4",
        ),
        ("service_status", [standing(ready=0, wanted=0)], "services 1"),
        ("services", [SERVICE], "services 1"),
    ],
)
def test_it_tells_how_it_is(
    node: Any, tmp_path: Path, verb: str, services: list[Any], said: str
) -> None:
    from veo_shell.console import namespace

    client = Client(tmp_path)
    sup = Standing()
    setattr(sup, verb, lambda: services)
    cluster = namespace.build(client)["cluster"]
    cluster._words = {**cluster._words, "container_sup": sup}
    assert repr(cluster) == (
        f"cluster test: nodes 2 alive, 1 left; {said}; containers 1 running, 1 backoff"
    )
    client.close()

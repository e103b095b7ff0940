"""`settings` as a node answers it: the file it was started with."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fake_cluster import fake_cluster
from veo_shell.core.dispatch import dispatch
from veo_shell.core.model import NodeEntry
from veo_shell.core.verbs import unpack
from veo_shell.errors import ConfigError
from veo_shell.own_settings import OwnSettings

EXAMPLE = Path(__file__).parents[1] / "examples" / "cluster.yml"


def test_the_verbs_answer_from_the_nodes_own_file() -> None:
    own = OwnSettings(EXAMPLE)
    assert [entry.node for entry in own.get_nodes()] == ["uno@uno", "dos@dos"]
    h, t = own.get_applications()
    assert (h.name, h.network_mode, t.ports[0].name) == ("nginx", "host", "website")
    assert own.get_application("nginx") == (h, t)
    assert own.get_application("other") == ()
    assert own.get_role("uno@uno") == own.get_nodes()[0].role
    assert own.get_role("nobody") is None


def test_the_file_is_read_at_each_call(tmp_path: Path) -> None:
    file = tmp_path / "cluster.yml"
    own = OwnSettings(file)
    with pytest.raises(ConfigError, match=r"cluster\.yml: cannot be read"):
        own.get_nodes()
    file.write_text("nodes: [{node: a@b, role: edge}]")
    assert own.get_nodes() == (NodeEntry(node="a@b", role="edge"),)
    file.write_text("nodes: [{nood: a@b}]")
    with pytest.raises(ConfigError, match=r"cluster\.yml:1: nodes\[0\]\.nood"):
        own.get_role("a@b")


def test_a_node_without_a_file_says_how_to_give_one() -> None:
    own = OwnSettings(None)
    for verb in (own.get_nodes, own.get_applications):
        with pytest.raises(
            ConfigError, match=r"started without a cluster\.yml: name a"
        ):
            verb()


async def test_a_console_reaches_them_by_name(tmp_path: Path) -> None:
    async with fake_cluster(tmp_path, "uno") as cluster:
        await cluster.stop("uno")
        node = cluster.make("uno", config_file=EXAMPLE)
        await node.start()
        packed = await dispatch(node.words, "settings.get_applications", [], {})
        h, t = unpack(packed)
        assert (h, t) == OwnSettings(EXAMPLE).get_applications()
        container = await node.container_sup.add_service(t)
        assert container.ports[0].name == "website"

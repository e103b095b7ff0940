"""What a node publishes of its engine: names of images and volumes, not too many."""

from __future__ import annotations

import attrs
import pytest

from tests.core.samples import WEB, document, service
from veo_shell.core.holdings import MOST_BYTES, Holdings, canonical, volumes_of
from veo_shell.core.model import Mode, Mount, MountKind
from veo_shell.core.view import View

DATA = Mount(kind=MountKind.VOLUME, source="data", target="/data")
DIGEST = f"sha256:{'0' * 64}"


@pytest.mark.parametrize(
    ("image", "listed"),
    [
        ("nginx", "nginx:latest"),
        ("nginx:1.27", "nginx:1.27"),
        ("library/nginx", "nginx:latest"),
        ("docker.io/library/nginx:1", "nginx:1"),
        ("index.docker.io/me/app", "me/app:latest"),
        ("host:5000/app", "host:5000/app:latest"),
        ("host:5000/a/app:2", "host:5000/a/app:2"),
        (f"nginx@{DIGEST}", f"nginx@{DIGEST}"),
        (f"nginx:1@{DIGEST}", f"nginx@{DIGEST}"),
    ],
)
def test_an_image_is_called_as_engines_list_it(image: str, listed: str) -> None:
    assert canonical(image) == listed
    assert canonical(listed) == listed


def test_only_named_volumes_bind_a_service() -> None:
    mounts = (
        DATA,
        attrs.evolve(DATA, source="", target="/unnamed"),
        Mount(kind=MountKind.BIND, source="/srv", target="/srv"),
        Mount(kind=MountKind.TMPFS, target="/tmp"),
    )
    bound = attrs.evolve(WEB, mounts=mounts)
    assert volumes_of(bound) == {"data"}
    assert volumes_of(attrs.evolve(bound, mode=Mode.GLOBAL)) == set()
    assert volumes_of(attrs.evolve(bound, sticky=False)) == volumes_of(WEB) == set()


def test_the_newest_images_are_told_as_far_as_they_fit() -> None:
    holdings = Holdings(View())
    holdings.take([f"image-{n:04}:latest" for n in range(9999)], [])
    assert holdings.images[0] == "image-0000:latest"
    assert 300 < len(holdings.images) < 500
    assert sum(map(len, holdings.images)) < MOST_BYTES
    assert holdings.images == tuple(sorted(holdings.images))


def test_volumes_that_a_service_names_are_told_before_others_and_unnamed_never() -> (
    None
):
    view = View()
    view.merge_record(service(spec=attrs.evolve(WEB, mounts=(DATA,))))
    view.merge_record(service("u2", None))
    holdings = Holdings(view)
    holdings.take([], ["a" * 64, "data", "other", *(f"a{n}" for n in range(9999))])
    assert "data" in holdings.volumes
    assert "other" not in holdings.volumes
    holdings.take([], ["a" * 64, "other", "data"])
    assert holdings.volumes == ("data", "other")


def test_what_an_earlier_process_told_stands_until_the_engine_is_listed() -> None:
    """Else what waits for its volume, as the engine is away, would begin elsewhere."""
    holdings = Holdings(View())
    before = document(
        images=("nginx:latest",), volumes=("data",), lan_networks=("lan",)
    )
    holdings.remember(before)
    assert (holdings.images, holdings.volumes) == (("nginx:latest",), ("data",))
    assert holdings.lan_networks == ("lan",)


def test_networks_are_told_in_order() -> None:
    holdings = Holdings(View())
    holdings.take([], [], ["b", "a"])
    assert holdings.lan_networks == ("a", "b")

"""What a container is to the cluster, as its labels say it."""

from __future__ import annotations

import json

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veo_shell.core.docker_labels import identity_of, labels_of
from veo_shell.core.model import Identity, Port, Service, Transport

WEB = Service(name="web", image="nginx:latest")
IDENTITY = Identity(
    cluster="home", node="uno@uno", service="web", uid="4d2f7a91", slot=0, generation=1
)
LABELS = {
    "veo.cluster": "home",
    "veo.node": "uno@uno",
    "veo.service": "web",
    "veo.uid": "4d2f7a91",
    "veo.slot": "0",
    "veo.generation": "1",
}


def test_the_identity_and_the_ports_are_written_as_labels() -> None:
    ports = (
        Port(name="website", container_port=80),
        Port(name="port1", container_port=90, protocol=Transport.UDP),
    )
    service = attrs.evolve(WEB, ports=ports, labels=("K=V",))
    labels = labels_of(service, IDENTITY)
    spec = labels.pop("veo.spec")
    assert labels == {"K": "V", "veo.ports": "website:80/tcp,port1:90/udp", **LABELS}
    assert msgspec.json.decode(spec, type=Service) == service


def test_what_is_usual_of_a_service_is_not_in_its_label() -> None:
    label = labels_of(WEB, IDENTITY)["veo.spec"]
    assert json.loads(label) == {"name": "web", "image": WEB.image}
    assert msgspec.json.decode(label, type=Service) == WEB


def test_our_labels_win() -> None:
    service = attrs.evolve(WEB, labels=("veo.slot=7",))
    labels = labels_of(service, IDENTITY)
    assert {name: labels[name] for name in LABELS} == LABELS


def test_the_identity_is_read_from_the_labels() -> None:
    assert identity_of(LABELS | {"other": "label"}) == IDENTITY


def test_the_disk_that_a_container_was_made_on_is_written_and_read() -> None:
    labels = labels_of(WEB, attrs.evolve(IDENTITY, disk="d1"))
    assert labels["veo.disk"] == "d1"
    found = identity_of(labels)
    assert found is not None
    assert found.disk == "d1"
    assert found == IDENTITY  # it fills the same slot


@pytest.mark.parametrize("name", LABELS)
def test_labels_that_lack_one_are_not_ours(name: str) -> None:
    assert identity_of({k: v for k, v in LABELS.items() if k != name}) is None
    assert identity_of(LABELS | {name: ""}) is None


@pytest.mark.parametrize(
    "text", ["x", "-1", "1.0", "\uff11", "9" * 5000], ids=lambda t: t[:5]
)
@pytest.mark.parametrize("name", ["veo.slot", "veo.generation"])
def test_labels_with_a_wrong_number_are_not_ours(name: str, text: str) -> None:
    assert identity_of(LABELS | {name: text}) is None


texts = st.text(min_size=1)
counts = st.integers(0, 10**9)
identities = st.builds(
    Identity,
    cluster=texts,
    node=texts,
    service=texts,
    uid=texts,
    slot=counts,
    generation=counts,
)


@given(identities)
def test_every_identity_comes_back_from_its_labels(identity: Identity) -> None:
    assert identity_of(labels_of(WEB, identity)) == identity

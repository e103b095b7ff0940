"""Which ports of its host a service has to have for itself."""

import pytest

from veo_shell.core.model import Port, Service, Transport
from veo_shell.core.ports import HostPort, fixed_ports, publishes

PORTS = (
    Port(name="http", container_port=8080, host_port=80),
    Port(name="dns", container_port=53, host_port=53, protocol=Transport.UDP),
    Port(name="any", container_port=9000),
)
FIXED = [(80, Transport.TCP), (53, Transport.UDP)]


@pytest.mark.parametrize(
    ("mode", "taken"),
    [
        (None, FIXED),
        ("bridge", FIXED),
        ("shop", FIXED),
        ("host", [(8080, Transport.TCP), (53, Transport.UDP), (9000, Transport.TCP)]),
        ("none", []),
        ("container:db", []),
    ],
)
def test_ports_of_the_host_are_taken_as_the_network_has_it(
    mode: str | None, taken: list[HostPort]
) -> None:
    service = Service(name="web", image="nginx", network_mode=mode, ports=PORTS)
    assert fixed_ports(service) == taken
    assert publishes(mode) is (taken == FIXED)
    assert fixed_ports(service, {"lan", "none"}) == taken


def test_none_are_taken_where_it_has_an_address_of_its_own() -> None:
    service = Service(name="web", image="nginx", network_mode="lan", ports=PORTS)
    assert fixed_ports(service) == FIXED
    assert fixed_ports(service, ("lan",)) == []


def test_without_ports_none_are_taken() -> None:
    assert fixed_ports(Service(name="web", image="nginx")) == []

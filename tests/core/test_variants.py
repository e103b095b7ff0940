"""Which service a name means: the only one, or the variant that is said."""

from __future__ import annotations

import attrs
import pytest

from tests.core.samples import UNO, WEB, service, slot, standing
from veo_shell.core.model import Mode, Service
from veo_shell.core.variants import called, is_just, meant, uid_with
from veo_shell.core.verbs import pack_error, unpack_error
from veo_shell.core.view import View
from veo_shell.errors import AmbiguousService, UnknownService, VeoError

BLUE = attrs.evolve(WEB, variant="blue", image="nginx:1.27")
NEXT = attrs.evolve(WEB, variant="abcdef7")
LONE = attrs.evolve(WEB, name="lone")
UIDS = ("abcdef01", "abcdef02", "abcdef7", "e1", "gone")


def cluster() -> View:
    """Three are called web; a fourth was removed."""
    view = View()
    for uid, spec in zip(UIDS, (WEB, BLUE, NEXT, LONE, None), strict=True):
        view.merge_record(service(uid, spec, replicas=2))
    return view


def refused(name: str | Service, variant: str = "") -> VeoError:
    with pytest.raises(VeoError) as caught:
        meant(cluster(), name, variant)
    return caught.value


@pytest.mark.parametrize(
    ("name", "variant", "uid"),
    [
        ("lone", "", "e1"),
        (LONE, "", "e1"),
        (BLUE, "", "abcdef02"),
        ("lone", "e1", "e1"),
        ("web", "blue", "abcdef02"),
        ("web", "abcdef01", "abcdef01"),
        ("web", "abcdef02", "abcdef02"),
        # What the file calls one counts before the uid of another.
        ("web", "abcdef7", "abcdef7"),
        (WEB, "abcd", "abcdef01"),
        # As it stood, whatever it is asked for by now
        (standing("abcdef7", attrs.evolve(WEB, cpus=3)), "", "abcdef7"),
        (standing("abcdef01"), "abcdef01", "abcdef01"),
    ],
)
def test_one_is_meant(name: str | Service, variant: str, uid: str) -> None:
    assert meant(cluster(), name, variant).uid == uid


def test_a_name_of_several_is_refused_with_all_that_it_may_be() -> None:
    error = refused("web")
    assert isinstance(error, AmbiguousService)
    assert error.service == "web"
    assert error.candidates == [
        {"uid": u, "variant": v, "image": i, "replicas": 2}
        for u, v, i in (
            ("abcdef01", "", WEB.image),
            ("abcdef02", "blue", "nginx:1.27"),
            ("abcdef7", "abcdef7", WEB.image),
        )
    ]
    assert str(error).splitlines() == [
        "3 services are called 'web': choose with variant=",
        f"  abcdef01: {WEB.image}, replicas 2",
        "  abcdef02 or blue: nginx:1.27, replicas 2",
        f"  abcdef7 or abcdef7: {WEB.image}, replicas 2",
    ]
    assert str(unpack_error(pack_error(error))) == str(error)


def test_what_begins_several_is_refused_with_those() -> None:
    error = refused("web", "abcdef0")
    assert isinstance(error, AmbiguousService)
    assert [row["uid"] for row in error.candidates] == ["abcdef01", "abcdef02"]


@pytest.mark.parametrize("variant", ["abc", "bluee", "abcdef010", "e1"])
def test_a_variant_that_is_none_of_the_name_is_told_with_those_there_are(
    variant: str,
) -> None:
    error = refused("web", variant)
    assert isinstance(error, UnknownService)
    first, *rest = str(error).splitlines()
    assert first == f"no 'web' is the variant '{variant}'; there are"
    assert len(rest) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("wbe", "no service is called 'wbe'; did you mean 'web'?"),
        ("db", "no service is called 'db'"),
        (attrs.evolve(WEB, name="db"), "no service is called 'db'"),
        (
            attrs.evolve(LONE, cpus=3),
            "the service 'lone' stands with another spec: give its name alone",
        ),
        (
            standing("gone"),
            "that 'web' is gone, and another stands: give its name alone",
        ),
        (standing("e1", attrs.evolve(LONE, name="db")), "no service is called 'db'"),
    ],
)
def test_what_is_not_there_is_told(name: str | Service, said: str) -> None:
    error = refused(name)
    assert isinstance(error, UnknownService)
    assert str(error) == said


def test_of_two_of_one_spec_the_one_that_is_given_as_it_stood_is_meant() -> None:
    view = cluster()
    view.merge_record(service("e2", LONE))
    with pytest.raises(AmbiguousService):
        meant(view, LONE)
    assert [meant(view, standing(uid, LONE)).uid for uid in ("e1", "e2")] == [
        "e1",
        "e2",
    ]
    first, second = (view.service(uid) for uid in ("e1", "e2"))
    assert first
    assert second
    assert [is_just(LONE, one) for one in (first, second)] == [True, True]
    given = standing("e2", LONE)
    assert [is_just(given, one) for one in (first, second)] == [False, True]


@pytest.mark.parametrize(
    ("given", "uid"),
    [
        (LONE, "e1"),
        (standing("e2", LONE), "e2"),
        (standing("gone", LONE), "e1"),
        # It was changed: that is another service, or one that is to be
        (standing("e2", attrs.evolve(LONE, cpus=3)), ""),
        (attrs.evolve(LONE, cpus=3), ""),
        (attrs.evolve(LONE, name="db"), ""),
    ],
)
def test_what_stands_with_a_spec(given: Service, uid: str) -> None:
    view = cluster()
    view.merge_record(service("e2", LONE))
    assert uid_with(view, given) == uid


def test_a_variant_is_called_by_its_name_in_the_file_too() -> None:
    assert called(service("u", WEB)) == "web"
    assert called(service("u", BLUE)) == "web (blue)"


def test_without_fields_the_class_says_it() -> None:
    said = "Several services have that name: choose one with variant=."
    assert str(AmbiguousService()) == said


def test_of_what_runs_everywhere_those_that_are_wanted_are_told() -> None:
    view = cluster()
    view.merge_record(service("f1", attrs.evolve(LONE, mode=Mode.GLOBAL)))
    for number in range(3):
        one = slot(UNO, number, uid="f1", wanted=number > 0)
        view.merge_record(one)
    with pytest.raises(AmbiguousService) as caught:
        meant(view, "lone")
    assert "replicas 2 (global)" in str(caught.value)

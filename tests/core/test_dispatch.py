"""A verb called by name: what arrives, and what a wrong call is told."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from veo_shell.core.dispatch import access, described, dispatch
from veo_shell.core.model import Added, Candidate, Container, Restart, Service
from veo_shell.core.verbs import pack, read, unpack, write
from veo_shell.errors import UnknownService, UsageError, VerbFailed

if TYPE_CHECKING:
    from decimal import Decimal as Unseen

SERVICE = Service(name="web", image="nginx")
ADDED = Added(
    name="veo-uno-web-abcdef-0-1",
    service="web",
    uid="abcdef",
    slot=0,
    generation=1,
    node="uno@uno",
    address="192.0.2.1",
    image="nginx",
    copies=2,
)


class Word:
    """A word with a verb of each kind."""

    @read
    def count(self) -> int:
        """Count."""
        return 42

    @read
    async def where(self, service: Service) -> list[Candidate]:
        await asyncio.sleep(0)
        return [Candidate(node=service.name, fits=True)]

    @write
    def restart(self, policy: Restart, names: tuple[str, ...] = ()) -> str:
        """Take hints that travel as something else."""
        assert isinstance(policy, Restart)
        assert isinstance(names, tuple)
        return f"{policy.name} {len(names)}"

    @read
    def either(self, which: Container | str, *, flag: bool = False) -> str:
        """Take one of two."""
        return f"{type(which).__name__} {flag}"

    @read
    def listed(self, which: list[Container] | None) -> list[str]:
        """Take a list of records."""
        return [type(one).__name__ for one in which or ()]

    @read
    def many(self, *names: str, **more: int) -> list[Any]:
        """Take any number."""
        return [*names, *more]

    @read
    def unjudged(self, value: Service | Candidate) -> str:
        """Take what msgspec cannot judge."""
        return type(value).__name__

    @read
    def unseen(self, value: Unseen) -> str:
        """Take what is hinted by a name that is not there when it runs."""
        return type(value).__name__

    @write
    def remove(self, name: str) -> None:
        """Fail as verbs do."""
        raise UnknownService(f"no service is called {name}", service=name)

    @read
    def broken(self) -> int:
        """Fail as bugs do."""
        return 1 // 0

    @read
    def untold(self) -> object:
        """Answer what cannot travel."""
        return object()

    def inner(self) -> int:
        """Not a verb."""
        return 1


async def called(verb: str, *args: Any, **kwargs: Any) -> Any:
    named = {name: pack(value) for name, value in kwargs.items()}
    return unpack(await dispatch({"word": Word()}, verb, [*map(pack, args)], named))


async def test_sync_and_async_verbs_are_called_alike() -> None:
    assert await called("word.count") == 42
    fits = [Candidate(node="web", fits=True)]
    assert await called("word.where", SERVICE) == fits
    assert await called("word.where", service=SERVICE) == fits


async def test_a_verbs_own_error_comes_through() -> None:
    with pytest.raises(UnknownService) as caught:
        await called("word.remove", "web")
    assert caught.value.fields == {"service": "web"}


@pytest.mark.parametrize(
    ("verb", "args", "kwargs", "result"),
    [
        ("word.restart", ["on-failure", ["a", "b"]], {}, "ON_FAILURE 2"),
        ("word.either", ["x"], {"flag": True}, "str True"),
        ("word.either", [ADDED], {}, "Added False"),
        ("word.listed", [[ADDED, ADDED]], {}, ["Added", "Added"]),
        ("word.listed", [None], {}, []),
        ("word.many", ["a", "b"], {"c": 1}, ["a", "b", "c"]),
        ("word.unjudged", [SERVICE], {}, "Service"),
        ("word.unjudged", ["x"], {}, "str"),
        ("word.unseen", [5], {}, "int"),
    ],
)
async def test_arguments_arrive_as_their_hints_want_them(
    verb: str, args: list[Any], kwargs: dict[str, Any], result: Any
) -> None:
    assert await called(verb, *args, **kwargs) == result


@pytest.mark.parametrize(
    ("verb", "args", "said"),
    [
        ("wrod.count", [], "no word is called 'wrod': did you mean 'word'?"),
        ("zzz.count", [], "no word is called 'zzz'; there are word"),
        ("word.cuont", [], "word has no verb 'cuont': did you mean 'count'?"),
        ("word.inner", [], "word has no verb 'inner'"),
        ("word.__init__", [], "word has no verb '__init__'"),
        ("word", [], "word has no verb ''"),
        (
            "word.count",
            [1],
            "word.count: too many positional arguments; "
            "it is called as word.count() -> int",
        ),
        ("word.where", [], "missing a required argument: 'service'"),
        (
            "word.where",
            ["web"],
            "word.where: service must be Service, not 'web'; "
            "it is called as word.where(service: Service) -> list[Candidate]; "
            "settings.get_applications() has those of the file, "
            "container_sup.services() those that run",
        ),
        ("word.restart", ["sometimes"], "policy must be Restart, not 'sometimes'"),
        ("word.either", [5], "which must be Container | str, not 5"),
        ("word.either", [SERVICE], "which must be Container | str, not Service("),
        ("word.listed", [[ADDED, 5]], "must be list[Container] | None, not [Added("),
    ],
)
async def test_a_wrong_call_is_told_in_one_line(
    verb: str, args: list[Any], said: str
) -> None:
    with pytest.raises(UsageError) as caught:
        await called(verb, *args)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("verb", ["word.broken", "word.untold"])
async def test_a_bug_is_told_with_its_cause(verb: str) -> None:
    with pytest.raises(VerbFailed, match="failed inside the node") as caught:
        await called(verb)
    assert isinstance(caught.value.__cause__, ZeroDivisionError | TypeError)


@pytest.mark.parametrize(
    ("verb", "kind"),
    [
        ("word.count", "read"),
        ("word.remove", "write"),
        ("word.nothing", ""),
        ("nothing.count", ""),
    ],
)
def test_a_verb_reads_or_writes(verb: str, kind: str) -> None:
    assert access({"word": Word()}, verb) == kind


def test_a_verb_is_described_as_it_is_spelled() -> None:
    word = Word()
    assert described(word, "count") == ["read", "() -> int", "Count."]
    assert described(word, "where")[2] == ""
    assert described(word, "many")[1] == "(*names: str, **more: int) -> list[Any]"
    assert described(word, "restart")[:2] == [
        "write",
        "(policy: Restart, names: tuple[str, ...] = ()) -> str",
    ]

"""Calling a verb by name: from the control socket, from another node, from HTTP."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
from collections.abc import Callable, Mapping
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec

from veo_shell.core.verbs import pack_in_turns, unpack, verbs_of
from veo_shell.errors import UsageError, VeoError, VerbFailed

Words = Mapping[str, object]
WHENCE = {
    "Service": "; settings.get_applications() has those of the file, "
    "container_sup.services() those that run"
}
"""Where to get what a verb wants, of what is often given by its name."""


async def dispatch(
    words: Words, verb: str, packed_args: Any, packed_kwargs: Any
) -> Any:
    """Call a verb with packed arguments and return its packed result.

    Raises `VeoError` only: `UsageError` for a wrong call, the verb's own errors, and
    `VerbFailed` for a bug of ours, which the caller logs.
    """
    try:
        result = _bound(words, verb, packed_args, packed_kwargs)()
        if inspect.isawaitable(result):
            result = await result
        return await pack_in_turns(result)
    except VeoError:
        raise
    except Exception as exc:
        raise VerbFailed(
            f"{verb} failed inside the node ({type(exc).__name__}); see its log"
        ) from exc


def access(words: Words, verb: str) -> str:
    """Return whether a verb is a "read" or a "write", "" if there is none."""
    word, _, name = verb.partition(".")
    return getattr(_verbs(words.get(word)).get(name), "verb", "")


def described(word: object, verb: str) -> list[str]:
    """Return `[access, signature, docstring]` of a verb."""
    method = getattr(word, verb)
    return [method.verb, _signature(method), inspect.getdoc(method) or ""]


def _bound(
    words: Words, verb: str, packed_args: Any, packed_kwargs: Any
) -> Callable[[], Any]:
    method = _method(words, verb)
    args = [unpack(packed) for packed in packed_args]
    kwargs = {str(name): unpack(packed) for name, packed in packed_kwargs.items()}
    function, own = _unbound(method)
    try:
        bound = _shape(function).bind(*own, *args, **kwargs)
    except TypeError as exc:
        raise UsageError(
            f"{verb}: {exc}; it is called as {verb}{_signature(method)}"
        ) from exc
    bound.arguments.update(_converted(verb, method, bound.arguments))
    return lambda: function(*bound.args, **bound.kwargs)


def _method(words: Words, verb: str) -> Callable[..., Any]:
    word, _, name = verb.partition(".")
    if word not in words:
        raise UsageError(f"no word is called {word!r}{_did_you_mean(word, words)}")
    verbs = _verbs(words[word])
    if name not in verbs:
        raise UsageError(f"{word} has no verb {name!r}{_did_you_mean(name, verbs)}")
    method: Callable[..., Any] = getattr(words[word], name)
    return method


def _unbound(method: Any) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Return the function of a method, and what it is bound to, if it is one."""
    function = getattr(method, "__func__", method)
    return function, (() if function is method else (method.__self__,))


def _converted(
    verb: str, method: Callable[..., Any], arguments: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments as their hints want them; raise `UsageError`."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    function, _ = _unbound(method)
    parameters, hints = _shape(function).parameters, _hints(function)
    converted = {}
    for name, value in arguments.items():
        if name not in hints or parameters[name].kind in variadic:
            continue
        if _is_asked_for(value, hints[name]):
            continue
        try:
            converted[name] = msgspec.convert(value, hints[name])
        except msgspec.ValidationError as exc:
            wanted = inspect.formatannotation(_bare(parameters[name].annotation))
            raise UsageError(
                f"{verb}: {name} must be {wanted}, not {value!r:.60}; "
                f"it is called as {verb}{_signature(method)}{WHENCE.get(wanted, '')}"
            ) from exc
        except TypeError:  # a hint that msgspec cannot judge: the verb's own affair
            continue
    return converted


def _is_asked_for(value: Any, hint: Any) -> bool:
    """Tell whether a hint asks for such a record, or for one that says less.

    `add_service` returns an `Added`: a container, of which msgspec will not hear.
    """
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_asked_for(value, one) for one in get_args(hint))
    if get_origin(hint) is list:
        (member,) = get_args(hint)
        return isinstance(value, list) and all(_is_asked_for(v, member) for v in value)
    return hasattr(hint, "__attrs_attrs__") and isinstance(value, hint)


# What a verb is called with is looked up once: a log that is read is many calls.
@functools.lru_cache(maxsize=64)
def _known(word: Any) -> dict[str, Callable[..., Any]]:
    return verbs_of(word)


def _verbs(word: object) -> dict[str, Callable[..., Any]]:
    kind: Any = type(word)  # not for mypy, a type is hashable
    return _known(kind)


@functools.lru_cache(maxsize=512)
def _shape(function: Any) -> inspect.Signature:
    return inspect.signature(function)


@functools.lru_cache(maxsize=512)
def _hints(function: Any) -> dict[str, Any]:
    try:
        return get_type_hints(function)
    except NameError:  # a hint imported under TYPE_CHECKING: nothing to check by
        return {}


class _Bare(str):
    """A hint that prints without the quotes that `inspect` gives to a string."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _signature(method: Callable[..., Any]) -> str:
    signature = inspect.signature(method)
    parameters = [
        p.replace(annotation=_bare(p.annotation)) for p in signature.parameters.values()
    ]
    returned = _bare(signature.return_annotation)
    return str(signature.replace(parameters=parameters, return_annotation=returned))


def _bare(hint: Any) -> Any:
    return _Bare(hint) if isinstance(hint, str) else hint


def _did_you_mean(name: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    if close:
        return f": did you mean {close[0]!r}?"
    return f"; there are {', '.join(sorted(known)) or 'none'}"

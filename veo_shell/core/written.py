"""What the verbs that change the cluster answer."""

from __future__ import annotations

from veo_shell.core.model import Container, Written

ONE_COPY = (
    "on one disk only: no other node confirmed it; it gets its second copy as soon as "
    "there is one"
)


def written(
    what: str, copies: int, left: str = "", containers: tuple[Container, ...] = ()
) -> Written:
    """Return what a verb answers; it warns of a write that only one disk has."""
    warnings = [ONE_COPY] if copies == 1 else []
    warnings += [left] if left else []
    return Written(
        what=what, copies=copies, warning="; ".join(warnings), containers=containers
    )

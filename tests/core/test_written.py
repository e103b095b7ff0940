"""What the verbs that change the cluster answer."""

from __future__ import annotations

import pytest

from tests.core.samples import container
from veo_shell.core.model import Written
from veo_shell.core.written import ONE_COPY, written


@pytest.mark.parametrize(
    ("copies", "left", "warning"),
    [
        (2, "", ""),
        (0, "", ""),
        (1, "", ONE_COPY),
        (2, "one stays", "one stays"),
        (1, "one stays", f"{ONE_COPY}; one stays"),
    ],
)
def test_it_warns_of_one_copy_and_of_what_is_left(
    copies: int, left: str, warning: str
) -> None:
    held = (container(),)
    assert written("done", copies, left, held) == Written(
        what="done", copies=copies, warning=warning, containers=held
    )

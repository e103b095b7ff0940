"""What is laid out with less work is laid out as prompt_toolkit would."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from prompt_toolkit.application import Application, create_app_session
from prompt_toolkit.application.current import set_app
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.input import DummyInput
from prompt_toolkit.layout import (
    BufferControl,
    Dimension,
    FloatContainer,
    HSplit,
    VSplit,
    Window,
    walk,
)
from prompt_toolkit.output import DummyOutput

from veo_shell.console.layout import Columns, Content, lighten


@st.composite
def dimensions(draw: st.DrawFn) -> Dimension:
    low, wanted, high = sorted(draw(st.tuples(*[st.integers(0, 60)] * 3)))
    weight = draw(st.sampled_from([1, 1, 2]))
    high = draw(st.sampled_from([high, wanted, 10**30]))
    return Dimension(min=low, preferred=wanted, max=high, weight=weight)


@given(
    wanted=st.lists(dimensions(), max_size=4),
    width=st.integers(0, 200),
)
def test_columns_are_as_wide(wanted: list[Dimension], width: int) -> None:
    windows = [Window(width=each) for each in wanted]
    theirs = VSplit(windows)._divide_widths(width)
    assert Columns(windows)._divide_widths(width) == theirs


async def test_what_is_shown_is_made_once_for_each_drawing() -> None:
    app: Application[None] = Application()
    with (
        create_app_session(input=DummyInput(), output=DummyOutput()),
        set_app(app),
    ):
        buffer = Buffer()
        window = Window(BufferControl(buffer))
        lighten(FloatContainer(HSplit([VSplit([window])]), floats=[]))
        content = window.content
        assert type(content) is Content
        buffer.text = "first"
        made = content.create_content(80, 1)
        assert content.create_content(80, 24) is made
        assert content.create_content(40, 24) is not made
        made = content.create_content(80, 24)
        app.render_counter += 1
        assert content.create_content(80, 24) is not made
        await app.cancel_and_wait_for_background_tasks()


def test_all_of_a_layout_is_lightened() -> None:
    whole = FloatContainer(HSplit([VSplit([Window(BufferControl())])]), floats=[])
    lighten(whole)
    kinds = {type(part) for part in walk(whole)}
    assert Columns in kinds
    assert VSplit not in kinds

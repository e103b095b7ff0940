"""Have prompt_toolkit lay out a screen with less work: two thirds of a key's time.

It divides the columns of a line one at a time, three times for each key, and colours
the input at least four times. What comes out of it here is the same.
"""

from __future__ import annotations

from prompt_toolkit.application import get_app
from prompt_toolkit.layout import (
    BufferControl,
    Container,
    UIContent,
    VSplit,
    Window,
    walk,
)


class Columns(VSplit):
    """Divides at once where all get what they prefer, and one what is left."""

    def _divide_widths(self, width: int) -> list[int] | None:
        wants = [child.preferred_width(width) for child in self._all_children]
        sizes = [want.preferred for want in wants]
        left = width - sum(sizes)
        growing = [n for n, want in enumerate(wants) if want.max > want.preferred]
        if left < 0 or len(growing) > 1 or not all(want.weight for want in wants):
            return super()._divide_widths(width)
        for n in growing:
            sizes[n] = min(sizes[n] + left, wants[n].max)
        return sizes


class Content(BufferControl):
    """Makes what it shows once for each time that the screen is drawn."""

    _made_for: tuple[int, int, bool] | None = None
    _made: UIContent

    def create_content(
        self, width: int, height: int, preview_search: bool = False
    ) -> UIContent:
        wanted = get_app().render_counter, width, preview_search
        if wanted != self._made_for:
            self._made = super().create_content(width, height, preview_search)
            self._made_for = wanted
        return self._made


def row_start(control: BufferControl, window: Window) -> int:
    """Return where the row of the screen begins that the cursor is in.

    A line that is too wide has several; what is shown below an earlier one of them
    would hide what is being typed.
    """
    document = control.buffer.document
    shown = window.render_info
    width = shown.window_width if shown else 0
    return document.cursor_position - document.cursor_position_col % (width or 1 << 30)


def lighten(container: Container) -> None:
    """Have what is laid out in a container laid out by these."""
    for part in walk(container):
        if type(part) is VSplit:
            part.__class__ = Columns
        control = getattr(part, "content", None)
        if type(control) is BufferControl:
            control.__class__ = Content

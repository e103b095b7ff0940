"""What may be meant by a name that nothing has."""

from __future__ import annotations

import difflib

from veo_shell.core.view import View


def meant(name: str, view: View) -> str:
    """Return what a service, container or node is called that may be meant, or ""."""
    nodes = [head.node for head in view.nodes]
    known = [
        *(record.service.name for record in view.services() if record.service),
        *(container.name for container in view.containers()),
        *nodes,
        *(node.partition("@")[0] for node in nodes),
    ]
    near = difflib.get_close_matches(name, [one for one in known if one != name], 1)
    return f"; did you mean {near[0]!r}?" if near else ""

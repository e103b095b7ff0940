"""What happens in a cluster, by kind: what the journal and `events()` tell.

`docs/events.md` lists the same for operators.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a console that shows entries does without attrs
    from veo_shell.core.model import Status

CONTAINERS = {
    "creating": "it is being made; its image is fetched first where that is missing",
    "starting": "it was made, or had ended, and is being started",
    "start_failed": "Docker could not make or start it; that is tried again",
    "started": "it runs",
    "restarted": "it runs again after it had ended",
    "adopted": "it was there when its node's daemon began, and is taken back",
    "ready": "it runs, and its health check, if any, succeeds: DNS answers it",
    "unhealthy": "its health check fails; DNS answers it no more",
    "exited": "it ended, with the exit code that is told",
    "killed": "it was killed: out of memory, by SIGKILL, or by VEO for what is told",
    "failed": "it ended and is not started again, for the reason that is told",
    "stopping": "it is being stopped: not wanted here any more, or to be restarted",
    "removed": "it is gone from its node",
    "orphan": "its service is known to no node, and what becomes of it is told",
}
INSTANCES = {
    "placed": "a node is chosen for an instance, or keeps it",
    "waits": "no node fits an instance, for the reasons that are told",
    "moving": "an instance begins to move: a new container is made first",
    "moved": "an instance is on another node from now on; what it leaves behind ends",
    "replacing": "an instance begins to be replaced by one of another spec",
    "replaced": "an instance is of another spec from now on",
    "rebalanced": "`rebalance` has an instance move",
    "healed": "one of two containers of an instance was chosen, and the other ends",
    "stopped": "an operator stopped an instance",
    "given_up": "an instance is one too many, and ends",
}
SERVICES = {
    "asked": "an operator asked for what changes something: who, from where, and why",
    "added": "an operator added a service, or one more instance of it",
    "refused": "a service was to be added and fits nowhere",
    "recalled": "no node knew it any more: it is known again, from its containers",
    "scaled": "an operator changed how many instances there are to be",
    "updated": "an operator gave a service another spec, or had one rolled back",
    "update_completed": "all instances are of the spec that stands",
    "update_failed": "an instance of the new spec failed: what follows is told",
    "rolled_back": "all instances are of the spec before again",
    "service_removed": "a service is removed",
}
VERDICTS = {
    "node_unknown": "it is a member, and was not heard yet",
    "node_up": "it is heard",
    "node_suspect": "it is silent",
    "node_down": "its host is there, its daemon is not",
    "node_paused": "it was stopped for a while",
    "node_dead": "nobody hears it: its work starts elsewhere",
    "node_left": "it left the cluster",
}
NODES = {
    **VERDICTS,
    "node_leaves": "it begins to leave, or has left with something still there",
    "node_removed": "an operator removed it from the cluster",
    "drained": "an operator has its work move away",
    "undrained": "it takes work again",
    "role": "an operator gave it a role",
    "engine_lost": "its Docker Engine does not answer",
    "engine_back": "its Docker Engine answers again",
    "disk_failed": "its disk takes nothing",
    "disk_back": "its disk takes what is written again",
}
RECORDS = {
    "overridden": "a write gave way to another one of the same moment",
    "too_large": "something fits no message, so the other nodes do not get it",
}
FOLLOWED = {
    "missed": "who follows does so too slowly: what is missing, `events()` tells",
}
KINDS = {**CONTAINERS, **INSTANCES, **SERVICES, **NODES, **RECORDS, **FOLLOWED}

_TOPICS = {
    **dict.fromkeys(VERDICTS, "verdict"),
    "engine_back": "engine_lost",
    "disk_back": "disk_failed",
    "undrained": "drained",
    **dict.fromkeys(("update_completed", "update_failed", "rolled_back"), "updated"),
}


def verdict(status: Status) -> str:
    """Return the kind of an entry by which a node takes another one for this."""
    return "node_up" if status.value == "alive" else f"node_{status.value}"


def topic(kind: str) -> str:
    """Return what an entry tells the state of: the last one of a topic stands."""
    return _TOPICS.get(kind, kind)

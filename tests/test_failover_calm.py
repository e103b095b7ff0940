"""No false alarm: busy processors, a lossy network and much to do are no dead nodes.

In full length this is a part of `make soak`.
"""

from __future__ import annotations

import pytest

from scripts.soak_hosts import alarms, busy, churn, lossy
from tests.real_node import eventually
from tests.rig.cluster import Cluster

pytestmark = [pytest.mark.rig, pytest.mark.timeout(240)]
BUSY_S = 20.0
CHURN_S = 15.0
LOSS = 0.01
SHARE = 0.5
"""So much of the pace of `make soak` has to be kept, on a machine that does more."""


def test_no_node_is_taken_for_dead(cluster: Cluster) -> None:
    cluster.add("web")
    with busy(), lossy(cluster.rig, LOSS):
        assert alarms(cluster, BUSY_S) == []
    eventually(cluster.is_joined, 30)
    done = churn(cluster, CHURN_S)
    assert done.alarms == []
    assert done.failures == []
    assert done.is_enough(SHARE), done

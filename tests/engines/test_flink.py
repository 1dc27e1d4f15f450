"""A bare Flink cluster starts and stops, whether or not there is Beam's job server for it."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tests.engines import binaries, servers
from tests.engines.conftest import flink_home


@pytest.mark.full
def test_cluster_of_two_task_managers_starts_and_stops(tmp_path: Path) -> None:
    with servers.flink_cluster(flink_home(), tmp_path) as cluster:
        overview = cluster.overview()
        assert (overview["taskmanagers"], overview["slots-total"], overview["slots-available"]) == (2, 2, 2)
        assert overview["flink-version"] == binaries.FLINK_VERSION
        assert all(map(psutil.pid_exists, cluster.pids))
    assert not any(map(psutil.pid_exists, cluster.pids))
    assert not servers.answers(int(cluster.master.rpartition(":")[2]))

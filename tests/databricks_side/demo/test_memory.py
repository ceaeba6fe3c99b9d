"""The peak is that of all processes together."""

from __future__ import annotations

import sys
from pathlib import Path

from demo.memory import MemorySampler
from demo.processes import Processes, environment, until

GREEDY = "block = b'x' * (64 << 20); print('full', flush=True); import time; time.sleep(600)"


def test_what_children_take_is_counted_and_the_peak_stays(tmp_path: Path) -> None:
    processes = Processes(tmp_path)
    sampler = MemorySampler(processes)
    sampler.sample()
    before = sampler.resident
    child = processes.spawn("greedy", [sys.executable, "-c", GREEDY], tmp_path / "log", environment(tmp_path))
    until(lambda: "full" in child.log.read_text(), "it has its memory", processes, seconds=30, pause=0.05)
    sampler.sample()
    processes.end()
    peak = sampler.resident
    assert peak >= before + (64 << 20)
    sampler.sample()
    assert sampler.resident == peak
    assert sampler.proportional == 0 or (64 << 20) < sampler.proportional <= peak
    assert "GiB resident" in str(sampler)


def test_it_samples_by_itself_and_stops(tmp_path: Path) -> None:
    sampler = MemorySampler(Processes(tmp_path))
    sampler.start()
    until(lambda: sampler.resident > 0, "it has sampled", Processes(tmp_path), seconds=30, pause=0.05)
    sampler.stop()


def test_it_may_be_stopped_before_it_was_started(tmp_path: Path) -> None:
    MemorySampler(Processes(tmp_path)).stop()

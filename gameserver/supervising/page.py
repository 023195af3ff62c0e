"""What operators are told about all workers on one page."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import aiohttp
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from gameserver.supervising.merging import merged
from gameserver.supervising.worker import Worker


class Page:
    """The operator's page; ``stopping`` is set when all workers are told to go."""

    def __init__(
        self, workers: Sequence[Worker], session: aiohttp.ClientSession, stopping: asyncio.Event
    ) -> None:
        self._workers = workers
        self._session = session
        self._stopping = stopping

    def readiness(self) -> tuple[bool, str]:
        """Return whether any worker can serve players, and what is wrong with the others."""
        if self._stopping.is_set():
            return False, "not ready: draining"
        unready = [
            f"worker {worker.number} is not: {worker.unready}"
            for worker in self._workers
            if worker.unready
        ]
        is_ready = len(unready) < len(self._workers)
        return is_ready, "; ".join(["ready" if is_ready else "not ready", *unready])

    async def metrics(self) -> bytes:
        """Return the metrics of all workers, each with its number, and which of them answered."""
        async with asyncio.TaskGroup() as tasks:
            asked = {
                worker: tasks.create_task(worker.metrics(self._session)) for worker in self._workers
            }
        pages = {worker: task.result() for worker, task in asked.items()}
        told = merged({str(one.number): page for one, page in pages.items() if page is not None})
        registry = CollectorRegistry()
        registry.register(_Workers(pages))
        return told.encode() + generate_latest(registry)


class _Workers(Collector):
    """What only the supervisor knows of its workers."""

    def __init__(self, pages: dict[Worker, str | None]) -> None:
        self._pages = pages

    def collect(self) -> list[Metric]:
        up = GaugeMetricFamily(
            "gameserver_worker_up", "Whether the worker answers.", labels=["worker"]
        )
        restarts = CounterMetricFamily(
            "gameserver_worker_restarts", "Times that it was started again.", labels=["worker"]
        )
        for worker, page in self._pages.items():
            up.add_metric([str(worker.number)], page is not None)
            restarts.add_metric([str(worker.number)], worker.restarts)
        return [up, restarts]

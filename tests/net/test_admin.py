"""The operator's port: alive, ready, counted."""

from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gameserver.net.listener import PortInUse
from protocol.messages import Command
from tests.net.rig import Rig, free_port, packed


async def get(rig: Rig, path: str) -> tuple[int, str]:
    """Ask the operator's port."""
    url = f"http://127.0.0.1:{rig.server.admin_port}{path}"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def test_it_says_whether_players_can_be_served() -> None:
    async with Rig(admin_port=free_port()) as rig:
        assert await get(rig, "/livez") == (200, "alive\n")
        assert await get(rig, "/readyz") == (200, "ready\n")
        rig.unready = "storage is away"
        assert await get(rig, "/readyz") == (503, "not ready: storage is away\n")
        rig.unready = ""
        rig.server.refuse()
        assert await get(rig, "/readyz") == (503, "not ready: draining\n")
        assert (await get(rig, "/elsewhere"))[0] == 404


async def test_it_is_not_ready_before_the_players_port_is_open() -> None:
    async with Rig(admin_port=free_port(), is_closed=True) as rig:
        assert await get(rig, "/readyz") == (503, "not ready: starting\n")


async def test_metrics_have_the_names_that_were_asked_for_and_true_numbers() -> None:
    async with Rig(admin_port=free_port(), command_burst=1) as rig:
        rig.metrics.rooms_open["tiny"] = 3
        rig.metrics.count_command("Bet", "accepted", 7)
        rig.metrics.count_command("Bet", "refused", 4000)
        peer = await rig.player()
        await rig.peer()
        for number in (1, 2):
            peer.send(Command(1, number, packed([1])))
        await peer.message()
        status, text = await get(rig, "/metrics")
        assert status == 200
        samples = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    assert samples["game_active_count", "tiny"] == 3
    assert samples["player_connected_count",] == 1
    assert samples["message_processed_total", "Bet", "accepted"] == 1
    assert samples["command_latency_ms_bucket", "10", "Bet"] == 1
    assert samples["command_latency_ms_bucket", "+Inf", "Bet"] == 2
    assert samples["command_latency_ms_sum", "Bet"] == 4007
    assert samples["gameserver_connections",] == 2
    assert samples["gameserver_messages_in_total", "Command"] == 2
    assert samples["gameserver_commands_rate_limited_total",] == 1
    assert samples["gameserver_commits_total",] == 0


async def test_a_port_that_is_taken_is_told_as_that() -> None:
    async with Rig(admin_port=free_port()) as rig:
        ports: list[dict[str, Any]] = [
            {"port": rig.server.port},
            {"admin_port": rig.server.admin_port},
        ]
        for taken in ports:
            with pytest.raises(PortInUse, match="is in use"):
                async with Rig(**taken):
                    pass

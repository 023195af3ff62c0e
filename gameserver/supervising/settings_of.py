"""The settings of one worker, made from those of all of them, as variables of its environment.

Secrets are among them: who else is on the machine can read flags, and no variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from gameserver.config import Config, settings
from gameserver.config.settings import WORKER_PORT
from gameserver.config.sources import PREFIX, TEST_PREFIX

LOOPBACK = "127.0.0.1"


def worker_config(config: Config, number: int, dsn: str, port: int, admin_port: int) -> Config:
    """Return what worker ``number`` goes by; all take in players at ``port`` besides their own."""
    own_port = own_port_of(config, number)
    advertise, peer_address = config.advertise, config.peer_address
    return replace(
        config,
        workers=1,
        postgres=dsn,
        port=port,
        worker_port=own_port,
        admin_host=LOOPBACK,
        admin_port=admin_port,
        node_name=None if config.node_name is None else f"{config.node_name}-{number}",
        advertise=None if advertise is None else _at_port(advertise, own_port),
        peer_port=config.peer_port and config.peer_port + number,
        peer_address=None if peer_address is None else _counted_up(peer_address, number),
    )


def own_port_of(config: Config, number: int) -> int:
    """Return the port that a worker has for itself."""
    return (config.worker_port or WORKER_PORT) + number


def variables(config: Config, environ: Mapping[str, str]) -> dict[str, str]:
    """Return an environment in which exactly these settings hold."""
    kept = {
        name: value
        for name, value in environ.items()
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX)
    }
    values = {one.variable: (one, getattr(config, one.field)) for one in settings()}
    return kept | {
        variable: setting.kind.written(value)
        for variable, (setting, value) in values.items()
        if value not in (None, ())
    }


def _at_port(url: str, port: int) -> str:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    bare = host if host.endswith("]") or ":" not in host else host.rpartition(":")[0]
    return parts._replace(netloc=f"{bare}:{port}").geturl()


def _counted_up(address: str, number: int) -> str:
    host, colon, port = address.rpartition(":")
    return f"{host}:{int(port) + number}" if colon and port.isdecimal() else address

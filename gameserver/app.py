"""The composition root: the only place that knows which concrete parts are in use.

It puts together a store, the games, a node, the services and the edge, runs them, and takes them
down in order: let nobody in, say goodbye, tick no more, commit, store the rooms, close.
"""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import structlog
import uvloop

from gameserver.app_cluster import Membership, Parts, Way, bracketed, cluster_id, node_name
from gameserver.config import Config, ConfigError
from gameserver.engine.game import Game
from gameserver.exits import EXIT_DRAIN_RAN_OUT
from gameserver.games import conquest, keno, quiz
from gameserver.games.quiz.bank import Bank, ContentError, parse_bank
from gameserver.net.dispatch import Services
from gameserver.net.server import Inside, NetServer
from gameserver.runtime import collector
from gameserver.runtime.clock import NS_PER_MS, SystemClock
from gameserver.runtime.elected import Elected
from gameserver.runtime.node import Node, NodeSettings
from gameserver.runtime.recovery import opens_what_is_stored
from gameserver.runtime.signing import HeadSigner
from gameserver.runtime.slots import TICK_MS
from gameserver.services.accounts import Accounts
from gameserver.services.audit.heads import BadLine, HeadsFile, gone_backwards
from gameserver.services.lobby import Lobby, LobbyLimits
from gameserver.services.requests import Requests
from gameserver.services.wallet import Wallet
from persistence.embedded import EmbeddedPostgres
from persistence.interfaces import Store
from persistence.memory import MemoryStore
from persistence.ownership import TaskFence
from persistence.postgres.migrate import migrate as migrate_schema
from persistence.postgres.records import prune, reading
from persistence.postgres.store import PostgresStore
from persistence.sealing import KeyRing, KeysUnusable, load_or_create_keys

log = structlog.get_logger(__name__)

T = TypeVar("T")

KEYS_FILE = "keys.json"
POSTGRES_DIR = "postgres"
GOODBYES_SPREAD_S = 0.5  # Clients that are told to come back do not all come in the same moment.
PRUNE_INTERVAL_S = 3600.0
SETTLE_S = 0.2  # A few ticks, so that rooms note who has gone.


def serve(config: Config) -> int:
    """Run the server until it is told to stop; return the exit code."""
    return run(config, _serve(config))


def migrate(config: Config) -> int:
    """Bring the database's schema up to date."""

    async def bring_up() -> int:
        async with database(config) as dsn:
            await _migrate(dsn)
        return 0

    return run(config, bring_up())


def run(config: Config, main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on a loop of its own."""
    factory = uvloop.new_event_loop if config.uvloop else asyncio.new_event_loop
    try:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(main)
    except BaseExceptionGroup as group:
        raise _cause(group) from group


def _cause(error: BaseException) -> BaseException:
    """Return the first error that is not a group: the others were cancelled because of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


# --- Serving.


async def _serve(config: Config) -> int:
    games = load_games(config)
    keys = _keys(config)
    clock = SystemClock()
    async with _store(config) as (store, dsn):
        await _check_keys(config, store, keys)
        cluster = await cluster_id(config, store, clock)
        name = node_name(config)
        if config.worker_port is not None:  # Workers mostly write into one log.
            structlog.contextvars.bind_contextvars(node_name=name)
        node = Node(store, games, keys.sealer(), clock, _node_settings(config, name))
        refused: tuple[int, ...] = ()
        if dsn is not None:
            heads = HeadsFile(data_dir_of(config), config.worker_port)
            refused = await _refused(config, dsn, heads, keys)
            interval_s = config.head_interval_ns / 1e9
            node.signer = HeadSigner(store, keys.signing, clock, interval_s, heads.keep)
        services = _services(config, store, games, node, keys)
        member = None
        if config.redis is not None:
            parts = Parts(store, node, clock, services.accounts, services.lobby, keys.signing)
            member = Membership(config, parts, name)
            services.way = Way(member.cluster, services.accounts)
        find = member.cluster.url_of_room if member and config.route == "relay" else None
        inside = Inside(node.host, services, node.metrics, clock, _unready(node, member), find)
        async with asyncio.TaskGroup() as tasks, AsyncExitStack() as stack:
            net = NetServer(config, inside, tasks)
            await net.start_admin()
            await net.check_port()  # Before others lose their shards to us, and for nothing.
            if member is None:
                await node.start(refused)
            else:
                node.keeper.refused.update(refused)
            running = tasks.create_task(node.run(), name="node")
            await net.start()
            told = _told_to_stop()  # Before anybody hears that we are ready, and may stop us.
            if member is not None:
                member.cluster.on_urls = net.tell_urls
                if net.relay is not None:
                    member.cluster.on_news += (net.relay.look, member.admits_nodes_to(net.edge))
                member.cluster.on_drain = told.set
                member.cluster.on_cut_off = net.send_away
                member.cluster.connections = lambda: net.connections
                await stack.enter_async_context(member.joined(net.port, cluster, tasks))
                await net.share()
            _say_ready(config, net, games)
            beside = [tasks.create_task(collector.run(), name="collector")]
            if dsn is not None and config.journal_keep_ns:
                runner = f"{name} {os.urandom(4).hex()}"
                schedule = (_pruning(dsn, config.journal_keep_ns / 1e9), PRUNE_INTERVAL_S)
                elected = Elected("pruning", runner, store, clock, schedule)
                beside.append(tasks.create_task(elected.run(), name="pruning"))
            await told.wait()
            code = await _drain(config, net, node, member, running)
            for task in beside:
                task.cancel()
        return code


def _pruning(dsn: str, keep_s: float) -> Callable[[TaskFence], Awaitable[None]]:
    async def pruned(fence: TaskFence) -> None:
        done = await prune(dsn, keep_s, fence)
        log.info("journal_pruned", entries=done.entries, links=done.links)

    return pruned


def _unready(node: Node, member: Membership | None) -> Callable[[], str]:
    def unready() -> str:
        is_draining = member is not None and member.cluster.is_draining
        return "draining" if is_draining else node.unready()

    return unready


async def _check_keys(config: Config, store: Store, keys: KeyRing) -> None:
    """Raise KeysUnusable if the rooms were sealed with others, unless that is wanted."""
    if not config.accept_other_keys and not await opens_what_is_stored(store, keys.sealer()):
        raise KeysUnusable(
            f"the rooms in the database were sealed with other keys than those in "
            f"{keys_file_of(config)}: put the right file there, or give those rooms up "
            f"with --accept-other-keys on"
        )


async def _refused(config: Config, dsn: str, heads: HeadsFile, keys: KeyRing) -> tuple[int, ...]:
    """Return the shards of a database that is older than what was signed, unless that is wanted."""
    lines = heads.lines()
    try:
        async with reading(dsn) as records:
            wrong = await gone_backwards(records, lines, keys.signing.public_key())
    except BadLine as error:
        raise ConfigError(
            f"{heads.bad_line()}: put a sound copy there, or move the file away, and what it "
            f"proves about the past is lost"
        ) from error
    if not wrong:
        return ()
    if config.accept_rollback:
        log.warning("rollback_accepted", shards=sorted(wrong))
        await heads.accept(sorted(wrong), SystemClock().wall_ms())
        return ()
    for shard, why in wrong.items():
        log.error("shard_refused", shard=shard, why=why)
    log.error(
        "database_went_backwards",
        shards=len(wrong),
        hint="restore a newer backup, or accept what was lost with --accept-rollback on",
    )
    return tuple(wrong)


async def _drain(
    config: Config,
    net: NetServer,
    node: Node,
    member: Membership | None,
    running: asyncio.Task[None],
) -> int:
    log.info("drain_started", connections=net.connections)
    net.leave_shared()
    timeout_s = config.drain_timeout_ns / 1e9
    try:
        async with asyncio.timeout(timeout_s):
            elsewhere = member is not None and await member.drain(timeout_s)
            net.refuse()
            await net.drain(GOODBYES_SPREAD_S if net.connections else 0.0, elsewhere=elsewhere)
            await asyncio.sleep(SETTLE_S)
            node.drain()
            await asyncio.wait([running])
    except TimeoutError:
        log.error("drain_ran_out")
        running.cancel()
        await net.stop()
        return EXIT_DRAIN_RAN_OUT
    await net.stop()
    log.info("drain_ended")
    return 0


def _told_to_stop() -> asyncio.Event:
    """Return what SIGTERM or SIGINT will set; a second one ends the process at once."""
    told = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop() -> None:
        if told.is_set():
            os._exit(EXIT_DRAIN_RAN_OUT)
        told.set()

    for one in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(one, stop)
    return told


def _node_settings(config: Config, name: str) -> NodeSettings:
    return NodeSettings(
        name=name,
        shards=config.shards,
        rooms_max=config.rooms_max,
        ring_ticks=config.ring_seconds * 1000 // TICK_MS,
        snapshot_entries=config.snapshot_entries,
        snapshot_ticks=config.snapshot_interval_ns // NS_PER_MS // TICK_MS,
    )


def _services(
    config: Config, store: Store, games: dict[str, Game[Any]], node: Node, keys: KeyRing
) -> Services:
    clock = SystemClock()
    limits = LobbyLimits(config.rooms_max, config.rooms_per_account_max)
    accounts = Accounts(
        store,
        keys.signing,
        lambda: clock.wall_ms() // 1000,
        play_money_minor=config.play_money_minor,
    )
    wallet = Wallet(store)
    lobby = Lobby(store, games, node.host, limits, clock.now_ns)
    node.host.closing.on_closed = lobby.closed
    node.backlog.on_listed = lobby.note
    node.host.releaser.on_balances = wallet.on_balances
    return Services(accounts, lobby, Requests(store, lobby, wallet), wallet)


def _say_ready(config: Config, net: NetServer, games: dict[str, Game[Any]]) -> None:
    port = net.port if config.worker_port is None else config.port
    play = f"ws://{bracketed(config.host)}:{port}/ws"
    log.info(
        "server_ready",
        play=play,
        admin=f"http://{config.admin_host}:{net.admin_port}/" if net.admin_port else "off",
        games=" ".join(games),
        store=config.store if config.postgres or config.store == "memory" else "embedded postgres",
        bots=f"./scripts/bots {play}",
    )


# --- Parts.


@asynccontextmanager
async def _store(config: Config) -> AsyncIterator[tuple[MemoryStore | PostgresStore, str | None]]:
    """Give a store that is up to date and connected, and the address of its database if any."""
    if config.store == "memory":
        log.warning("nothing_is_durable", store="memory")
        yield MemoryStore(), None
        return
    async with database(config) as dsn:
        await _migrate(dsn)
        store = PostgresStore(dsn)
        await store.start()
        try:
            yield store, dsn
        finally:
            await store.stop()


async def _migrate(dsn: str) -> None:
    applied = await migrate_schema(dsn)
    log.info("schema_is_up_to_date", applied=applied)


@asynccontextmanager
async def database(config: Config) -> AsyncIterator[str]:
    """Give the address of the database, running our own if none was named."""
    if config.postgres:
        yield config.postgres
        return
    server = EmbeddedPostgres(data_dir_of(config) / POSTGRES_DIR)
    async with server:
        log.info("postgres_started", adopted=server.adopted, log=str(server.log_path))
        yield server.dsn


def _keys(config: Config) -> KeyRing:
    return load_or_create_keys(keys_file_of(config))


def keys_file_of(config: Config) -> Path:
    return config.keys or data_dir_of(config) / KEYS_FILE


def data_dir_of(config: Config) -> Path:
    config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    return config.data_dir


def load_games(config: Config) -> dict[str, Game[Any]]:
    """Return the games by name; ConfigError if one cannot be had."""
    bundled: dict[str, Callable[[], Game[Any]]] = {
        "quiz": lambda: quiz.GAME(_clues(config)),
        "keno": keno.GAME,
        "conquest": conquest.GAME,
    }
    games: dict[str, Game[Any]] = {}
    for name in config.games:
        made = bundled[name]() if name in bundled else _outside(name)
        if made.name in games:
            raise ConfigError(f"games: two are called {made.name!r}")
        games[made.name] = made
    return games


def _outside(place: str) -> Game[Any]:
    """Return the game that stands at ``package.module:Class``."""
    module_name, _, class_name = place.partition(":")
    if not class_name:
        raise ConfigError(f"games: {place!r} is neither a bundled game nor package.module:Game")
    try:
        found = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"games: {place}: {error}") from error
    if not (isinstance(found, type) and issubclass(found, Game)):
        raise ConfigError(f"games: {place} is not a subclass of gameserver.engine.game.Game")
    made: Game[Any] = found()
    return made


def _clues(config: Config) -> Bank:
    """Return the quiz's clues, from the operator's directory or those that are bundled."""
    folder = config.content_dir or resources.files("gameserver.games.quiz") / "content"
    try:
        files = {
            file.name: file.read_text("utf-8")
            for file in sorted(folder.iterdir(), key=lambda file: file.name)
            if file.name.endswith(".jsonl")
        }
        return parse_bank(files)
    except ContentError as error:
        raise ConfigError(f"clues: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"clues: {folder}: {error}") from error

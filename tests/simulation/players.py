"""Players: real clients that play, come back, repeat themselves, and sometimes have two devices."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

import msgspec

from protocol import codec
from protocol.client import (
    Answer,
    Client,
    ClientError,
    ClientRoom,
    ClientStopped,
    Options,
    RequestRefused,
    RoomClosed,
    TooManyCommands,
)
from protocol.client.options import NUMBER_GAP_MAX
from protocol.closes import CloseCode
from protocol.codec import encode_inbound
from protocol.messages import Command, Full, LeftCode, Outcome, ReplyCode, Resync
from tests.simulation.history import ECHOES_ONLY, Asked, History
from tests.simulation.loop import Process, SimLoop
from tests.simulation.minds import command_for
from tests.simulation.network import ClientEnd

FULL_HEAD, ZIP_HEAD = b"\x95\x05", b"\x93\x0f"
WAIT_S = 0.3


@dataclass(eq=False)
class Place:
    """A room that players mean to play in; when it ends, another takes its place."""

    game: str
    settings: dict[str, Any]
    number: int
    generation: int = 0
    room_id: int | None = None

    @property
    def key(self) -> bytes:
        """Return the key under which the room is made."""
        return f"place {self.number}.{self.generation}".encode()


class Surroundings(Protocol):
    """What players need of the world."""

    loop: SimLoop
    history: History
    is_quiet: bool
    is_calm: bool

    async def dial(self, process: Process, url: str) -> ClientEnd:
        """Connect to the server of an address."""

    def front_url(self) -> str:
        """Return an address to begin with."""

    def count(self, what: str) -> None:
        """Note that something rare happened."""


@dataclass
class Seen:
    """A view that a player had at a tick, as a hash to compare with what it should have been."""

    room: int
    seat: int
    tick: int
    dump: Any


class Player:
    """One account, and what it does with its devices.

    ``proved`` are the places in which a command was answered since the world was healed.
    """

    def __init__(
        self, name: str, surroundings: Surroundings, chance: Random, places: list[Place]
    ) -> None:
        self.name = name
        self.places = places
        self.token = ""
        self.account = 0
        self.watches = False
        self.pace_s = 0.25
        self.is_healed = False
        self.is_gone = False
        self.proved: set[int] = set()
        self.client: Client | None = None
        self.clients: list[Client] = []
        self.process = Process(name)
        self.processes = [self.process]
        self.mains: list[asyncio.Task[None]] = []
        self.seen: list[Seen] = []
        self.errors: list[str] = []
        self._world = surroundings
        self._chance = chance
        self._asked: dict[int, list[Asked]] = {}
        self._created: dict[bytes, int] = {}

    def start(self) -> None:
        """Start the player's program; after `kill` it is another, with the same token."""
        if self.process.is_dead:
            self.process = Process(f"{self.name}.{len(self.processes)}")
            self.processes.append(self.process)
        self.mains.append(self._world.loop.spawn(self.process, self._main()))

    def kill(self) -> None:
        """End the program without a word."""
        self._world.loop.kill(self.process)
        self.client = None

    @property
    def rooms(self) -> list[ClientRoom]:
        """Return the rooms that the player sees now."""
        client = self.client
        return [] if client is None or not client.connected else list(client.rooms.values())

    async def _main(self) -> None:
        while True:
            try:
                async with self._device(self.process) as client:
                    self.client = client
                    self.token, self.account = client.token, client.account
                    async with asyncio.TaskGroup() as tasks:
                        for place in self.places:
                            tasks.create_task(self._stay(client, place))
            except (ClientError, OSError) as error:
                self._world.count("client_gave_up")
                if isinstance(error, ClientStopped) and error.code == CloseCode.TOKEN_INVALID:
                    self._be_new()
            except BaseExceptionGroup as group:
                _, others = group.split((ClientError, OSError))
                if others is not None:
                    raise
                self._world.count("client_gave_up")
            await asyncio.sleep(WAIT_S)

    def _be_new(self) -> None:
        """Be another account: a restored backup does not know this one."""
        if self._world.history.is_forgetful:
            self.token = ""
            self._created.clear()
            self._asked.clear()

    def _device(self, process: Process) -> Client:
        async def dial(url: str) -> Any:
            return await self._world.dial(process, url)

        options = Options(
            open_timeout_ms=6_000,
            dial_timeout_ms=3_000,
            answer_timeout_ms=5_000,
            close_timeout_ms=500,
            idle_timeout_ms=4_000,
            backoff_ms=100,
            backoff_max_ms=1_000,
            steady_ms=2_000,
            dial=dial,
            jitter=lambda top: self._chance.uniform(0, top),
            now_ns=self._world.loop.now_ns,
            fresh_key=lambda: self._chance.randbytes(16),
            number_gap=lambda: self._chance.randrange(NUMBER_GAP_MAX),
            on_message=lambda payload: self._hear(client, payload),
        )
        url = self._world.front_url()
        client = Client(url, name=self.name, token=self.token, options=options)
        self.clients.append(client)
        return client

    def _hear(self, client: Client, payload: bytes) -> None:
        """Check that no full state takes the player back in time."""
        if self._world.history.is_forgetful or not payload.startswith((FULL_HEAD, ZIP_HEAD)):
            return
        message = codec.decode_outbound(payload)
        if isinstance(message, Full) and (room := client.rooms.get(message.room)) is not None:
            closed_tick = room.view.closed_tick
            if closed_tick is not None and message.tick < closed_tick:
                self._world.history.violate(
                    "I10 ticks never go back",
                    f"{self.name} was at {closed_tick} and is shown {message.tick}",
                )

    # --- Being in a room.

    async def _stay(self, client: Client, place: Place) -> None:
        while True:
            try:
                room = await self._join(client, place)
            except RequestRefused as error:
                # A restored backup may not know the room at all.
                gone = error.code in (ReplyCode.ROOM_ENDED, ReplyCode.NOT_FOUND)
                if gone and place.room_id is not None:
                    _end(place, place.room_id)
                await self._rest()
                continue
            except RoomClosed:
                await self._rest()
                continue
            if self.watches:
                await self._watch(place, room)
            else:
                await self._play(client, place, room)
            closed = room.closed
            if isinstance(closed, RoomClosed):
                self._world.count(f"closed_{closed.name}")
                if closed.code == LeftCode.ENDED:
                    _end(place, room.id)
            await self._rest()

    async def _rest(self) -> None:
        await asyncio.sleep(self._chance.uniform(0.1, 2 * WAIT_S))

    async def _join(self, client: Client, place: Place) -> ClientRoom:
        if place.room_id is None:
            key = place.key
            created = await client.create(place.game, settings=place.settings, key=key)
            known = self._created.setdefault(key, created.room_id)
            if known != created.room_id:
                self._world.history.violate("I2 exactly once", f"{key!r} made two rooms")
            if place.key == key and place.room_id is None:
                place.room_id = created.room_id
        if place.room_id is None:  # It ended while it was made.
            raise RoomClosed(LeftCode.ENDED, LeftCode.ENDED.name)
        return await client.join(room_id=place.room_id, watch=self.watches)

    async def _watch(self, place: Place, room: ClientRoom) -> None:
        while room.closed is None:
            await asyncio.sleep(0.7)
            self.note_view(room)
            if self.is_healed:
                self.proved.add(place.number)

    async def _play(self, client: Client, place: Place, room: ClientRoom) -> None:
        while True:
            await asyncio.sleep(self._chance.uniform(0, 2 * self.pace_s))
            if room.closed is not None:
                return
            if self.is_healed and place.number not in self.proved:
                await self._prove(client, place, room)
            elif self._world.is_calm and not self._world.is_quiet:
                self.submit(client, room, 10_000)
            elif not self._world.is_quiet:
                await self._act(client, room)

    async def _prove(self, client: Client, place: Place, room: ClientRoom) -> None:
        """Have one command answered: the room is alive."""
        before = len(self._asked.get(room.id, ()))
        self.submit(client, room, 4_000)
        asked = self._asked[room.id][before]
        while asked.answer is None:  # noqa: ASYNC110  Virtual time costs nothing.
            await asyncio.sleep(0.05)
        if isinstance(asked.answer, Outcome):
            self.proved.add(place.number)

    async def _act(self, client: Client, room: ClientRoom) -> None:
        roll = self._chance.random()
        if roll < 0.80:
            timeout_ms = (
                10_000 if self._chance.random() < 0.7 else self._chance.randrange(300, 4_000)
            )
            self.submit(client, room, timeout_ms)
        elif roll < 0.88:
            self._repeat(room, same=True)
        elif roll < 0.92:
            self._repeat(room, same=False)
        elif roll < 0.94:
            room.post(encode_inbound(Resync(room.id)))
        elif roll < 0.955:
            self._world.count("left_and_came_back")
            await room.leave()
        elif roll < 0.965:
            for _ in range(15):
                self._repeat(room, same=True)
        else:
            self.note_view(room)

    def submit(self, client: Client, room: ClientRoom, timeout_ms: int) -> None:
        """Send a command and keep what becomes of it."""
        body = msgspec.msgpack.encode(command_for(self._chance, room))
        asked = Asked(room.id, client.account, 0, body, self._world.loop.time())

        def on_answer(answer: Answer) -> None:
            asked.answer = answer
            asked.answered_s = self._world.loop.time()

        try:
            asked.number = room.submit(body, on_answer, timeout_ms)
        except TooManyCommands:
            self._world.count("too_many_commands")
            asked.answer = TooManyCommands()
        except ClientError as error:
            asked.answer = error
        self._asked.setdefault(room.id, []).append(asked)
        if asked.number:
            self._world.history.asked.append(asked)

    def _repeat(self, room: ClientRoom, *, same: bool) -> None:
        """Send a number again past the client's own book-keeping, with its content or another."""
        known = [
            one
            for one in self._asked.get(room.id, ())
            if (same and one.answer is None)
            or (isinstance(one.answer, Outcome) and one.answer.code not in ECHOES_ONLY)
        ]
        if not known:
            return
        asked = self._chance.choice(known[-1:] if self._chance.random() < 0.4 else known[-70:])
        asked.is_doubled = asked.is_doubled or asked.answer is None
        body = asked.body
        if not same:
            body = msgspec.msgpack.encode(command_for(self._chance, room))
        room.post(encode_inbound(Command(room.id, asked.number, msgspec.Raw(body))))

    def note_view(self, room: ClientRoom) -> None:
        """Keep what is seen now, to compare it with what it should have been."""
        tick = room.view.closed_tick
        whole = room.view.shared_tick <= (tick or 0) and room.view.private_tick <= (tick or 0)
        if tick is not None and whole:
            self.seen.append(Seen(room.id, room.seat, tick, room.view.dump()))

    # --- Another device of the same account.

    def use_second_device(self, room_id: int, *, leaves: bool) -> Process:
        """Join the same room from elsewhere for a while; perhaps leave it there, and come back."""
        process = Process(f"{self.name}.b{len(self.processes)}")
        self.processes.append(process)
        main = self._second(process, room_id, leaves=leaves)
        self.mains.append(self._world.loop.spawn(process, main))
        return process

    async def _second(self, process: Process, room_id: int, *, leaves: bool) -> None:
        try:
            async with self._device(process) as client:
                room = await client.join(room_id=room_id)
                for _ in range(2):
                    if room.closed is None:
                        self.submit(client, room, 2_000)
                    await asyncio.sleep(0.2)
                if leaves:
                    await room.leave()
                    await asyncio.sleep(self._chance.uniform(0, 0.3))
                    room = await client.join(room_id=room_id)
                    await asyncio.sleep(self._chance.uniform(0.05, 0.5))
        except (ClientError, OSError):
            self._world.count("client_gave_up")


def _end(place: Place, room_id: int) -> None:
    if place.room_id == room_id:
        place.room_id = None
        place.generation += 1

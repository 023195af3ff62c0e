"""What waits for a room's next tick: bounded, in order of arrival.

When it is full a command is deferred with BUSY and nothing is lost: its number stays free.
"""

from __future__ import annotations

from collections.abc import Sequence

from gameserver.engine.few import Few, add_to
from gameserver.engine.inputs import Commanded, Input

COMMANDS_MAX = 1024  # A tick that decides so many takes about 10 ms; more must wait outside.
COMMANDS_PER_SEAT_MAX = 32


class Inbox:
    """Inputs and commands for the next tick.

    Inputs other than commands come from the server itself, at most a few for each seat, pending
    command and ask, and are never refused.
    """

    __slots__ = ("_by_seat", "commands", "inputs")

    def __init__(self) -> None:
        self.inputs: Few[Input] = ()
        self.commands: Few[Commanded] = ()
        # Made when a second command comes: most ticks have but one.
        self._by_seat: dict[int, list[Commanded]] | None = None

    def put(self, one: Input) -> None:
        """Add an input of the server's own."""
        self.inputs = add_to(self.inputs, one)

    def submit(self, command: Commanded) -> bool:
        """Add a command; false if there is no place for it.

        A repeat of a command that waits here already takes no second place.
        """
        commands = self.commands
        if commands:
            if self._by_seat is None:
                self._by_seat = {commands[0].seat: [commands[0]]}
            waiting = self._by_seat.setdefault(command.seat, [])
            for one in waiting:
                # Another command under the same number is for the rules, and takes its own place.
                if one.number == command.number and one.digest == command.digest:
                    return True
            if len(waiting) >= COMMANDS_PER_SEAT_MAX or len(commands) >= COMMANDS_MAX:
                return False
            waiting.append(command)
        self.commands = add_to(commands, command)
        return True

    def take(self) -> tuple[Sequence[Input], Sequence[Commanded]]:
        """Return all that waits, and begin empty."""
        inputs, self.inputs = self.inputs, ()
        commands, self.commands, self._by_seat = self.commands, (), None
        return inputs, commands

    def take_commands(self) -> Sequence[Commanded]:
        """Return the commands alone, to defer them."""
        taken, self.commands, self._by_seat = self.commands, (), None
        return taken

    def __bool__(self) -> bool:
        return bool(self.inputs or self.commands)

"""What a process exits with: 0, or a code that tells a person what to do about it."""

from gameserver.config import ConfigError
from gameserver.net.listener import ListenFailed, PortInUse
from persistence.directory import DirectoryError, NameTaken
from persistence.embedded_host import EmbeddedError, ServerFailed, WrongMajor
from persistence.interfaces import StorageError
from persistence.sealing import KeysUnusable

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_DATABASE = 3
EXIT_PORT = 4
EXIT_REDIS = 5
EXIT_DRAIN_RAN_OUT = 143
EXIT_CODES = """\b
Exit codes:
  0    ok
  1    failed while running
  2    usage or configuration
  3    database unreachable, or its schema is newer than this server
  4    port in use
  5    Redis unreachable, or not one that can serve
  143  ended by SIGTERM before everything was handed over"""

# An error goes by its own class or else by the nearest above it.
_CODES: dict[type, int] = {
    ConfigError: EXIT_USAGE,
    PortInUse: EXIT_PORT,
    ListenFailed: EXIT_USAGE,
    StorageError: EXIT_DATABASE,
    ServerFailed: EXIT_DATABASE,
    WrongMajor: EXIT_DATABASE,
    EmbeddedError: EXIT_USAGE,
    KeysUnusable: EXIT_USAGE,
    DirectoryError: EXIT_REDIS,
    NameTaken: EXIT_USAGE,
}


def exit_code(error: Exception) -> int | None:
    """Return the code to exit with because of ``error``, or None if nobody can mend it."""
    for kind in type(error).__mro__:
        code = _CODES.get(kind)
        if code is not None:
            return code
    # A directory or file that was named in a setting: the data directory, most often.
    return EXIT_USAGE if isinstance(error, OSError) and error.filename else None

"""The settings of the server: declared once, read from four places, checked before anything starts.

`settings` declares them, `kinds` knows how a value is written, `sources` reads flags, variables,
a file and defaults. Nothing here opens a port, a database or a log.
"""

from gameserver.config.settings import Config, ConfigError, Setting, settings
from gameserver.config.sources import Loaded, load, shown

__all__ = ["Config", "ConfigError", "Loaded", "Setting", "load", "settings", "shown"]

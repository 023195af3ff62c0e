"""The game server: an engine that decides, and around it what waits."""

__version__ = "0.1.0"

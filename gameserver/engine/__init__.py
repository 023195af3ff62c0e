"""Deterministic rooms: recorded state, commands, ticks, journal entries, deltas, dice, replay.

Pure and synchronous. It knows no game, no clock, no socket and no database.
"""

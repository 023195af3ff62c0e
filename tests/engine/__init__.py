"""Tests of the engine: recorded state, commands, ticks, deltas, dice, snapshots, replay."""

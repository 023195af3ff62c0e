"""The command line of the simulation, which lives in ``tests.simulation``."""

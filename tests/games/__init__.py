"""Tests of the games, and the toolkit they share (`play.py`)."""

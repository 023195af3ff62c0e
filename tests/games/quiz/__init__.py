"""Tests of the quiz: its content, its judge, its rules, and whole rooms of it."""

"""Real servers that are really killed, and the checkers that would notice if anything were lost."""

"""Proof that what is kept is what was recorded: the books, the journal's chains, the replays.

It reads, and changes nothing. It knows the rows of `persistence.auditing` and how rooms are
replayed; not where the rows come from, nor how findings are shown.
"""

"""The games: one folder each, pure, knowing only the engine and the protocol.

No game knows another, and nothing but the composition root knows which games there are.
"""

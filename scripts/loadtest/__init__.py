"""Bots: real clients over real sockets that play, measure, and check what the server says.

``cli`` reads the command line into a ``plan``; ``conductor`` starts the processes and adds up what
they tell; ``worker`` runs the bots of one process. A ``bot`` plays in the rooms of its ``place`` as
its game's ``behaviour`` says; ``watch`` and ``mirror`` check every frame by code that shares
nothing with the server's. Nothing here is part of the server.
"""

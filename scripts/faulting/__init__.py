"""A campaign of faults with real processes: what breaks, who plays meanwhile, what must hold.

``campaign`` goes through a plan in a ``world``: a PostgreSQL, a server on it, relays before both,
players who keep a history of all they were told, and bots. ``faults`` does the damage. Afterwards
``books`` looks at the money and ``journals`` at every entry; what players were told must be there.
A cluster has a world of its own: ``cluster``, ``cluster_faults``, ``cluster_campaign``.
Nothing here is imported by the server; failpoints live in a launcher of their own.
"""

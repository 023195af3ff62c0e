"""Several nodes on one machine under one supervisor: started, watched, started again, told to go.

Each worker is a whole server in a process of its own. What it knows of its supervisor is a pipe
that ends with it (`supervising.leash`); all else is in its settings, so that anybody can start
one by hand.
"""

"""What is not a room: who somebody is, what a wallet holds, which rooms there are.

Services wait for storage; they know no sockets. What they are asked for and refuse is returned as
a `Refusal`; what the world fails at is raised.
"""

"""Benchmarks: each prints its figures and the command that gave them.

What one core carries, against peers and against C (these need a C compiler, peers of Node npm):
`rooms`, `fanout`, `inbound`, `wide`, `connections`, `wire`. One part of the server alone: `engine`,
`slots`, `big_state`, `many`, `idle`, `commit`, `database`, `recovery`, `opening`. Play with bots:
`play`. Several nodes: `workers`, `cluster`, `directory`. `python -m scripts.bench` lists them.
"""

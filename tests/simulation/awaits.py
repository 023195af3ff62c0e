"""Where a server waits, and so where a crash may find it.

A place is the innermost of the product's functions, and what it asks the store if it does. A place
that a server was seen to wait at and that is not here is a violation, so that none is forgotten.
"""

from __future__ import annotations

# A campaign of a hundred runs has had a server die at each of these.
AWAITS = (
    "net.listener.drain",
    "runtime.backlog._open_rows open_rooms",
    "runtime.backlog._recover_all",
    "runtime.backlog.run",
    "runtime.committer._sent_until_known commit",
    "runtime.committer._sent_until_known",
    "runtime.committer._told",
    "runtime.committer._woken",
    "runtime.keeper.take take_shards",
    "runtime.node.run",
    "runtime.opening._open room",
    "runtime.opening.run set_aside",
    "runtime.opening.run",
    "runtime.recovery._check_place entries",
    "runtime.recovery._resume persons",
    "runtime.recovery._resume verdicts",
    "runtime.recovery._newest_sound snapshots",
    "runtime.recovery.replay entries",
    "runtime.recovery.replay",
    "runtime.release._count_writes",
    "runtime.signing.run",
    "runtime.signing.sign save_heads",
    "runtime.slots.run",
    "runtime.snapshots._save save_snapshots",
    "runtime.snapshots.run",
    "services.accounts.guest create_person",
    "services.accounts._names_of persons",
    "services.lobby._create create_room",
    "services.lobby.by_id room",
    "services.together._make",
    "services.together.about",
)
# Where it takes a rare story to come to: more runs have a server die there, if they do.
RARE = ("runtime.opening.run set_aside", "runtime.recovery._resume verdicts")
RARE_EVERY = 3

# Where a server waits too seldom for a campaign to be sure of.
SELDOM = (
    "runtime.backlog._open_rows",
    "runtime.committer.run",
    "runtime.opening._alone",
    "runtime.opening.open",
    "runtime.opening.recover",
    "runtime.opening.refill",
    "runtime.recovery._replay_until entries",
    "runtime.recovery._replay_until",
    "runtime.snapshots.flush",
)

# Where only nodes of a cluster wait; the same campaign has had one die at each of these.
NODE_AWAITS = (
    "app_cluster._look_at_addresses",
    "app_cluster.cluster_id cluster",
    "app_cluster.cluster_id wall_ms",
    "app_cluster.warn_if_unreachable",
    "net.peers._attempt",
    "net.peers._happens",
    "runtime.cluster._beat_once beat",
    "runtime.committer._heard wall_ms",
    "runtime.cluster.run",
    "runtime.moving._claim take_leases",
    "runtime.moving._pass pass_leases",
    "runtime.moving._pass pass_shards",
    "runtime.moving._tell",
    "runtime.moving.give",
    "runtime.moving.take",
    "services.showcase.publish publish",
    "services.showcase.run",
)
NODE_SELDOM = (
    "app_cluster.drain",
    "net.peers._keep",
    "net.peers.run",
    "runtime.cluster.start",
    "runtime.committer._heard",
    "runtime.cluster.leave leave",
    "runtime.handover.rest",
    "services.lobby._lines lines",
)
ALL = (*AWAITS, *SELDOM, *NODE_AWAITS, *NODE_SELDOM)

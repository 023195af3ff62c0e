-- Removing what nobody needs any more from the beginning of each journal, and nothing from within.
--
-- A shard's journal is pruned link by link from its first. It stops before the first link that is
-- younger than the limit, or that holds an entry which the recovery or replay of a room that has not
-- ended would need: those after the room's oldest snapshot, or all if it has not two of them. So at
-- least one entry of such a room stays, which tells the number of its next.

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Only prune_journal sets this, for as long as it runs.
    IF TG_OP = 'DELETE' AND TG_TABLE_NAME IN ('journal', 'journal_link')
        AND current_setting('gameserver.pruning', true) = 'on'
    THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'GS001';
END $$;

CREATE FUNCTION prune_journal(
    p_keep interval,
    OUT links bigint,
    OUT entries bigint,
    OUT snapshots bigint,
    OUT answers bigint
) LANGUAGE plpgsql SECURITY DEFINER
SET search_path FROM CURRENT
SET gameserver.pruning = 'on' AS $$
DECLARE
    v_shards integer[];
    v_links bigint[];
BEGIN
    PERFORM pg_advisory_xact_lock(x'67737072756e65'::bigint);  -- One at a time.
    WITH aged AS (
        SELECT l.shard, max(l.link) AS last,
            min(l.link) FILTER (WHERE l.made_at > now() - p_keep) - 1 AS last_old
        FROM journal_link AS l
        GROUP BY l.shard
    ), needed AS (
        SELECT r.shard, min(j.link) - 1 AS last_free
        FROM room AS r
        CROSS JOIN LATERAL (
            SELECT CASE WHEN count(*) >= 2 THEN min(s.number) ELSE 0 END AS after
            FROM snapshot AS s WHERE s.room_id = r.room_id
        ) AS kept
        CROSS JOIN LATERAL (
            SELECT e.link FROM journal AS e
            WHERE e.room_id = r.room_id AND e.number > kept.after
            ORDER BY e.number LIMIT 1
        ) AS j
        WHERE r.status <> 2
        GROUP BY r.shard
    ), floor AS (
        SELECT a.shard,
            least(coalesce(a.last_old, a.last), coalesce(n.last_free, a.last)) AS link
        FROM aged AS a LEFT JOIN needed AS n USING (shard)
    )
    SELECT array_agg(f.shard), array_agg(f.link) INTO v_shards, v_links
    FROM floor AS f
    WHERE EXISTS (SELECT 1 FROM journal_link AS l WHERE l.shard = f.shard AND l.link = f.link);

    WITH gone AS (
        DELETE FROM journal AS j
        USING unnest(v_shards, v_links) AS f (shard, link)
        WHERE j.shard = f.shard AND j.link <= f.link
        RETURNING j.shard
    ), counted AS (
        SELECT g.shard, count(*) AS entries FROM gone AS g GROUP BY g.shard
    ), kept AS (
        INSERT INTO journal_floor (shard, link, head, entries)
        SELECT l.shard, l.link, l.head, coalesce(c.entries, 0)
        FROM unnest(v_shards, v_links) AS f (shard, link)
        JOIN journal_link AS l USING (shard, link)
        LEFT JOIN counted AS c USING (shard)
    )
    SELECT coalesce(sum(c.entries), 0) INTO entries FROM counted AS c;

    DELETE FROM journal_link AS l
    USING unnest(v_shards, v_links) AS f (shard, link)
    WHERE l.shard = f.shard AND l.link <= f.link;
    GET DIAGNOSTICS links = ROW_COUNT;

    DELETE FROM snapshot AS s
    WHERE EXISTS (SELECT 1 FROM room AS r WHERE r.room_id = s.room_id AND r.status = 2)
        AND NOT EXISTS (SELECT 1 FROM journal AS j WHERE j.room_id = s.room_id);
    GET DIAGNOSTICS snapshots = ROW_COUNT;

    DELETE FROM batch AS b WHERE b.stored_at < now() - interval '1 hour';
    GET DIAGNOSTICS answers = ROW_COUNT;
END $$;

-- Whoever may prune is told so by name.
REVOKE EXECUTE ON FUNCTION prune_journal(interval) FROM PUBLIC;

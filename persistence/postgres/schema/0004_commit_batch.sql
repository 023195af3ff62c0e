-- The one statement that writes what rooms decided. It runs in a transaction of its own, so that
-- either all of it is kept or nothing; it answers a batch that it has seen with the same answer.

-- Write entries and results of all shards but the lost ones, and move their shards' marks forward.
CREATE FUNCTION append_entries(
    p_batch_id bigint,
    p_lost integer[],
    p_mark_shard integer[],
    p_mark_clock bigint[],
    p_mark_head bytea[],
    p_mark_next bytea[],
    p_shard integer[],
    p_room bigint[],
    p_number bigint[],
    p_tick bigint[],
    p_payload bytea[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_wrong bigint;
BEGIN
    SELECT min(room) INTO v_wrong
    FROM (
        SELECT e.room, min(e.number) AS first, max(e.number) AS last, count(*) AS rows
        FROM unnest(p_shard, p_room, p_number) AS e (shard, room, number)
        WHERE e.shard <> ALL (p_lost)
        GROUP BY e.room
    ) AS r
    WHERE r.last - r.first + 1 <> r.rows
        OR r.first - 1 <> coalesce((SELECT max(number) FROM journal WHERE room_id = r.room), 0);
    IF v_wrong IS NOT NULL THEN
        RAISE EXCEPTION 'entries of room % do not follow its last', v_wrong USING ERRCODE = 'GS002';
    END IF;

    WITH entry AS MATERIALIZED (
        SELECT *
        FROM unnest(p_shard, p_room, p_number, p_tick, p_payload)
            WITH ORDINALITY AS e (shard, room, number, tick, payload, place)
        WHERE e.shard <> ALL (p_lost)
    ), chain AS (
        SELECT
            shard,
            count(*)::integer AS rows,
            string_agg(link_bytes(room, number, tick, payload), ''::bytea ORDER BY place) AS bytes
        FROM entry
        GROUP BY shard
    ), advanced AS (
        UPDATE shard AS s
        SET head = m.next_head,
            clock_tick = greatest(s.clock_tick, m.clock_tick),
            link = s.link + (c.rows IS NOT NULL)::integer,
            renewed_at = clock_timestamp()
        FROM unnest(p_mark_shard, p_mark_clock, p_mark_head, p_mark_next)
            AS m (shard, clock_tick, head, next_head)
        LEFT JOIN chain AS c USING (shard)
        WHERE s.shard = m.shard AND m.shard <> ALL (p_lost)
        RETURNING s.shard, s.link, m.head, m.next_head, c.rows,
            CASE WHEN c.rows IS NULL THEN m.head ELSE sha256(m.head || c.bytes) END AS computed
    ), linked AS (
        INSERT INTO journal_link (shard, link, batch_id, prev_head, head, rows)
        SELECT shard, link, p_batch_id, head, next_head, rows
        FROM advanced
        WHERE rows IS NOT NULL
    ), written AS (
        INSERT INTO journal (room_id, number, shard, link, place, tick, payload)
        SELECT r.room, r.number, a.shard, a.link, r.place, r.tick, r.payload
        FROM entry AS r JOIN advanced AS a USING (shard)
    )
    SELECT min(shard) INTO v_wrong FROM advanced WHERE computed <> next_head;
    IF v_wrong IS NOT NULL THEN
        RAISE EXCEPTION 'the next head of shard % is not that of its rows', v_wrong
            USING ERRCODE = 'GS002';
    END IF;
END $$;

-- Count scores that are new, one for each reference and account.
CREATE FUNCTION count_scores(
    p_lost integer[],
    p_shard integer[],
    p_room bigint[],
    p_reference text[],
    p_game text[],
    p_account bigint[],
    p_points bigint[]
) RETURNS void LANGUAGE sql AS $$
    WITH counted AS (
        INSERT INTO score (reference, account, room_id, game, points)
        SELECT s.reference, s.account, s.room, s.game, s.points
        FROM unnest(p_shard, p_room, p_reference, p_game, p_account, p_points)
            WITH ORDINALITY AS s (shard, room, reference, game, account, points, place)
        WHERE s.shard <> ALL (p_lost)
        ORDER BY s.place
        ON CONFLICT DO NOTHING
        RETURNING score_id, game, account, points
    )
    INSERT INTO score_total AS t (game, account, points, reached)
    SELECT
        game, account, sum(points),
        coalesce(max(score_id) FILTER (WHERE points <> 0), min(score_id))
    FROM counted
    GROUP BY game, account
    ORDER BY game, account
    ON CONFLICT (game, account) DO UPDATE
    SET points = t.points + excluded.points,
        reached = CASE WHEN EXISTS (
            SELECT 1 FROM counted AS c
            WHERE c.game = t.game AND c.account = t.account AND c.points <> 0
        ) THEN excluded.reached ELSE t.reached END
$$;

CREATE FUNCTION commit_batch(
    p_batch_id bigint, p_node text,
    p_mark_shard integer[], p_mark_epoch bigint[], p_mark_clock bigint[],
    p_mark_head bytea[], p_mark_next bytea[],
    p_entry_shard integer[], p_entry_room bigint[], p_entry_number bigint[],
    p_entry_tick bigint[], p_entry_payload bytea[],
    p_hold_shard integer[], p_hold_room bigint[], p_hold_reference text[],
    p_hold_account bigint[], p_hold_amount bigint[],
    p_end_shard integer[], p_end_room bigint[], p_end_reference text[], p_end_payout bigint[],
    p_book_shard integer[], p_book_room bigint[], p_book_reference text[], p_book_amount bigint[],
    p_result_shard integer[], p_result_room bigint[], p_result_round bigint[],
    p_result_tick bigint[], p_result_payload bytea[],
    p_score_shard integer[], p_score_room bigint[], p_score_reference text[],
    p_score_game text[], p_score_account bigint[], p_score_points bigint[],
    p_close_shard integer[], p_close_room bigint[],
    OUT fenced integer[], OUT regressed integer[],
    OUT hold_references text[], OUT hold_rulings smallint[],
    OUT accounts bigint[], OUT balances bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_lost integer[];
    v_moved movement[] := '{}';
    v_owed bigint[];
    v_numbers bigint[];
    v_balances bigint[];
BEGIN
    -- A repeat that comes while the first is still running waits here for its answer.
    PERFORM pg_advisory_xact_lock(p_batch_id);
    SELECT b.fenced, b.regressed, b.hold_references, b.hold_rulings, b.accounts, b.balances
    INTO fenced, regressed, hold_references, hold_rulings, accounts, balances
    FROM batch AS b WHERE b.batch_id = p_batch_id;
    IF FOUND THEN
        RETURN;
    END IF;

    WITH standing AS MATERIALIZED (
        SELECT s.shard, s.epoch, s.head FROM shard AS s
        WHERE s.shard = ANY (p_mark_shard)
        ORDER BY s.shard FOR NO KEY UPDATE
    )
    SELECT
        coalesce(array_agg(m.shard) FILTER (WHERE s.epoch > m.epoch), '{}'),
        coalesce(array_agg(m.shard) FILTER (
            WHERE s.shard IS NULL OR s.epoch < m.epoch OR s.epoch = m.epoch AND s.head <> m.head
        ), '{}')
    INTO fenced, regressed
    FROM unnest(p_mark_shard, p_mark_epoch, p_mark_head) AS m (shard, epoch, head)
    LEFT JOIN standing AS s USING (shard);
    v_lost := fenced || regressed;

    PERFORM append_entries(
        p_batch_id, v_lost, p_mark_shard, p_mark_clock, p_mark_head, p_mark_next,
        p_entry_shard, p_entry_room, p_entry_number, p_entry_tick, p_entry_payload);

    IF cardinality(p_book_shard) > 0 THEN
        v_moved := book_rounds(v_lost, p_book_shard, p_book_room, p_book_reference, p_book_amount);
    END IF;
    IF cardinality(p_end_shard) > 0 THEN
        v_moved := v_moved
            || end_holds(v_lost, p_end_shard, p_end_room, p_end_reference, p_end_payout);
    END IF;
    IF cardinality(p_hold_shard) > 0 OR cardinality(v_moved) > 0 THEN
        SELECT coalesce(array_agg(DISTINCT number), '{}') INTO v_owed
        FROM unnest(v_moved) WHERE kind = 'player';
        SELECT l.numbers, l.balances INTO v_numbers, v_balances
        FROM lock_players(v_owed, p_hold_account) AS l;
    END IF;
    IF cardinality(p_hold_shard) > 0 THEN
        v_moved := v_moved || rule_on_holds(
            v_lost, p_hold_shard, p_hold_room, p_hold_reference, p_hold_account, p_hold_amount,
            v_numbers, v_balances, v_moved);
    END IF;
    SELECT
        coalesce(array_agg(h.reference ORDER BY h.place), '{}'),
        coalesce(array_agg(h.ruling ORDER BY h.place), '{}')
    INTO hold_references, hold_rulings
    FROM (
        SELECT reference, place,
            (SELECT k.ruling FROM hold AS k WHERE k.reference = a.reference) AS ruling
        FROM unnest(p_hold_shard, p_hold_reference) WITH ORDINALITY AS a (shard, reference, place)
        WHERE a.shard <> ALL (v_lost)
    ) AS h;
    accounts := '{}';
    balances := '{}';
    IF cardinality(v_moved) > 0 THEN
        SELECT b.numbers, b.balances INTO accounts, balances
        FROM balance_books(v_moved, v_numbers, v_balances) AS b;
    END IF;

    IF cardinality(p_result_shard) > 0 THEN
        INSERT INTO result (room_id, round_number, shard, tick, payload)
        SELECT r.room, r.round, r.shard, r.tick, r.payload
        FROM unnest(p_result_shard, p_result_room, p_result_round, p_result_tick, p_result_payload)
            AS r (shard, room, round, tick, payload)
        WHERE r.shard <> ALL (v_lost)
        ON CONFLICT DO NOTHING;
    END IF;
    IF cardinality(p_score_shard) > 0 THEN
        PERFORM count_scores(
            v_lost, p_score_shard, p_score_room, p_score_reference, p_score_game,
            p_score_account, p_score_points);
    END IF;
    IF cardinality(p_close_shard) > 0 THEN
        UPDATE room SET status = 2
        WHERE status <> 2 AND room_id = ANY (ARRAY(
            SELECT c.room FROM unnest(p_close_shard, p_close_room) AS c (shard, room)
            WHERE c.shard <> ALL (v_lost)));
    END IF;

    INSERT INTO batch (
        batch_id, node, fenced, regressed, hold_references, hold_rulings, accounts, balances)
    VALUES (
        p_batch_id, p_node, commit_batch.fenced, commit_batch.regressed,
        commit_batch.hold_references, commit_batch.hold_rulings,
        commit_batch.accounts, commit_batch.balances);
    -- Now and then the answers that nobody will ask for again are swept away.
    IF p_batch_id % 64 = 0 THEN
        DELETE FROM batch WHERE batch_id IN (
            SELECT b.batch_id FROM batch AS b
            WHERE b.stored_at < now() - interval '1 hour'
            ORDER BY b.stored_at LIMIT 256 FOR UPDATE SKIP LOCKED);
    END IF;
END $$;

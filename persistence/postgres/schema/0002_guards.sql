-- What was recorded stays as it was, and whoever changes it all the same is found out.
--
-- The triggers stand on statements that change or remove rows; writing new ones costs nothing more.

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'GS001';
END $$;

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_link
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON transfer
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON result
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- The bytes that one entry adds to its shard's chain: those of `chained` in interfaces.py.
CREATE FUNCTION link_bytes(room_id bigint, number bigint, tick bigint, payload bytea)
RETURNS bytea LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT int8send(room_id) || int8send(number) || int8send(tick)
        || int4send(octet_length(payload)) || payload
$$;

-- Links that do not follow from their rows or from the link before. Reads the whole journal.
CREATE VIEW broken_link AS
SELECT shard, link
FROM (
    SELECT
        coalesce(l.shard, j.shard) AS shard,
        coalesce(l.link, j.link) AS link,
        l.head = sha256(l.prev_head || j.bytes)
            AND l.rows = j.rows
            AND l.prev_head = coalesce(
                lag(l.head) OVER (PARTITION BY l.shard ORDER BY l.link),
                decode(repeat('00', 32), 'hex'))
            AND l.link = 1 + coalesce(lag(l.link) OVER (PARTITION BY l.shard ORDER BY l.link), 0)
            AS is_sound
    FROM journal_link AS l
    FULL JOIN (
        SELECT
            shard,
            link,
            count(*) AS rows,
            string_agg(link_bytes(room_id, number, tick, payload), ''::bytea ORDER BY place)
                AS bytes
        FROM journal
        GROUP BY shard, link
    ) AS j USING (shard, link)
) AS checked
WHERE is_sound IS NOT TRUE
UNION ALL
SELECT s.shard, s.link
FROM shard AS s
LEFT JOIN journal_link AS l USING (shard, link)
WHERE s.head <> coalesce(l.head, decode(repeat('00', 32), 'hex'));

-- Accounts whose balance is not the sum of their transfers. Reads all transfers.
CREATE VIEW drifted_account AS
SELECT kind, number, coalesce(a.balance, 0) AS balance, coalesce(t.total, 0) AS total
FROM account AS a
FULL JOIN (
    SELECT kind, number, sum(amount) AS total
    FROM (
        SELECT debit_kind AS kind, debit_number AS number, -amount AS amount FROM transfer
        UNION ALL
        SELECT credit_kind, credit_number, amount FROM transfer
    ) AS sides
    GROUP BY kind, number
) AS t USING (kind, number)
WHERE coalesce(a.balance, 0) <> coalesce(t.total, 0);

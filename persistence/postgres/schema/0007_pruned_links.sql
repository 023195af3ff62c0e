-- The view of broken links knows where a journal begins that was pruned.

CREATE OR REPLACE VIEW broken_link AS
WITH floor AS (
    SELECT DISTINCT ON (shard) shard, link, head FROM journal_floor ORDER BY shard, link DESC
)
SELECT shard, link
FROM (
    SELECT
        coalesce(l.shard, j.shard) AS shard,
        coalesce(l.link, j.link) AS link,
        l.head = sha256(l.prev_head || j.bytes)
            AND l.rows = j.rows
            AND l.prev_head = coalesce(
                lag(l.head) OVER (PARTITION BY l.shard ORDER BY l.link),
                (SELECT f.head FROM floor AS f WHERE f.shard = l.shard),
                decode(repeat('00', 32), 'hex'))
            AND l.link = 1 + coalesce(
                lag(l.link) OVER (PARTITION BY l.shard ORDER BY l.link),
                (SELECT f.link FROM floor AS f WHERE f.shard = l.shard),
                0)
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
WHERE s.head <> coalesce(
    l.head,
    (SELECT f.head FROM floor AS f WHERE f.shard = s.shard AND f.link = s.link),
    decode(repeat('00', 32), 'hex'));

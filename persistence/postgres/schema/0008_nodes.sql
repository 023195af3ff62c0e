-- Many nodes on one database: what they have in common, who makes rooms, who runs what runs once.

-- One row. A database that was in use before had 64 shards, because all had.
CREATE TABLE cluster (
    is_only    boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    cluster_id text COLLATE "C" NOT NULL DEFAULT gen_random_uuid()::text,
    shards     integer NOT NULL CHECK (shards >= 1),
    made_at    timestamptz NOT NULL DEFAULT now()
);
INSERT INTO cluster (shards) SELECT 64 WHERE EXISTS (SELECT 1 FROM shard);

-- Who runs what only one node may run. The epoch is raised when a task gets another runner.
CREATE TABLE task (
    task       text COLLATE "C" PRIMARY KEY,
    epoch      bigint NOT NULL,
    node       text NOT NULL,
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

CREATE INDEX room_by_creator ON room (creator) WHERE status <> 2;

-- Make a room unless its creator has as many as they may have; a key that comes again finds what it
-- made. Nothing is kept if the id or the code is taken.
CREATE FUNCTION create_room(
    p_room_id bigint, p_shard integer, p_code text, p_game text, p_rules_version bigint,
    p_creator bigint, p_create_key bytea, p_listed boolean, p_settings bytea,
    p_creator_rooms_max bigint,
    OUT is_full boolean, OUT kept room
) LANGUAGE plpgsql AS $$
BEGIN
    is_full := false;
    -- A creator's rooms are made one after another, so that they are counted one after another.
    -- Creators who share a number here wait for each other and no more.
    PERFORM pg_advisory_xact_lock(x'726f6f6d'::integer, (p_creator % 2147483647)::integer);
    SELECT * INTO kept FROM room AS r WHERE r.creator = p_creator AND r.create_key = p_create_key;
    IF FOUND THEN
        RETURN;
    END IF;
    is_full := p_creator_rooms_max <= (
        SELECT count(*) FROM (
            SELECT 1 FROM room AS r WHERE r.creator = p_creator AND r.status <> 2
            LIMIT p_creator_rooms_max
        ) AS made);
    IF is_full THEN
        RETURN;
    END IF;
    INSERT INTO room AS r
        (room_id, shard, code, game, rules_version, creator, create_key, listed, settings)
    VALUES (
        p_room_id, p_shard, p_code, p_game, p_rules_version,
        p_creator, p_create_key, p_listed, p_settings)
    ON CONFLICT DO NOTHING
    RETURNING r.* INTO kept;
END $$;

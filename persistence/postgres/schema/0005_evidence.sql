-- Evidence that stands outside the chain: heads of the journals, signed by the nodes that made them.
--
-- When a link was made says how old it is, for pruning. Older links take the time of this migration.

CREATE TABLE signed_head (
    shard     integer NOT NULL,
    link      bigint NOT NULL,
    epoch     bigint NOT NULL,
    head      bytea NOT NULL CHECK (octet_length(head) = 32),
    signed_ms bigint NOT NULL,
    key_id    bytea NOT NULL,
    signature bytea NOT NULL,
    PRIMARY KEY (shard, link, epoch)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON signed_head
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

ALTER TABLE journal_link ADD COLUMN made_at timestamptz NOT NULL DEFAULT now();

-- How far each shard's journal was pruned, and with which head what is kept of it begins. Rows are
-- added, never changed: the highest link counts.
CREATE TABLE journal_floor (
    shard     integer NOT NULL,
    link      bigint NOT NULL,
    head      bytea NOT NULL CHECK (octet_length(head) = 32),
    entries   bigint NOT NULL,
    pruned_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (shard, link)
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON journal_floor
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

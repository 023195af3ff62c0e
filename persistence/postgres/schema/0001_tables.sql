-- What is kept. Bytes and money are not interpreted; what may never change is guarded in 0002.
--
-- Texts that are looked up are compared byte by byte (COLLATE "C"), whatever the database's language.

-- Ownership. Every commit rewrites its shards' rows, so pages keep room for their next versions.
CREATE TABLE shard (
    shard      integer PRIMARY KEY CHECK (shard >= 0),
    epoch      bigint NOT NULL,
    node       text NOT NULL,
    clock_tick bigint NOT NULL,
    head       bytea NOT NULL CHECK (octet_length(head) = 32),
    link       bigint NOT NULL DEFAULT 0,
    renewed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);

-- The answers of recent batches, for those that come again. Old ones are pruned by commit_batch.
CREATE TABLE batch (
    batch_id        bigint PRIMARY KEY,
    node            text NOT NULL,
    fenced          integer[] NOT NULL,
    regressed       integer[] NOT NULL,
    hold_references text[] NOT NULL,
    hold_rulings    smallint[] NOT NULL,
    accounts        bigint[] NOT NULL,
    balances        bigint[] NOT NULL,
    stored_at       timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX batch_by_age ON batch (stored_at);

-- One row for each tick of a room. (shard, link, place) is where it stands in its shard's chain.
CREATE TABLE journal (
    room_id bigint NOT NULL,
    number  bigint NOT NULL CHECK (number >= 1),
    shard   integer NOT NULL,
    link    bigint NOT NULL,
    place   integer NOT NULL,
    tick    bigint NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (room_id, number)
);
-- Payloads come packed and perhaps sealed: another compression would be work for nothing.
ALTER TABLE journal ALTER COLUMN payload SET STORAGE EXTERNAL;

-- head = SHA-256 of prev_head and the journal rows of the link, in the order of their places.
CREATE TABLE journal_link (
    shard     integer NOT NULL,
    link      bigint NOT NULL,
    batch_id  bigint NOT NULL,
    prev_head bytea NOT NULL,
    head      bytea NOT NULL,
    rows      integer NOT NULL CHECK (rows >= 1),
    PRIMARY KEY (shard, link)
);

-- status: 1 open, 2 ended, 3 set aside. serial counts rooms in the order of their making.
CREATE TABLE room (
    room_id       bigint PRIMARY KEY,
    shard         integer NOT NULL,
    code          text COLLATE "C" NOT NULL,
    game          text COLLATE "C" NOT NULL,
    rules_version bigint NOT NULL,
    creator       bigint NOT NULL,
    create_key    bytea NOT NULL CHECK (octet_length(create_key) BETWEEN 1 AND 64),
    listed        boolean NOT NULL,
    settings      bytea NOT NULL,
    status        smallint NOT NULL DEFAULT 1 CHECK (status IN (1, 2, 3)),
    note          text NOT NULL DEFAULT '',
    serial        bigint GENERATED ALWAYS AS IDENTITY,
    made_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT room_made_once UNIQUE (creator, create_key)
);
CREATE UNIQUE INDEX room_by_code ON room (code) WHERE status <> 2;
CREATE INDEX room_by_age ON room (serial) WHERE status <> 2;
CREATE INDEX room_by_game ON room (game, serial) WHERE status <> 2;
CREATE INDEX room_by_shard ON room (shard, serial) WHERE status = 1;

CREATE TABLE snapshot (
    room_id       bigint NOT NULL,
    number        bigint NOT NULL CHECK (number >= 0),
    tick          bigint NOT NULL,
    rules_version bigint NOT NULL,
    state_hash    bytea NOT NULL,
    payload       bytea NOT NULL,
    PRIMARY KEY (room_id, number)
);
ALTER TABLE snapshot ALTER COLUMN payload SET STORAGE EXTERNAL;

-- Names stand apart from everything else, so that they can be erased.
CREATE TABLE person (
    account bigint PRIMARY KEY,
    name    text NOT NULL,
    made_at timestamptz NOT NULL DEFAULT now()
);

-- The book. A player's number is the account, an escrow's the room, a house's the shard. Play money
-- comes from issue accounts, of which there are many so that newcomers do not wait for each other.
CREATE TYPE account_kind AS ENUM ('player', 'escrow', 'house', 'issue');

CREATE TABLE account (
    kind    account_kind NOT NULL,
    number  bigint NOT NULL,
    balance bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, number),
    CONSTRAINT players_owe_nothing CHECK (kind <> 'player' OR balance >= 0)
) WITH (fillfactor = 70);

-- Both sides in one row, so that no half of a transfer can exist.
CREATE TABLE transfer (
    transfer_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind          text COLLATE "C" NOT NULL CHECK (kind IN ('grant', 'hold', 'settle', 'release', 'book')),
    reference     text COLLATE "C" NOT NULL,
    debit_kind    account_kind NOT NULL,
    debit_number  bigint NOT NULL,
    credit_kind   account_kind NOT NULL,
    credit_number bigint NOT NULL,
    amount        bigint NOT NULL CHECK (amount > 0),
    made_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT transfer_made_once UNIQUE (reference, kind),
    CHECK ((debit_kind, debit_number) <> (credit_kind, credit_number))
);
CREATE INDEX transfer_from_player ON transfer (debit_number, transfer_id)
    WHERE debit_kind = 'player';
CREATE INDEX transfer_to_player ON transfer (credit_number, transfer_id)
    WHERE credit_kind = 'player';

-- ruling: 1 granted, 2 insufficient funds, 3 no account, 4 account busy. It never changes.
CREATE TABLE hold (
    reference text COLLATE "C" PRIMARY KEY,
    account   bigint NOT NULL,
    room_id   bigint NOT NULL,
    amount    bigint NOT NULL CHECK (amount > 0),
    ruling    smallint NOT NULL CHECK (ruling BETWEEN 1 AND 4),
    state     text NOT NULL CHECK (state IN ('held', 'settled', 'released', 'refused')),
    payout    bigint CHECK (payout >= 0),
    CHECK ((ruling = 1) = (state <> 'refused'))
) WITH (fillfactor = 80);

CREATE TABLE result (
    room_id      bigint NOT NULL,
    round_number bigint NOT NULL,
    shard        integer NOT NULL,
    tick         bigint NOT NULL,
    payload      bytea NOT NULL,
    PRIMARY KEY (room_id, round_number)
);
ALTER TABLE result ALTER COLUMN payload SET STORAGE EXTERNAL;

CREATE TABLE score (
    reference text COLLATE "C" NOT NULL,
    account   bigint NOT NULL,
    score_id  bigint GENERATED ALWAYS AS IDENTITY,
    room_id   bigint NOT NULL,
    game      text COLLATE "C" NOT NULL,
    points    bigint NOT NULL,
    PRIMARY KEY (reference, account)
);

-- Sums of score, kept as they grow. reached is the score_id that brought the points.
CREATE TABLE score_total (
    game    text COLLATE "C" NOT NULL,
    account bigint NOT NULL,
    points  bigint NOT NULL,
    reached bigint NOT NULL,
    PRIMARY KEY (game, account)
);
CREATE INDEX score_total_best ON score_total (game, points DESC, reached);

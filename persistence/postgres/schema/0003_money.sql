-- How money moves. Rows of lost shards (fenced or regressed) are left out everywhere.
--
-- Locks are taken in one order by everybody, so that two batches never wait for each other: rows of
-- shard, then of hold (by reference), then players' accounts (by number), then escrows and houses.
--
-- Plans are made once, when tables may still be empty, so nothing that grows is ever joined: its rows
-- are found by a list of keys, by a scalar subquery, or by the conflict of an insertion.

CREATE TYPE movement AS (kind account_kind, number bigint, amount bigint);

-- Give a new account its wallet; false if there is one.
CREATE FUNCTION create_person(p_account bigint, p_name text, p_grant bigint)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO account (kind, number, balance) VALUES ('player', p_account, p_grant)
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO person (account, name) VALUES (p_account, p_name);
    IF p_grant > 0 THEN
        INSERT INTO transfer
            (kind, reference, debit_kind, debit_number, credit_kind, credit_number, amount)
        VALUES
            ('grant', p_account::text, 'issue', p_account % 64, 'player', p_account, p_grant);
        INSERT INTO account (kind, number, balance) VALUES ('issue', p_account % 64, -p_grant)
        ON CONFLICT (kind, number) DO UPDATE SET balance = account.balance + excluded.balance;
    END IF;
    RETURN true;
END $$;

-- Write the transfers of bookings that are new; return both sides of each.
CREATE FUNCTION book_rounds(
    p_lost integer[],
    p_shard integer[],
    p_room bigint[],
    p_reference text[],
    p_amount bigint[]
) RETURNS movement[] LANGUAGE plpgsql AS $$
DECLARE
    v_moved movement[];
BEGIN
    WITH booked AS (
        INSERT INTO transfer
            (kind, reference, debit_kind, debit_number, credit_kind, credit_number, amount)
        SELECT
            'book',
            b.reference,
            CASE WHEN b.amount > 0 THEN 'escrow'::account_kind ELSE 'house' END,
            CASE WHEN b.amount > 0 THEN b.room ELSE b.shard END,
            CASE WHEN b.amount > 0 THEN 'house'::account_kind ELSE 'escrow' END,
            CASE WHEN b.amount > 0 THEN b.shard ELSE b.room END,
            abs(b.amount)
        FROM unnest(p_shard, p_room, p_reference, p_amount)
            WITH ORDINALITY AS b (shard, room, reference, amount, place)
        WHERE b.amount <> 0 AND b.shard <> ALL (p_lost)
        ORDER BY b.place
        ON CONFLICT (reference, kind) DO NOTHING
        RETURNING debit_kind, debit_number, credit_kind, credit_number, amount
    )
    SELECT array_agg(side) INTO v_moved
    FROM booked,
        LATERAL (VALUES
            ((debit_kind, debit_number, -amount)::movement),
            ((credit_kind, credit_number, amount)::movement)
        ) AS sides (side);
    RETURN coalesce(v_moved, '{}');
END $$;

-- End holds and write what that pays; return both sides of each. No payout means a release.
CREATE FUNCTION end_holds(
    p_lost integer[],
    p_shard integer[],
    p_room bigint[],
    p_reference text[],
    p_payout bigint[]
) RETURNS movement[] LANGUAGE plpgsql AS $$
DECLARE
    v_wrong text;
    v_places bigint[];
    v_accounts bigint[];
    v_amounts bigint[];
    v_moved movement[];
BEGIN
    WITH known AS MATERIALIZED (
        SELECT reference, room_id, account, amount, state FROM hold
        WHERE reference = ANY (p_reference)
        ORDER BY reference FOR NO KEY UPDATE
    ), asked AS (
        SELECT
            e.reference, e.place, k.account, k.amount, k.state,
            row_number() OVER (PARTITION BY e.reference ORDER BY e.place) AS turn,
            k.room_id = e.room AND (
                k.state = 'held'
                OR k.state = CASE WHEN e.payout IS NULL THEN 'released' ELSE 'settled' END
            ) AS is_right
        FROM unnest(p_shard, p_room, p_reference, p_payout)
            WITH ORDINALITY AS e (shard, room, reference, payout, place)
        LEFT JOIN known AS k USING (reference)
        WHERE e.shard <> ALL (p_lost)
    )
    SELECT
        min(reference) FILTER (WHERE is_right IS NOT TRUE),
        array_agg(place) FILTER (WHERE state = 'held' AND turn = 1),
        array_agg(account) FILTER (WHERE state = 'held' AND turn = 1),
        array_agg(amount) FILTER (WHERE state = 'held' AND turn = 1)
    INTO v_wrong, v_places, v_accounts, v_amounts
    FROM asked;
    IF v_wrong IS NOT NULL THEN
        RAISE EXCEPTION 'no hold of the room can be ended so: %', v_wrong USING ERRCODE = 'GS002';
    END IF;

    -- All of these rows exist: an insertion that meets them finds each by its key, without a plan.
    WITH ended AS (
        INSERT INTO hold AS h (reference, account, room_id, amount, ruling, state, payout)
        SELECT
            p_reference[e.place], e.account, p_room[e.place], e.amount, 1,
            CASE WHEN p_payout[e.place] IS NULL THEN 'released' ELSE 'settled' END,
            p_payout[e.place]
        FROM unnest(v_places, v_accounts, v_amounts) AS e (place, account, amount)
        ON CONFLICT (reference) DO UPDATE SET state = excluded.state, payout = excluded.payout
    ), paid AS (
        INSERT INTO transfer
            (kind, reference, debit_kind, debit_number, credit_kind, credit_number, amount)
        SELECT
            CASE WHEN p_payout[e.place] IS NULL THEN 'release' ELSE 'settle' END,
            p_reference[e.place], 'escrow', p_room[e.place], 'player', e.account,
            coalesce(p_payout[e.place], e.amount)
        FROM unnest(v_places, v_accounts, v_amounts) AS e (place, account, amount)
        WHERE coalesce(p_payout[e.place], e.amount) > 0
        ORDER BY e.place
        RETURNING debit_number, credit_number, amount
    )
    SELECT array_agg(side) INTO v_moved
    FROM paid,
        LATERAL (VALUES
            (('escrow', debit_number, -amount)::movement),
            (('player', credit_number, amount)::movement)
        ) AS sides (side);
    RETURN coalesce(v_moved, '{}');
END $$;

-- Lock players' accounts. Those that are owed money are waited for, or the call fails; an account
-- that somebody else does not let go is left out if it is only asked to hold.
CREATE FUNCTION lock_players(
    p_owed bigint[],
    p_asked bigint[],
    OUT numbers bigint[],
    OUT balances bigint[]
) LANGUAGE plpgsql AS $$
DECLARE
    v_more_numbers bigint[];
    v_more_balances bigint[];
BEGIN
    BEGIN
        SELECT array_agg(number), array_agg(balance) INTO numbers, balances
        FROM (
            SELECT number, balance FROM account
            WHERE kind = 'player' AND number = ANY (p_owed || p_asked)
            ORDER BY number FOR NO KEY UPDATE
        ) AS locked;
    EXCEPTION WHEN lock_not_available THEN
        IF cardinality(p_asked) = 0 THEN
            RAISE;
        END IF;
        SELECT array_agg(number), array_agg(balance) INTO numbers, balances
        FROM (
            SELECT number, balance FROM account
            WHERE kind = 'player' AND number = ANY (p_owed)
            ORDER BY number FOR NO KEY UPDATE
        ) AS locked;
        SELECT array_agg(number), array_agg(balance) INTO v_more_numbers, v_more_balances
        FROM (
            SELECT number, balance FROM account
            WHERE kind = 'player' AND number = ANY (p_asked) AND number <> ALL (p_owed)
            FOR NO KEY UPDATE SKIP LOCKED
        ) AS locked;
        numbers := numbers || v_more_numbers;
        balances := balances || v_more_balances;
    END;
    numbers := coalesce(numbers, '{}');
    balances := coalesce(balances, '{}');
END $$;

-- Rule on holds that nobody has ruled on, in their order, and write them; return both sides of those
-- granted. The accounts in p_numbers are locked; p_moved is what they have been paid meanwhile.
CREATE FUNCTION rule_on_holds(
    p_lost integer[],
    p_shard integer[],
    p_room bigint[],
    p_reference text[],
    p_account bigint[],
    p_amount bigint[],
    p_numbers bigint[],
    p_balances bigint[],
    p_moved movement[]
) RETURNS movement[] LANGUAGE plpgsql AS $$
DECLARE
    v_places bigint[];
    v_rulings smallint[];
    v_doubtful bigint[];
    v_available bigint[];
    v_account bigint;
    v_left bigint;
    v_moved movement[];
BEGIN
    WITH paid AS (
        SELECT number, sum(amount) AS amount FROM unnest(p_moved) WHERE kind = 'player'
        GROUP BY number
    ), funds AS (
        SELECT number, (b.balance + coalesce(p.amount, 0))::bigint AS available
        FROM unnest(p_numbers, p_balances) AS b (number, balance)
        LEFT JOIN paid AS p USING (number)
    ), asked AS (
        SELECT DISTINCT ON (h.reference) h.place, h.account, h.amount
        FROM unnest(p_shard, p_reference, p_account, p_amount)
            WITH ORDINALITY AS h (shard, reference, account, amount, place)
        WHERE h.shard <> ALL (p_lost)
            AND (SELECT k.ruling FROM hold AS k WHERE k.reference = h.reference) IS NULL
        ORDER BY h.reference, h.place
    ), ruled AS (
        SELECT
            a.place, a.account, f.available,
            CASE
                WHEN f.number IS NULL AND (
                    SELECT other.number FROM account AS other
                    WHERE other.kind = 'player' AND other.number = a.account
                ) IS NOT NULL THEN 4
                WHEN f.number IS NULL THEN 3
                WHEN sum(a.amount) OVER (PARTITION BY a.account) <= f.available THEN 1
                WHEN a.amount > f.available THEN 2
            END::smallint AS ruling
        FROM asked AS a LEFT JOIN funds AS f ON f.number = a.account
    )
    SELECT
        array_agg(place ORDER BY place),
        array_agg(ruling ORDER BY place),
        array_agg(row_number ORDER BY account, place) FILTER (WHERE ruling IS NULL),
        array_agg(available ORDER BY account, place) FILTER (WHERE ruling IS NULL)
    INTO v_places, v_rulings, v_doubtful, v_available
    FROM (SELECT *, row_number() OVER (ORDER BY place) FROM ruled) AS numbered;

    -- Only accounts whose holds do not all fit come here: each of them in order, while they fit.
    FOR i IN 1 .. coalesce(cardinality(v_doubtful), 0) LOOP
        IF v_account IS DISTINCT FROM p_account[v_places[v_doubtful[i]]] THEN
            v_account := p_account[v_places[v_doubtful[i]]];
            v_left := v_available[i];
        END IF;
        IF p_amount[v_places[v_doubtful[i]]] <= v_left THEN
            v_left := v_left - p_amount[v_places[v_doubtful[i]]];
            v_rulings[v_doubtful[i]] := 1;
        ELSE
            v_rulings[v_doubtful[i]] := 2;
        END IF;
    END LOOP;

    WITH kept AS (
        INSERT INTO hold (reference, account, room_id, amount, ruling, state)
        SELECT
            p_reference[r.place], p_account[r.place], p_room[r.place], p_amount[r.place], r.ruling,
            CASE WHEN r.ruling = 1 THEN 'held' ELSE 'refused' END
        FROM unnest(v_places, v_rulings) AS r (place, ruling)
    ), moved AS (
        INSERT INTO transfer
            (kind, reference, debit_kind, debit_number, credit_kind, credit_number, amount)
        SELECT
            'hold', p_reference[r.place], 'player', p_account[r.place], 'escrow', p_room[r.place],
            p_amount[r.place]
        FROM unnest(v_places, v_rulings) AS r (place, ruling)
        WHERE r.ruling = 1
        ORDER BY r.place
        RETURNING debit_number, credit_number, amount
    )
    SELECT array_agg(side) INTO v_moved
    FROM moved,
        LATERAL (VALUES
            (('player', debit_number, -amount)::movement),
            (('escrow', credit_number, amount)::movement)
        ) AS sides (side);
    RETURN coalesce(v_moved, '{}');
END $$;

-- Bring all balances up to what was moved; return those of players, whose accounts are locked and
-- had p_balances before.
CREATE FUNCTION balance_books(
    p_moved movement[],
    p_numbers bigint[],
    p_balances bigint[],
    OUT numbers bigint[],
    OUT balances bigint[]
) LANGUAGE plpgsql AS $$
BEGIN
    WITH changed AS (
        INSERT INTO account (kind, number, balance)
        SELECT 'player', number, b.balance + m.amount
        FROM unnest(p_numbers, p_balances) AS b (number, balance)
        JOIN (
            SELECT number, sum(amount) AS amount FROM unnest(p_moved)
            WHERE kind = 'player' GROUP BY number
        ) AS m USING (number)
        ON CONFLICT (kind, number) DO UPDATE SET balance = excluded.balance
        RETURNING number, balance
    )
    SELECT array_agg(number ORDER BY number), array_agg(balance ORDER BY number)
    INTO numbers, balances
    FROM changed;
    IF coalesce(cardinality(numbers), 0) <> (
        SELECT count(DISTINCT number) FROM unnest(p_moved) WHERE kind = 'player'
    ) THEN
        RAISE EXCEPTION 'money moved on an account that is not there' USING ERRCODE = 'GS002';
    END IF;

    INSERT INTO account (kind, number, balance)
    SELECT kind, number, sum(amount) FROM unnest(p_moved)
    WHERE kind <> 'player'
    GROUP BY kind, number
    ORDER BY kind, number
    ON CONFLICT (kind, number) DO UPDATE SET balance = account.balance + excluded.balance;

    numbers := coalesce(numbers, '{}');
    balances := coalesce(balances, '{}');
END $$;

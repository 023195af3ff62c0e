-- How money moves. Rows of lost shards (fenced or regressed) are left out everywhere.
--
-- Locks are taken in one order by everybody, so that two batches never wait for each other: rows of
-- shard, then of hold (by reference), then players' accounts (by number), then escrows and houses.

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
    v_moved movement[];
    v_wrong text;
BEGIN
    PERFORM 1 FROM hold WHERE reference = ANY (p_reference) ORDER BY reference FOR NO KEY UPDATE;

    SELECT min(e.reference) INTO v_wrong
    FROM unnest(p_shard, p_room, p_reference, p_payout) AS e (shard, room, reference, payout)
    LEFT JOIN hold AS h USING (reference)
    WHERE e.shard <> ALL (p_lost)
        AND (h.room_id = e.room AND (
            h.state = 'held'
            OR h.state = CASE WHEN e.payout IS NULL THEN 'released' ELSE 'settled' END
        )) IS NOT TRUE;
    IF v_wrong IS NOT NULL THEN
        RAISE EXCEPTION 'no hold of the room can be ended so: %', v_wrong USING ERRCODE = 'GS002';
    END IF;

    WITH asked AS (
        SELECT DISTINCT ON (e.reference) e.reference, e.payout, e.place
        FROM unnest(p_shard, p_reference, p_payout)
            WITH ORDINALITY AS e (shard, reference, payout, place)
        WHERE e.shard <> ALL (p_lost)
        ORDER BY e.reference, e.place
    ), ended AS (
        UPDATE hold AS h
        SET state = CASE WHEN e.payout IS NULL THEN 'released' ELSE 'settled' END,
            payout = e.payout
        FROM asked AS e
        WHERE h.reference = e.reference AND h.state = 'held'
        RETURNING h.reference, h.room_id, h.account, e.place, e.payout IS NULL AS is_release,
            coalesce(e.payout, h.amount) AS amount
    ), paid AS (
        INSERT INTO transfer
            (kind, reference, debit_kind, debit_number, credit_kind, credit_number, amount)
        SELECT
            CASE WHEN is_release THEN 'release' ELSE 'settle' END,
            reference, 'escrow', room_id, 'player', account, amount
        FROM ended
        WHERE amount > 0
        ORDER BY place
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
            AND NOT EXISTS (SELECT 1 FROM hold AS known WHERE known.reference = h.reference)
        ORDER BY h.reference, h.place
    ), ruled AS (
        SELECT
            a.place, a.account, f.available,
            CASE
                WHEN f.number IS NULL AND EXISTS (
                    SELECT 1 FROM account AS other
                    WHERE other.kind = 'player' AND other.number = a.account
                ) THEN 4
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

    WITH ruled AS (
        SELECT h.*, r.ruling
        FROM unnest(v_places, v_rulings) AS r (place, ruling)
        JOIN unnest(p_room, p_reference, p_account, p_amount)
            WITH ORDINALITY AS h (room, reference, account, amount, place) USING (place)
    ), kept AS (
        INSERT INTO hold (reference, account, room_id, amount, ruling, state)
        SELECT
            reference, account, room, amount, ruling,
            CASE WHEN ruling = 1 THEN 'held' ELSE 'refused' END
        FROM ruled
        ORDER BY reference
    ), moved AS (
        INSERT INTO transfer
            (kind, reference, debit_kind, debit_number, credit_kind, credit_number, amount)
        SELECT 'hold', reference, 'player', account, 'escrow', room, amount
        FROM ruled
        WHERE ruling = 1
        ORDER BY place
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

-- Bring all balances up to what was moved; return those of players.
CREATE FUNCTION balance_books(
    p_moved movement[],
    OUT numbers bigint[],
    OUT balances bigint[]
) LANGUAGE plpgsql AS $$
BEGIN
    WITH changed AS (
        UPDATE account AS a
        SET balance = a.balance + m.amount
        FROM (
            SELECT number, sum(amount)::bigint AS amount FROM unnest(p_moved)
            WHERE kind = 'player' GROUP BY number
        ) AS m
        WHERE a.kind = 'player' AND a.number = m.number
        RETURNING a.number, a.balance
    )
    SELECT array_agg(number ORDER BY number), array_agg(balance ORDER BY number)
    INTO numbers, balances
    FROM changed;

    INSERT INTO account (kind, number, balance)
    SELECT kind, number, sum(amount) FROM unnest(p_moved)
    WHERE kind <> 'player'
    GROUP BY kind, number
    ORDER BY kind, number
    ON CONFLICT (kind, number) DO UPDATE SET balance = account.balance + excluded.balance;

    numbers := coalesce(numbers, '{}');
    balances := coalesce(balances, '{}');
END $$;

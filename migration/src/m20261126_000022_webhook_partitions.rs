//! Events, deliveries and attempts by the day, so that history ends by dropping tables; and events that go to very
//! many endpoints.
//!
//! All three are partitioned by the day of an id. A delivery's id bears the instant of its event's, to the millisecond,
//! and attempts are kept by their delivery's id: whatever belongs to an event lies in the partitions of one day, a
//! look-up by an id opens one partition of each table, and a day is dropped whole.
//!
//! No foreign key leads to a partitioned table: PostgreSQL would look through the referring rows for each partition
//! that is dropped. Those that lead away from them stay, and with them no row outlives its tenant.

crate::sql_migration!(
    "
-- The partitions' own corner. The application's role has no right to it: it reaches rows by way of the partitioned
-- tables alone, whose policies hold it.
CREATE SCHEMA latchkey_partitions;

-- Rows of all tenants are moved here, and the policies hold the tables' owner too.
SELECT set_config('latchkey.scope', 'cross_tenant', true);

-- The smallest id of an instant.
CREATE FUNCTION latchkey_first_id(at timestamptz) RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN encode(
    substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3) || '\\x00000000000000000000'::bytea,
    'hex')::uuid;

-- The instant that an id bears, as it stands in it.
CREATE FUNCTION latchkey_id_instant(id uuid) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
RETURN substring(uuid_send(id) FROM 1 FOR 6);

-- A UUIDv7 of the same instant as another.
CREATE FUNCTION latchkey_uuid_beside(id uuid) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
    set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING latchkey_id_instant(id) FROM 1 FOR 6), 52, 1), 53, 1),
    'hex')::uuid;

ALTER TABLE events RENAME TO old_events;
ALTER TABLE deliveries RENAME TO old_deliveries;
ALTER TABLE attempts RENAME TO old_attempts;

-- `body` is the very text that is signed and sent: every copy of an event bears the same bytes.
CREATE TABLE events (
    id         uuid NOT NULL,
    tenant_id  uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    type       text NOT NULL,
    body       text NOT NULL,
    created_at timestamptz NOT NULL,
    -- The user whose data the body holds. When the account is deleted the event is marked, and its data is erased as
    -- soon as no delivery of it is under way: every attempt sends the same bytes.
    user_id    uuid,
    erase      boolean NOT NULL DEFAULT false
) PARTITION BY RANGE (id);

CREATE TABLE deliveries (
    id              uuid NOT NULL,
    tenant_id       uuid NOT NULL,
    event_id        uuid NOT NULL,
    endpoint_id     uuid NOT NULL,
    event_type      text NOT NULL,
    state           text NOT NULL CHECK (state IN ('pending', 'succeeded', 'failed', 'cancelled')),
    attempts        integer NOT NULL DEFAULT 0,
    next_attempt_at timestamptz,
    -- Not before then does the sweep look at the row: it is queued, leased, or not due.
    sweep_at        timestamptz NOT NULL,
    lease_until     timestamptz,
    -- Counts the leases: a worker that lost its lease cannot write over the next one's outcome.
    generation      integer NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    CONSTRAINT deliveries_id_beside_event CHECK (latchkey_id_instant(id) = latchkey_id_instant(event_id)),
    FOREIGN KEY (tenant_id, endpoint_id) REFERENCES webhook_endpoints (tenant_id, id) ON DELETE CASCADE
) PARTITION BY RANGE (id);

CREATE TABLE attempts (
    id               uuid NOT NULL,
    tenant_id        uuid NOT NULL,
    delivery_id      uuid NOT NULL,
    number           integer NOT NULL,
    started_at       timestamptz NOT NULL,
    duration_ms      integer NOT NULL,
    outcome          text NOT NULL CHECK (outcome IN ('succeeded', 'failed')),
    status           smallint,
    error_class      text,
    error_detail     text,
    address          text,
    response_headers jsonb NOT NULL,
    response_body    text
) PARTITION BY RANGE (delivery_id);

-- What no other partition takes: of a day that nobody has made one for, or of a clock that is far off.
CREATE TABLE latchkey_partitions.events_default PARTITION OF events DEFAULT;
CREATE TABLE latchkey_partitions.deliveries_default PARTITION OF deliveries DEFAULT;
CREATE TABLE latchkey_partitions.attempts_default PARTITION OF attempts DEFAULT;

-- Makes one partition that is missing between two instants, and tells its name; null when there is none left to make,
-- or another process is at it. A day of which rows lie in the default partition already gets none.
--
-- It takes its locks within a tenth of a second or fails: whoever waits for a table's lock holds up all who come after.
CREATE FUNCTION latchkey_make_partition(since timestamptz, until timestamptz) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
    -- So many partitions there can be at most, whatever is asked for.
    first_day date := (greatest(since, now() - interval '400 days') AT TIME ZONE 'UTC')::date;
    last_day  date := (least(until, now() + interval '40 days') AT TIME ZONE 'UTC')::date;
    day date;
    parent text;
    part text;
    low uuid;
    high uuid;
BEGIN
    -- Held by the policies like everybody else, it would take what it cannot see for nothing.
    IF NOT public.latchkey_cross_tenant() THEN
        RAISE EXCEPTION 'partitions are kept by transactions over all tenants';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('latchkey_partitions', 0)) THEN
        RETURN NULL;
    END IF;
    FOR i IN 0 .. last_day - first_day LOOP
        day := first_day + i;
        low := public.latchkey_first_id(day::timestamp AT TIME ZONE 'UTC');
        high := public.latchkey_first_id((day + 1)::timestamp AT TIME ZONE 'UTC');
        FOREACH parent IN ARRAY ARRAY['events', 'deliveries', 'attempts'] LOOP
            part := parent || '_' || to_char(day, 'YYYYMMDD');
            CONTINUE WHEN to_regclass('latchkey_partitions.' || part) IS NOT NULL;
            CONTINUE WHEN EXISTS (SELECT FROM latchkey_partitions.events_default WHERE id >= low AND id < high)
                OR EXISTS (SELECT FROM latchkey_partitions.deliveries_default WHERE id >= low AND id < high)
                OR EXISTS (SELECT FROM latchkey_partitions.attempts_default WHERE delivery_id >= low AND delivery_id < high);
            -- Made apart and attached, it holds up those alone who use the default partition.
            EXECUTE format('CREATE TABLE latchkey_partitions.%I (LIKE public.%I INCLUDING ALL)', part, parent);
            -- Nobody has a right to it. Should somebody be given one, the policies are the table's.
            EXECUTE format('ALTER TABLE latchkey_partitions.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
            EXECUTE format('CREATE POLICY tenant_isolation ON latchkey_partitions.%I USING (
                tenant_id = (SELECT public.latchkey_tenant()) OR (SELECT public.latchkey_cross_tenant()))', part);
            EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION latchkey_partitions.%I FOR VALUES FROM (%L) TO (%L)',
                parent, part, low, high);
            RETURN part;
        END LOOP;
    END LOOP;
    RETURN NULL;
END $$;

-- Drops one partition whose day was over before an instant, and tells its name; null when there is none left to drop, or
-- another process is at it. A day stays as long as a delivery of it waits, or an event of it is being spread. Yesterday
-- stays in any case.
--
-- Attempts go before deliveries and those before events, so that no delivery is left without its event. The locks are
-- taken as above.
CREATE FUNCTION latchkey_drop_partition(before timestamptz) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '100ms'
AS $$
DECLARE
    last_day date := (least(before, now() - interval '1 day') AT TIME ZONE 'UTC')::date - 1;
    old record;
    low uuid;
    high uuid;
BEGIN
    -- Held by the policies like everybody else, it would take what it cannot see for nothing.
    IF NOT public.latchkey_cross_tenant() THEN
        RAISE EXCEPTION 'partitions are kept by transactions over all tenants';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('latchkey_partitions', 0)) THEN
        RETURN NULL;
    END IF;
    FOR old IN
        SELECT p.relname::text AS parent, c.relname::text AS part, to_date(right(c.relname, 8), 'YYYYMMDD') AS day
        FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class p ON p.oid = i.inhparent
        WHERE p.oid IN ('public.attempts'::regclass, 'public.deliveries'::regclass, 'public.events'::regclass)
          AND c.relname ~ '_[0-9]{8}$' AND to_date(right(c.relname, 8), 'YYYYMMDD') <= last_day
        ORDER BY day, parent
    LOOP
        low := public.latchkey_first_id(old.day::timestamp AT TIME ZONE 'UTC');
        high := public.latchkey_first_id((old.day + 1)::timestamp AT TIME ZONE 'UTC');
        -- Asked before the lock is taken, so that a day that stays holds nobody up; and again after it.
        CONTINUE WHEN public.latchkey_is_under_way(low, high);
        CONTINUE WHEN old.parent = 'events' AND EXISTS (SELECT FROM public.deliveries WHERE id >= low AND id < high);
        EXECUTE format('LOCK TABLE ONLY public.%I IN ACCESS EXCLUSIVE MODE', old.parent);
        CONTINUE WHEN public.latchkey_is_under_way(low, high);
        EXECUTE format('DROP TABLE latchkey_partitions.%I', old.part);
        RETURN old.part;
    END LOOP;
    RETURN NULL;
END $$;

-- Rows that lie in no day's partition, counted up to a thousand of each table.
CREATE FUNCTION latchkey_rows_outside_partitions() RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT count(*) FROM (SELECT FROM latchkey_partitions.events_default LIMIT 1000) e)
         + (SELECT count(*) FROM (SELECT FROM latchkey_partitions.deliveries_default LIMIT 1000) d)
         + (SELECT count(*) FROM (SELECT FROM latchkey_partitions.attempts_default LIMIT 1000) a)
$$;

-- Deletes up to so many rows of each table that are older and lie in no day's partition; how many there were at most.
CREATE FUNCTION latchkey_delete_outside_partitions(before timestamptz, most integer) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s'
AS $$
DECLARE
    high uuid := public.latchkey_first_id(least(before, now() - interval '1 day'));
    gone bigint;
    found_most bigint := 0;
BEGIN
    -- Of older days there are few deliveries left, in partitions that stay for those that wait.
    DELETE FROM latchkey_partitions.attempts_default WHERE (tenant_id, delivery_id, id) IN (
        SELECT a.tenant_id, a.delivery_id, a.id FROM latchkey_partitions.attempts_default a
        WHERE a.delivery_id < high AND NOT EXISTS (
            SELECT FROM public.deliveries d WHERE d.id = a.delivery_id AND d.id < high AND d.state = 'pending')
        LIMIT most);
    GET DIAGNOSTICS gone = ROW_COUNT;
    found_most := greatest(found_most, gone);
    DELETE FROM latchkey_partitions.deliveries_default WHERE id IN (
        SELECT id FROM latchkey_partitions.deliveries_default WHERE id < high AND state || '' <> 'pending'
        ORDER BY id LIMIT most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS gone = ROW_COUNT;
    found_most := greatest(found_most, gone);
    DELETE FROM latchkey_partitions.events_default WHERE id IN (
        SELECT e.id FROM latchkey_partitions.events_default e
        WHERE e.id < high
          AND NOT EXISTS (SELECT FROM public.deliveries d WHERE d.event_id = e.id AND d.id < high)
          AND NOT EXISTS (SELECT FROM public.fanouts f WHERE e.id = ANY(f.event_ids))
        ORDER BY e.id LIMIT most);
    GET DIAGNOSTICS gone = ROW_COUNT;
    RETURN greatest(found_most, gone);
END $$;

-- Events with more endpoints than one transaction should write deliveries for: all that one transaction has written of one
-- type. `endpoint_ids` are those that were to get them when they happened; the first `spread` of these have been looked at.
CREATE TABLE fanouts (
    id           uuid PRIMARY KEY,
    tenant_id    uuid NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
    event_ids    uuid[] NOT NULL,
    event_type   text NOT NULL,
    endpoint_ids uuid[] NOT NULL,
    spread       integer NOT NULL DEFAULT 0,
    created_at   timestamptz NOT NULL,
    -- When it was last somebody's turn.
    touched_at   timestamptz NOT NULL
);
-- Ids do not compress.
ALTER TABLE fanouts ALTER COLUMN endpoint_ids SET STORAGE EXTERNAL;
CREATE INDEX fanouts_turn ON fanouts (touched_at);
CREATE INDEX fanouts_tenant ON fanouts (tenant_id);

-- How far the payloads of a tenant have been looked at that wants them erased before their day ends.
CREATE TABLE payload_marks (
    tenant_id uuid PRIMARY KEY REFERENCES tenants (id) ON DELETE CASCADE,
    marked_to uuid NOT NULL
);
CREATE INDEX tenants_payload_retention ON tenants (id)
    WHERE settings #>> ARRAY['webhooks', 'payload_retention_days'] IS NOT NULL;

-- Whether anything of events between two ids is still to be done.
CREATE FUNCTION latchkey_is_under_way(low uuid, high uuid) RETURNS boolean LANGUAGE sql STABLE
    SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM public.deliveries WHERE id >= low AND id < high AND state = 'pending')
        OR EXISTS (SELECT FROM public.fanouts WHERE id >= low AND id < high)
$$;

-- The days of the rows that there are, as far back as one transaction has locks for; and today and tomorrow. The worker
-- goes on. Older rows lie in the default partition until they are deleted.
DO $$
DECLARE
    oldest timestamptz := (SELECT min(created_at) FROM public.old_events);
    -- The version and the random part say nothing of the instant; clocks that differ make some ids older than rows.
    since timestamptz := greatest(now() - interval '100 days', least(now(), oldest - interval '1 day'));
BEGIN
    WHILE public.latchkey_make_partition(since, now() + interval '1 day') IS NOT NULL LOOP
    END LOOP;
END $$;

INSERT INTO events (id, tenant_id, type, body, created_at, user_id, erase)
    SELECT id, tenant_id, type, body, created_at, user_id, erase FROM old_events;
INSERT INTO deliveries
    SELECT id, tenant_id, event_id, endpoint_id, event_type, state, attempts, next_attempt_at, sweep_at, lease_until,
           generation, created_at, finished_at
    FROM old_deliveries;
INSERT INTO attempts
    SELECT id, tenant_id, delivery_id, number, started_at, duration_ms, outcome, status, error_class, error_detail,
           address, response_headers, response_body
    FROM old_attempts;
DROP TABLE old_attempts, old_deliveries, old_events;

-- Indexes last: to fill them once is cheaper. Those of partitions come with them.
ALTER TABLE events ADD PRIMARY KEY (id), ADD UNIQUE (tenant_id, id);
CREATE INDEX events_erase ON events (id) WHERE erase;
CREATE INDEX events_user ON events (tenant_id, user_id) WHERE user_id IS NOT NULL;
ALTER TABLE deliveries ADD PRIMARY KEY (id), ADD UNIQUE (tenant_id, id);
CREATE INDEX deliveries_due ON deliveries (sweep_at) WHERE state = 'pending';
CREATE INDEX deliveries_endpoint ON deliveries (tenant_id, endpoint_id, id);
CREATE INDEX deliveries_event ON deliveries (event_id);
-- Attempts are asked for by their delivery, and are removed with their tenant.
ALTER TABLE attempts ADD PRIMARY KEY (tenant_id, delivery_id, id);

-- PostgreSQL lets everybody execute a function unless it is told not to.
REVOKE ALL ON FUNCTION latchkey_make_partition(timestamptz, timestamptz), latchkey_drop_partition(timestamptz),
    latchkey_rows_outside_partitions(), latchkey_delete_outside_partitions(timestamptz, integer),
    latchkey_is_under_way(uuid, uuid) FROM PUBLIC;

SELECT set_config('latchkey.scope', '', true);
",
    isolate "events" "deliveries" "attempts" "fanouts" "payload_marks" "latchkey_partitions.events_default"
        "latchkey_partitions.deliveries_default" "latchkey_partitions.attempts_default"
);

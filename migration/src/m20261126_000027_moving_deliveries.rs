//! What moves a delivery writes no index: only its beginning and its end do.
//!
//! While it waits, is queued and is called, its row changes several times. None of the columns that change then stand in
//! an index any more, and a page has room for the new versions of its rows (PostgreSQL's heap-only tuples).

crate::sql_migration!(
    "
-- Walked from what has been due longest; what is queued or leased is passed over by `sweep_at`.
DROP INDEX deliveries_due;
CREATE INDEX deliveries_due ON deliveries (next_attempt_at) WHERE state = 'pending';

DO $$
DECLARE
    part regclass;
BEGIN
    FOR part IN SELECT inhrelid FROM pg_inherits WHERE inhparent = 'deliveries'::regclass LOOP
        EXECUTE format('ALTER TABLE %s SET (fillfactor = 50)', part);
    END LOOP;
END $$;

-- As before, with room in the pages of deliveries.
CREATE OR REPLACE FUNCTION latchkey_make_partition(since timestamptz, until timestamptz) RETURNS text
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
            IF parent = 'deliveries' THEN
                EXECUTE format('ALTER TABLE latchkey_partitions.%I SET (fillfactor = 50)', part);
            END IF;
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
"
);

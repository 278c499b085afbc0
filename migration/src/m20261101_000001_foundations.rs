//! Functions that the tables and their policies stand on.

crate::sql_migration!(
    "
-- The tenant this transaction states; null when it states none, and null equals no row's tenant.
CREATE FUNCTION latchkey_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
RETURN nullif(current_setting('latchkey.tenant_id', true), '')::uuid;

-- Whether this transaction was opened for cross-tenant work, by its one named door.
CREATE FUNCTION latchkey_cross_tenant() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE
RETURN coalesce(current_setting('latchkey.scope', true), '') = 'cross_tenant';

-- A UUIDv7 (RFC 9562) for an instant: 48 bits of milliseconds, then version, variant and random bits.
CREATE FUNCTION latchkey_uuid_v7(at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN encode(
    set_bit(set_bit(
        overlay(uuid_send(gen_random_uuid())
            PLACING substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
        52, 1), 53, 1),
    'hex')::uuid;
"
);

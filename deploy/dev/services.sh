# shellcheck shell=bash
# Private instances of PostgreSQL and Redis, on loopback, with passwords, owned by this clone alone.

PG_SUPERUSER=postgres

# PostgreSQL refuses to run as root, so root lends it the system user that its package brings.
as_postgres() {
    if [ "$(id -u)" -ne 0 ]; then
        (cd / && exec "$@")
    else
        (cd / && exec setpriv --reuid postgres --regid postgres --init-groups -- "$@")
    fi
}

# Sets PG_HOME, the directory of this instance. It is STATE/postgres, or, when the system user cannot get
# there (a clone below /root), a directory below /var/tmp that STATE/postgres points to.
place_postgres() {
    local link=$STATE/postgres elsewhere
    elsewhere=/var/tmp/latchkey-$(path_hash "$STATE")
    if [ -L "$link" ] && [ "$(readlink "$link")" != "$elsewhere" ]; then
        fail "$link points to another clone's data" "It was copied along: delete $STATE and run this again."
    fi
    if [ "$(id -u)" -ne 0 ]; then
        mkdir -p "$link"
    elif [ -L "$link" ] || ! as_postgres test -x "$STATE"; then
        [ -L "$link" ] || discard_orphan "$elsewhere"
        [ -L "$link" ] || mkdir -m 700 "$elsewhere"
        mkdir -p "$elsewhere" # somebody may have cleared /var/tmp
        ln -sfn "$elsewhere" "$link"
    else
        mkdir -p "$link"
    fi
    PG_HOME=$(cd "$link" && pwd -P)
    chmod 700 "$PG_HOME"
    [ "$(id -u)" -ne 0 ] || chown postgres:postgres "$PG_HOME"
}

# What is left when somebody deleted .dev by hand: nobody has its passwords any more. Only this clone's
# path gives this name, so it can only be ours; a stranger's file of that name belongs to the stranger.
discard_orphan() {
    [ -e "$1" ] || [ -L "$1" ] || return 0
    if [ -L "$1" ] || [ "$(stat -c %U "$1")" != postgres ]; then
        fail "$1 exists and is not this clone's" "Look at it, and delete it if it can go."
    fi
    local pid
    pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null || true)
    if [ -n "$pid" ] && [[ $(command_line "$pid") == *"$1/data"* ]]; then
        kill -s QUIT "$pid"
        sleep 1
    fi
    rm -rf "$1"
}

postgres_is_ready() { listens postgres "$PG_PORT" && "$POSTGRES_BIN/pg_isready" -q -h 127.0.0.1 -p "$PG_PORT"; }

# start_postgres durable|volatile FIRST_PORT: sets PG_PORT. `volatile` is for tests, whose data nobody
# wants back: without fsync they take a fraction of the time.
start_postgres() {
    local mode=$1 first=$2 log=$LOGS/postgres.log attempt
    local settings=(-c listen_addresses=127.0.0.1 -c unix_socket_directories= -c shared_buffers=256MB
        -c password_encryption=scram-sha-256 -c log_min_messages=warning
        -c max_locks_per_transaction=256) # a statement over all days of history locks some relations for each
    if [ "$mode" = volatile ]; then
        settings+=(-c max_connections=400 -c fsync=off -c synchronous_commit=off -c full_page_writes=off)
    else
        settings+=(-c max_connections=200)
    fi
    place_postgres
    [ -e "$PG_HOME/data/PG_VERSION" ] || create_cluster
    check_cluster_version
    for attempt in 1 2 3 4 5; do
        PG_PORT=$(free_port "$first")
        : >"$log"
        if [ "$(id -u)" -ne 0 ]; then
            launch postgres "$PG_HOME/data" "$POSTGRES_BIN/postgres" -D "$PG_HOME/data" -p "$PG_PORT" "${settings[@]}"
        else
            launch postgres "$PG_HOME/data" setpriv --reuid postgres --regid postgres --init-groups -- \
                "$POSTGRES_BIN/postgres" -D "$PG_HOME/data" -p "$PG_PORT" "${settings[@]}"
        fi
        wait_until postgres 60 postgres_is_ready && return
        # Another program was faster: take the next port. Anything else is a fault.
        grep -q -i 'address already in use' "$log" || break
        first=$((PG_PORT + attempt))
    done
    fail_with_log "$log" "PostgreSQL did not start" "If its data is damaged, './dev down --wipe' starts afresh."
}

# Every cluster sorts by bytes (no locale), so that no order depends on the machine's libc.
create_cluster() {
    local log=$LOGS/initdb.log password=$PG_HOME/superuser.password
    say "Creating a PostgreSQL cluster in $PG_HOME"
    rm -rf "${PG_HOME:?}/data" # half of one, from a run that was cut off
    random_hex 24 | as_postgres sh -c "umask 077 && cat >'$password'"
    as_postgres "$POSTGRES_BIN/initdb" -D "$PG_HOME/new" -U "$PG_SUPERUSER" --pwfile="$password" \
        --auth=scram-sha-256 --encoding=UTF8 --no-locale --no-sync >"$log" 2>&1 ||
        fail_with_log "$log" "initdb failed"
    as_postgres mv "$PG_HOME/new" "$PG_HOME/data"
}

# An upgrade of the machine's PostgreSQL cannot read the data of the one before.
check_cluster_version() {
    local data ours
    data=$(cat "$PG_HOME/data/PG_VERSION")
    ours=$("$POSTGRES_BIN/postgres" --version | sed 's/^[^0-9]*\([0-9]*\).*/\1/')
    [ "$data" = "$ours" ] ||
        fail "the data in $PG_HOME is PostgreSQL $data's, and this machine now has $ours" \
            "'./dev down --wipe' deletes it and starts afresh."
}

pg_url() { echo "postgres://$1:$2@127.0.0.1:$PG_PORT/$3"; }

superuser_url() { pg_url "$PG_SUPERUSER" "$(cat "$PG_HOME/superuser.password")" "$1"; }

# Reads SQL from standard input, so that passwords in it show in no process list.
as_superuser() {
    PGPASSWORD=$(cat "$PG_HOME/superuser.password") "$POSTGRES_BIN/psql" -h 127.0.0.1 -p "$PG_PORT" \
        -U "$PG_SUPERUSER" -d "$1" -X -q -v ON_ERROR_STOP=1 -f - >/dev/null
}

# Two roles: one owns the tables and migrates, the other serves requests, owns nothing, and so is held by
# row-level security.
create_roles() {
    local owner app
    owner=$(secret postgres_owner)
    app=$(secret postgres_app)
    as_superuser postgres <<SQL
SELECT format('CREATE ROLE %I', name) FROM unnest(ARRAY['latchkey_owner', 'latchkey_app']) AS name
    WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \\gexec
ALTER ROLE latchkey_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '$owner';
ALTER ROLE latchkey_app LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS PASSWORD '$app';
SELECT 'CREATE DATABASE latchkey OWNER latchkey_owner'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'latchkey') \\gexec
SQL
}

redis_is_ready() {
    listens redis "$REDIS_PORT" &&
        [ "$(REDISCLI_AUTH=$(secret redis) redis-cli -h 127.0.0.1 -p "$REDIS_PORT" ping)" = PONG ]
}

# start_redis FIRST_PORT: sets REDIS_PORT. Nothing is written to disk, in development as in production:
# what Redis holds, the platform makes again from PostgreSQL.
start_redis() {
    local first=$1 log=$LOGS/redis.log conf=$STATE/redis/redis.conf attempt
    mkdir -p "$STATE/redis"
    for attempt in 1 2 3 4 5; do
        REDIS_PORT=$(free_port "$first")
        (
            umask 077
            cat >"$conf" <<CONF
bind 127.0.0.1
port $REDIS_PORT
requirepass $(secret redis)
dir "$STATE/redis"
save ""
appendonly no
proc-title-template "{title} {listen-addr} {config-file}"
CONF
        )
        : >"$log"
        launch redis "$conf" redis-server "$conf"
        wait_until redis 20 redis_is_ready && return
        grep -q -i 'address already in use' "$log" || break
        first=$((REDIS_PORT + attempt))
    done
    fail_with_log "$log" "Redis did not start"
}

redis_url() { echo "redis://:$(secret redis)@127.0.0.1:$REDIS_PORT/0"; }

stop_services() {
    stop redis TERM 10
    stop postgres INT 30 # INT: do not wait for clients to leave
}

# The data may lie elsewhere (see place_postgres), where deleting STATE would leave it behind.
delete_postgres_data() {
    local elsewhere
    elsewhere=/var/tmp/latchkey-$(path_hash "$STATE")
    if [ -L "$STATE/postgres" ] && [ "$(readlink "$STATE/postgres")" = "$elsewhere" ]; then
        rm -rf "$elsewhere"
    fi
    rm -rf "$STATE/postgres"
}

# Deletes all that an instance kept. Only ever called once its processes have ended.
wipe_state() {
    delete_postgres_data
    rm -rf "$STATE"
}

# start_private_services NAME durable|volatile: a fresh pair for tests, below .dev/NAME. At the end of the
# script, however it ends, they are stopped and their data is deleted.
start_private_services() {
    use_state "$ROOT/.dev/$1"
    if alive dev; then
        fail "'./dev $1' already runs in this clone (process $(pid_of dev))" "Wait for it, or use another clone."
    fi
    stop_services # left by a run that was killed outright
    wipe_state
    use_state "$ROOT/.dev/$1"
    printf '%s\n%s\n' "$$" "dev" >"$PIDS/dev"
    at_exit stop_private_services
    need_servers
    start_postgres "$2" "$(random_port)"
    start_redis "$(random_port)"
    LATCHKEY_TEST_POSTGRES_URL=$(superuser_url postgres)
    LATCHKEY_TEST_REDIS_URL=$(redis_url)
    export LATCHKEY_TEST_POSTGRES_URL LATCHKEY_TEST_REDIS_URL
}

stop_private_services() {
    stop worker TERM 30
    stop api TERM 60
    stop_services
    delete_postgres_data # hundreds of databases; the logs stay
    rm -f "$PIDS/dev"
}

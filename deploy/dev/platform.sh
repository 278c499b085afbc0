# shellcheck shell=bash
# The platform itself: `./dev up` and `./dev down`.

ADMIN_EMAIL=admin@example.com
RUN_JSON_NOTE="base_url, the metrics, the mail directory, database and administrator"

# platform_up debug|release DETACH(yes|no)
platform_up() {
    if platform_is_up; then
        say "Already up, as it was built then (./dev down stops it)"
        print_how_to_call
        [ "$2" = yes ] || follow_logs
        return
    fi
    platform_down # what is left of an earlier run
    at_exit 'say "Stopping what was started"; platform_down'
    need_servers
    need_rust
    build_platform "$1"
    start_platform
    print_how_to_call
    if [ "$2" = no ]; then
        follow_logs
    else
        trap - EXIT
    fi
}

platform_is_up() {
    local name
    for name in postgres redis api worker; do
        alive "$name" || return 1
    done
    [ -e "$STATE/run.json" ] && curl -fsS -o /dev/null "$(run_json_base_url)/health/ready" 2>/dev/null
}

run_json_base_url() { sed -n 's/.*"base_url": *"\([^"]*\)".*/\1/p' "$STATE/run.json"; }

# build_platform debug|release: sets BIN, the directory with both binaries.
build_platform() {
    local flags=() target
    [ "$1" = debug ] || flags+=(--release)
    say "Building ($1; the first time takes some minutes)"
    cargo build ${flags[@]+"${flags[@]}"} -p latchkey-api -p latchkey-worker ||
        fail "the build failed" "The compiler's messages are above."
    target=$(cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p')
    BIN=$target/$1
}

# start_platform: everything from the two servers to a platform that answers. Needs BIN.
start_platform() {
    say "Starting PostgreSQL and Redis"
    start_postgres durable 15432
    start_redis 16379
    create_roles
    choose_ports 8080 9464
    write_config
    say "Migrating the database"
    run_api_command migrate migrate
    run_api_command bootstrap bootstrap --email "$ADMIN_EMAIL" --password-file "$SECRETS/admin_password"
    say "Starting the API and the worker"
    start_binaries
    write_run_json
}

# choose_ports API METRICS: sets API_PORT, API_METRICS_PORT and WORKER_METRICS_PORT.
choose_ports() {
    API_PORT=$(free_port "$1")
    API_METRICS_PORT=$(free_port "$2")
    WORKER_METRICS_PORT=$(free_port $((API_METRICS_PORT + 1)))
}

# run_api_command LOG_NAME ARGUMENT...
run_api_command() {
    local log=$LOGS/$1.log
    shift
    "$BIN/latchkey-api" --config "$STATE/config.toml" "$@" >"$log" 2>&1 ||
        fail_with_log "$log" "'latchkey-api $1' failed" "The whole log is in $log."
}

start_binaries() {
    local attempt
    for attempt in 1 2 3 4 5; do
        : >"$LOGS/api.log"
        : >"$LOGS/worker.log"
        launch api "--config $STATE/config.toml serve" "$BIN/latchkey-api" --config "$STATE/config.toml" serve
        launch worker "latchkey-worker --config $STATE/config.toml" "$BIN/latchkey-worker" --config "$STATE/config.toml"
        if wait_until api 60 answers api "$API_PORT" /health/ready &&
            wait_until api 10 answers api "$API_METRICS_PORT" /metrics &&
            wait_until worker 60 answers worker "$WORKER_METRICS_PORT" /health/ready; then
            return
        fi
        # Another program took one of the ports in the meantime: choose again. Anything else is a fault.
        grep -q -i 'address already in use\|address in use' "$LOGS/api.log" "$LOGS/worker.log" || break
        stop worker TERM 30
        stop api TERM 60
        choose_ports $((API_PORT + attempt)) $((WORKER_METRICS_PORT + attempt))
        write_config
    done
    if answers api "$API_PORT" /health/ready 2>/dev/null; then
        fail_with_log "$LOGS/worker.log" "the worker did not become ready" "The whole log is in $LOGS/worker.log."
    fi
    fail_with_log "$LOGS/api.log" "the API did not become ready" "The whole log is in $LOGS/api.log."
}

# answers NAME PORT PATH
answers() { listens "$1" "$2" && curl -fsS -m 5 -o /dev/null "http://127.0.0.1:$2$3"; }

write_config() {
    local token_key data_key
    token_key=$(secret token_key random_base64 32)
    data_key=$(secret data_key random_base64 32)
    secret admin_password >/dev/null
    rm -f "$STATE/config.toml"
    (
        umask 077
        cat >"$STATE/config.toml" <<TOML
# Written anew by every './dev up'. To change a setting, set its variable: LATCHKEY__LOG__LEVEL=debug ./dev up

[server]
environment = "development"
listen = "127.0.0.1:$API_PORT"
metrics_listen = "127.0.0.1:$API_METRICS_PORT"
public_url = "http://127.0.0.1:$API_PORT"
trusted_proxies = []

[tenancy]
base_domain = "localhost"

[postgres]
url = "$(application_url)"
migrate_url = "$(pg_url latchkey_owner "$(secret postgres_owner)" latchkey)"
max_connections = 20

[redis]
url = "$(redis_url)"
key_prefix = "lk"

[tokens]
keys = ["k1:$token_key"]

[secrets]
data_keys = ["1:$data_key"]

[mail]
transport = "file"
directory = "$(escape "$MAIL")"
from = "Latchkey <no-reply@localhost>"

[webhooks]
# Receivers under development listen on this machine; every other private range stays refused.
allowed_cidrs = ["127.0.0.0/8", "::1/128"]

[worker]
metrics_listen = "127.0.0.1:$WORKER_METRICS_PORT"

[log]
level = "info"
format = "text"
TOML
    )
}

application_url() { pg_url latchkey_app "$(secret postgres_app)" latchkey; }

# For programs and tests that use a running platform.
write_run_json() {
    (
        umask 077
        cat >"$STATE/run.json.new" <<JSON
{
  "base_url": "http://127.0.0.1:$API_PORT",
  "metrics_urls": {
    "api": "http://127.0.0.1:$API_METRICS_PORT/metrics",
    "worker": "http://127.0.0.1:$WORKER_METRICS_PORT/metrics"
  },
  "mail_dir": "$(escape "$MAIL")",
  "database_url": "$(application_url)",
  "redis_url": "$(redis_url)",
  "admin": {"tenant": "platform", "email": "$ADMIN_EMAIL", "password": "$(secret admin_password)"}
}
JSON
    )
    mv "$STATE/run.json.new" "$STATE/run.json"
}

print_how_to_call() {
    local base
    base=$(run_json_base_url)
    cat <<TEXT

Latchkey answers on $base
  Swagger UI     $base/docs
  everything     $STATE/run.json: $RUN_JSON_NOTE
  logs           $LOGS/

Sign in as the platform's administrator:

  curl -s $base/v1/auth/login -H 'X-Tenant-ID: platform' -H 'Content-Type: application/json' \\
    -d '{"email":"$ADMIN_EMAIL","password":"$(secret admin_password)"}'

Then call with the access_token of the answer:

  curl -s $base/v1/auth/me -H "Authorization: Bearer \$ACCESS_TOKEN"

TEXT
}

# Shows both logs until Ctrl-C, or until one of the two ends by itself; then stops everything.
follow_logs() {
    local tail_pid
    say "Following the logs; Ctrl-C stops everything"
    tail -n +1 -f "$LOGS/api.log" "$LOGS/worker.log" &
    tail_pid=$!
    at_exit "kill $tail_pid 2>/dev/null || true; say Stopping; platform_down"
    trap 'exit 0' INT
    while alive api && alive worker; do
        sleep 1
    done
    # `./dev down` in another terminal ends both on purpose, and takes run.json away first.
    [ -e "$STATE/run.json" ] || exit 0
    alive api || fail_with_log "$LOGS/api.log" "the API ended by itself"
    fail_with_log "$LOGS/worker.log" "the worker ended by itself"
}

platform_down() {
    rm -f "$STATE/run.json"
    stop worker TERM 30
    stop api TERM 60
    stop_services
}

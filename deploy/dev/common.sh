# shellcheck shell=bash
# Messages, secrets, free ports, and where the state of one instance lies.

say() { printf '==> %s\n' "$*"; }

# fail WHAT [WHAT TO DO]: says both and ends the script.
fail() {
    printf '\ndev: %s\n' "$1" >&2
    [ $# -lt 2 ] || printf '     %s\n' "$2" >&2
    exit 1
}

# fail_with_log LOG WHAT [WHAT TO DO]: the same, with the last lines of a log before it.
fail_with_log() {
    local log=$1
    shift
    if [ -s "$log" ]; then
        printf '\nThe last lines of %s:\n' "$log" >&2
        tail -n 20 "$log" | sed 's/^/    /' >&2
    fi
    fail "$@"
}

have() { command -v "$1" >/dev/null 2>&1; }

# use_state DIRECTORY: everything one instance keeps lies below it. `up` uses .dev, `test`, `prove` and
# `bench` one directory each below that, so that none of them touches another's servers.
use_state() {
    STATE=$1
    LOGS=$STATE/log
    PIDS=$STATE/pid
    SECRETS=$STATE/secret
    MAIL=$STATE/mail
    mkdir -p "$LOGS" "$PIDS" "$SECRETS" "$MAIL"
    # Mails carry one-time tokens, and a log may say more than it should.
    chmod 700 "$LOGS" "$SECRETS" "$MAIL"
}

random_hex() { od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'; }

random_base64() { head -c "$1" /dev/urandom | base64 | tr -d '\n'; }

# secret NAME [COMMAND...]: prints a secret, made on its first use and kept from then on. Losing a data key
# would lose what it encrypts, so these outlive `down`.
secret() {
    local file=$SECRETS/$1
    shift
    [ $# -gt 0 ] || set -- random_hex 24
    [ -s "$file" ] || (umask 077 && "$@" >"$file.new" && mv "$file.new" "$file")
    cat "$file"
}

# Escapes text for a JSON or TOML string.
escape() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }

port_is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# free_port FIRST: the first port from FIRST on where nothing answers. Somebody else can still be faster;
# whoever starts a server on it tries again.
free_port() {
    local port=$1
    while port_is_taken "$port"; do
        port=$((port + 1))
        [ "$port" -lt $(($1 + 1000)) ] || fail "no free port between $1 and $port"
    done
    echo "$port"
}

# A place to start looking for ports, below the range that systems hand to outgoing connections.
# It differs from run to run so that several clones starting at once rarely meet.
random_port() { free_port $((20000 + (RANDOM * 32768 + RANDOM) % 10000)); }

# A short name for a path, the same on every run.
path_hash() { printf '%s' "$1" | git hash-object --stdin | cut -c 1-12; }

# shellcheck shell=bash
# Installs what is missing: apt on Debian and Ubuntu, Homebrew on a Mac.

# The oldest versions with everything that the platform uses.
POSTGRES_MINIMUM=15
REDIS_MINIMUM=7

# What is built once on a machine, for all clones.
TOOLS=${XDG_CACHE_HOME:-$HOME/.cache}/latchkey/tools

on_mac() { [ "$(uname -s)" = Darwin ]; }

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif have sudo; then
        sudo "$@"
    else
        fail "'$*' needs root, and there is no sudo here" "Run it as root yourself, then './dev' again."
    fi
}

# apt_install PACKAGE...
apt_install() {
    have apt-get || fail "missing: $*" "This script installs with apt-get or brew only; install these yourself."
    local log=$LOGS/apt.log
    say "Installing $* (log: $log)"
    [ -n "${APT_UPDATED:-}" ] || as_root apt-get update >"$log" 2>&1 ||
        fail_with_log "$log" "'apt-get update' failed" "Is the network up?"
    APT_UPDATED=yes
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1 ||
        fail_with_log "$log" "could not install $*" "Install these yourself, then run './dev' again."
}

brew_install() {
    have brew || fail "missing: $*" "Install Homebrew, or these by hand."
    say "Installing $* with Homebrew"
    brew install "$@"
}

# Debian starts a server right after installing it, and again at each boot. Ours are private instances, so
# the machine's own stay off when it was us who brought them.
apt_install_servers() {
    local policy=/usr/sbin/policy-rc.d ours=no
    if [ ! -e "$policy" ]; then
        ours=yes
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    local status=0
    (apt_install "$@") || status=$?
    [ "$ours" = no ] || as_root rm -f "$policy"
    [ "$status" -eq 0 ] || exit "$status"
    if [ -d /run/systemd/system ]; then
        for unit in "$@"; do
            case $unit in
                redis-server | postgresql | prometheus) ;;
                nginx-light) unit=nginx ;;
                *) continue ;;
            esac
            as_root systemctl disable --quiet "$unit" || true
        done
    fi
}

# Prints the directory with the newest PostgreSQL server's programs, or nothing.
find_postgres() {
    local directory
    if on_mac; then
        for directory in "$(brew --prefix 2>/dev/null)"/opt/postgresql@*/bin; do
            [ -x "$directory/initdb" ] && echo "$directory"
        done | sort -t @ -k 2 -n | tail -n 1
        return
    fi
    directory=$(for directory in /usr/lib/postgresql/*/bin; do
        [ -x "$directory/initdb" ] && [ -x "$directory/postgres" ] && echo "$directory"
    done | sort -t / -k 5 -n | tail -n 1)
    if [ -z "$directory" ] && have initdb; then
        directory=$(dirname "$(command -v initdb)")
    fi
    echo "$directory"
}

# Sets POSTGRES_BIN, and sees to Redis and the tools the other steps call.
need_servers() {
    local missing=()
    POSTGRES_BIN=$(find_postgres)
    if on_mac; then
        [ -n "$POSTGRES_BIN" ] || missing+=(postgresql@17)
        have redis-server || missing+=(redis)
        [ ${#missing[@]} -eq 0 ] || brew_install "${missing[@]}"
    else
        have curl || missing+=(curl ca-certificates)
        [ ${#missing[@]} -eq 0 ] || apt_install "${missing[@]}"
        missing=()
        [ -n "$POSTGRES_BIN" ] || missing+=(postgresql)
        have redis-server || missing+=(redis-server)
        [ ${#missing[@]} -eq 0 ] || apt_install_servers "${missing[@]}"
    fi
    POSTGRES_BIN=$(find_postgres)
    need_version PostgreSQL "$POSTGRES_MINIMUM" "$("$POSTGRES_BIN/postgres" --version | sed 's/^[^0-9]*//')"
    need_version Redis "$REDIS_MINIMUM" "$(redis-server --version | sed 's/.*v=//')"
}

# need_version NAME MINIMUM FOUND
need_version() {
    local major=${3%%[!0-9]*}
    [ "${major:-0}" -ge "$2" ] || fail "$1 $2 or newer is needed, and this machine has '$3'" "Install a newer $1."
}

need_rust() {
    have cargo || fail "cargo is missing" "Install Rust with rustup (https://rustup.rs), then open a new shell."
    if on_mac; then
        have cc || fail "there is no C compiler" "Run 'xcode-select --install'."
    else
        have cc || apt_install gcc libc6-dev
    fi
}

# need_tool COMMAND PACKAGE: for the tools that are called the same everywhere.
need_tool() {
    have "$1" && return
    if on_mac; then brew_install "$2"; else apt_install "$2"; fi
}

# What tests call besides the platform: the README's walk-through reads JSON with jq and receives with python3.
need_test_tools() {
    need_tool jq jq
    need_tool python3 python3
    # A gateway in front of the API; where Debian puts it, not everybody looks.
    have nginx || [ -x /usr/sbin/nginx ] || if on_mac; then brew_install nginx; else apt_install_servers nginx-light; fi
    # For promtool, which tries the alerts.
    have promtool || if on_mac; then brew_install prometheus; else apt_install_servers prometheus; fi
}

# python_tool NAME VERSION [PACKAGE==VERSION...]: installs one tool from PyPI, and what it is used with, into a
# directory of its own, whose bin goes into PYTHON_BIN. One each, so that their dependencies cannot disagree.
python_tool() {
    local directory=$ROOT/.dev/venv/$1-$2 log=$LOGS/$1.log wanted="$*"
    if [ "$(cat "$directory/complete" 2>/dev/null)" != "$wanted" ]; then
        rm -rf "$directory"
        say "Installing $1 $2 from PyPI (log: $log)"
        make_venv "$directory" "$log" || fail_with_log "$log" "could not make a Python environment"
        "$directory/bin/pip" install --disable-pip-version-check "$1==$2" "${@:3}" >>"$log" 2>&1 ||
            fail_with_log "$log" "could not install $1 $2 from PyPI" "Is the network up?"
        printf '%s\n' "$wanted" >"$directory/complete"
    fi
    # shellcheck disable=SC2034 # for checks.sh and proofs.sh
    PYTHON_BIN=$directory/bin
}

# npm_tools NAME VERSION [PACKAGE@VERSION...]: the same from npm; the directory around node_modules goes into NODE_TOOLS.
npm_tools() {
    local directory=$ROOT/.dev/npm/${1//\//-}-$2 log=$LOGS/npm.log wanted="$*"
    need_npm
    if [ "$(cat "$directory/complete" 2>/dev/null)" != "$wanted" ]; then
        rm -rf "$directory"
        mkdir -p "$directory"
        say "Installing $1 $2 from npm (log: $log)"
        npm install --prefix "$directory" --no-save --no-audit --no-fund "$1@$2" "${@:3}" >"$log" 2>&1 ||
            fail_with_log "$log" "could not install $1 $2 from npm" "Is the network up?"
        printf '%s\n' "$wanted" >"$directory/complete"
    fi
    # shellcheck disable=SC2034 # for sdk.sh and proofs.sh
    NODE_TOOLS=$directory
}

need_npm() {
    have npx && return
    if on_mac; then brew_install node; else apt_install nodejs npm; fi
}

# cargo_tool NAME VERSION [OPTION...]: the same for what cargo builds from source; the program goes into CARGO_TOOL. Built
# without optimisation: these run for a second, and would take three times as long to build.
cargo_tool() {
    local directory=$TOOLS/$1-$2 build=$STATE/$1
    CARGO_TOOL=$directory/bin/$1
    [ -x "$CARGO_TOOL" ] && return
    need_rust
    say "Building $1 $2 (once on this machine)"
    cargo install "$1" --version "$2" --locked --debug --quiet --root "$directory" --target-dir "$build" "${@:3}"
    rm -rf "$build"
}

# make_venv DIRECTORY LOG. Debian's python3 comes without what makes a venv; a python3 from elsewhere may lack it for good.
make_venv() {
    mkdir -p "$(dirname "$1")"
    have python3 && python3 -m venv "$1" >"$2" 2>&1 && return
    rm -rf "$1"
    if on_mac; then
        brew_install python3
        python3 -m venv "$1" >>"$2" 2>&1
    else
        apt_install python3 python3-venv
        /usr/bin/python3 -m venv "$1" >>"$2" 2>&1
    fi
}

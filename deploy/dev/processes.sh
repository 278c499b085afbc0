# shellcheck shell=bash
# Starts and stops background processes, and never stops one that is not ours.
#
# pid/NAME holds the process id and, on the second line, words that stand in the command line of this very
# instance (a path below the clone). A process id that has since gone to somebody else fails that test.

command_line() {
    if [ -e "/proc/$1/cmdline" ]; then
        tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null || true
    else
        ps -ww -p "$1" -o command= 2>/dev/null || true
    fi
}

# Prints the process id of NAME when it runs and is ours.
pid_of() {
    local pid='' words=''
    [ -e "$PIDS/$1" ] || return 0
    { read -r pid && read -r words; } <"$PIDS/$1" || return 0
    case $(command_line "$pid") in
        *"$words"*) echo "$pid" ;;
    esac
}

alive() { [ -n "$(pid_of "$1")" ]; }

# launch NAME WORDS COMMAND...: runs it in the background with its output in the log, in a process group of
# its own: Ctrl-C in the terminal is for this script, which then stops things in order.
launch() {
    local name=$1 words=$2
    shift 2
    (
        set -m
        nohup "$@" </dev/null >>"$LOGS/$name.log" 2>&1 &
        printf '%s\n%s\n' "$!" "$words" >"$PIDS/$name"
    )
    # Until the process has become the program, its command line is still this script's.
    local tries=0
    until alive "$name" || [ "$tries" -ge 50 ]; do
        sleep 0.02
        tries=$((tries + 1))
    done
}

# stop NAME SIGNAL SECONDS
stop() {
    local name=$1 signal=$2 seconds=$3 pid
    pid=$(pid_of "$name")
    if [ -n "$pid" ]; then
        kill -s "$signal" "$pid" 2>/dev/null || true
        local until=$((SECONDS + seconds))
        while alive "$name"; do
            if [ "$SECONDS" -ge "$until" ]; then
                say "$name did not end within $seconds s of SIG$signal; killing it"
                kill -s KILL "$pid" 2>/dev/null || true
                sleep 0.2
                break
            fi
            sleep 0.05
        done
    fi
    rm -f "$PIDS/$name"
}

# at_exit COMMAND: runs it when the script ends, however it ends. A second Ctrl-C must not cut it short.
at_exit() {
    # shellcheck disable=SC2064 # the command is known now
    trap "trap '' INT TERM HUP; $1" EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# wait_until NAME SECONDS COMMAND...: until the command succeeds; fails at once when NAME has ended.
wait_until() {
    local name=$1 until=$((SECONDS + $2))
    shift 2
    until "$@" >/dev/null 2>&1; do
        alive "$name" || return 1
        [ "$SECONDS" -lt "$until" ] || return 1
        sleep 0.1
    done
    alive "$name"
}

# listens NAME PORT: whether it is really our process that listens there. A clone that starts at the same
# moment may have taken the port, and would answer in our place until ours gives up.
listens() {
    local pid sockets address state inode port
    pid=$(pid_of "$1")
    [ -n "$pid" ] || return 1
    if [ ! -e /proc/net/tcp ]; then
        lsof -a -p "$pid" -iTCP:"$2" -sTCP:LISTEN >/dev/null 2>&1
        return
    fi
    sockets=$(ls -l "/proc/$pid/fd" 2>/dev/null) || return 1
    port=$(printf '%04X' "$2")
    # Columns: 2 local address, 4 state (0A: listening), 10 inode.
    while read -r _ address _ state _ _ _ _ _ inode _; do
        [ "$state ${address#*:}" = "0A $port" ] || continue
        case $sockets in *"socket:[$inode]"*) return 0 ;; esac
    done </proc/net/tcp
    return 1
}

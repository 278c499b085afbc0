# shellcheck shell=bash
# `./dev test`: what CI checks, in the order in which a fault is cheapest to find.

CARGO_DENY_VERSION=0.20.2
AIOSMTPD_VERSION=1.4.6
PYOTP_VERSION=2.12.0
PYJWT_VERSION=2.15.1
CRYPTOGRAPHY_VERSION=50.0.2
STANDARDWEBHOOKS_VERSION=1.1.0
OPENAPI_SPEC_VALIDATOR_VERSION=0.9.0

STEP_TIMES=
NOT_CHECKED=

# step NAME COMMAND...: runs one check and notes its time. The first that fails ends the run.
step() {
    local name=$1 started=$SECONDS status=0
    shift
    printf '\n'
    say "$name"
    # Not `"$@" || status=$?`: that would switch `set -e` off inside the functions called here.
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    STEP_TIMES=$STEP_TIMES$(printf '%5d s  %s' $((SECONDS - started)) "$name")$'\n'
    [ "$status" -eq 0 ] || fail "'$name' failed with status $status after $((SECONDS - started)) s"
}

print_times() {
    printf '\n'
    say "All passed in $SECONDS s"
    printf '%s' "$STEP_TIMES"
    [ -z "$NOT_CHECKED" ] || printf '\nNOT CHECKED: %s\n' "$NOT_CHECKED"
}

run_checks() {
    # Incremental builds pay off on the second edit; CI builds once.
    [ -z "${CI:-}" ] || export CARGO_INCREMENTAL=0
    start_private_services test volatile
    need_rust
    need_test_tools
    step "format" cargo fmt --all --check
    step "shell scripts" check_scripts
    step "lints" cargo clippy --workspace --all-targets -- -D warnings
    step "documentation" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
    step "build" cargo build --workspace --bins
    provide_test_python
    step "tests" cargo test --workspace
    step "specification is up to date" "${CARGO_TARGET_DIR:-target}/debug/latchkey-api" openapi --check
    step "specification is valid" check_specification
    step "specification makes a client" check_client
    step "dependencies" check_dependencies
    step "security advisories" check_advisories
    [ ! -e "$STATE/advisories-not-checked" ] ||
        NOT_CHECKED="security advisories (their database could not be fetched)"
    print_times
}

# What the tests talk to that is written in Python: a mail server, and other libraries for one-time codes, tokens and
# webhooks.
provide_test_python() {
    python_tool aiosmtpd "$AIOSMTPD_VERSION" "pyotp==$PYOTP_VERSION" "pyjwt==$PYJWT_VERSION" \
        "cryptography==$CRYPTOGRAPHY_VERSION" "standardwebhooks==$STANDARDWEBHOOKS_VERSION"
    export LATCHKEY_TEST_PYTHON=$PYTHON_BIN/python
}

check_scripts() {
    need_tool shellcheck shellcheck
    shellcheck -x dev .ci/run deploy/*/*.sh
}

check_specification() {
    python_tool openapi-spec-validator "$OPENAPI_SPEC_VALIDATOR_VERSION"
    "$PYTHON_BIN/openapi-spec-validator" openapi/openapi.json openapi/openapi-3.0.json
}

# The quickest generator, and the one that tells of what it leaves out.
check_client() { generate_python "$STATE/sdk"; }

need_cargo_deny() {
    cargo_tool cargo-deny "$CARGO_DENY_VERSION" --no-default-features
    CARGO_DENY=$CARGO_TOOL
}

check_dependencies() {
    need_cargo_deny
    "$CARGO_DENY" --locked check bans licenses sources
}

# The database of advisories comes over the network from a place of its own, so this is the one check that
# a machine may be unable to make. That is said at the end too, and any advisory found is a failure.
check_advisories() {
    need_cargo_deny
    local log=$LOGS/advisories.log
    if "$CARGO_DENY" fetch db >"$log" 2>&1; then
        "$CARGO_DENY" --locked check advisories
        return
    fi
    sed 's/^/    /' "$log"
    touch "$STATE/advisories-not-checked"
    echo "NOT CHECKED: the advisory database could not be fetched"
}

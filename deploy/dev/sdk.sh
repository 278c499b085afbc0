# shellcheck shell=bash
# `./dev sdk`: clients for other programs, generated from the published document into .dev/sdk/.
#
# What each generator is told stands in openapi/sdk/, beside a program that uses what it makes: `./dev prove sdk`.

OPENAPI_TS_VERSION=0.85.2
TYPESCRIPT_VERSION=5.9.3
NODE_TYPES_VERSION=20.19.43
OPENAPI_PYTHON_CLIENT_VERSION=0.29.1
RUFF_VERSION=0.17.6
PROGENITOR_VERSION=0.15.1

# generate_sdks [NAME]: each of those below takes the directory that it writes.
generate_sdks() {
    local name=${1:-all}
    case $name in
        all) set -- typescript python rust ;;
        typescript | python | rust) ;;
        *) fail "there is no SDK '$name'" "There are: typescript, python, rust." ;;
    esac
    for name in "$@"; do
        "generate_$name" "$ROOT/.dev/sdk/$name"
        say "Wrote $ROOT/.dev/sdk/$name"
    done
}

generate_typescript() {
    npm_tools @hey-api/openapi-ts "$OPENAPI_TS_VERSION" "typescript@$TYPESCRIPT_VERSION" "@types/node@$NODE_TYPES_VERSION"
    rm -rf "$1"
    mkdir -p "$1"
    cp openapi/sdk/typescript/* "$1"
    ln -s "$NODE_TOOLS/node_modules" "$1/node_modules"
    (
        cd "$1" || exit
        LATCHKEY_DOCUMENT=$ROOT/openapi/openapi.json npx openapi-ts -f openapi-ts.config.mjs
        npx tsc -p .
    )
}

# The generator leaves out what it cannot read, and goes on: that is a fault of the document.
generate_python() {
    local log=$LOGS/openapi-python-client.log
    python_tool openapi-python-client "$OPENAPI_PYTHON_CLIENT_VERSION" "ruff==$RUFF_VERSION"
    rm -rf "$1"
    mkdir -p "$(dirname "$1")"
    PATH=$PYTHON_BIN:$PATH openapi-python-client generate --path "$ROOT/openapi/openapi-3.0.json" \
        --config "$ROOT/openapi/sdk/python/config.yaml" --output-path "$1" >"$log" 2>&1 ||
        fail_with_log "$log" "the Python client was not generated"
    ! grep -q -e WARNING -e Unable "$log" || fail_with_log "$log" "the Python client has gaps" "The log is $log."
}

generate_rust() {
    local log=$LOGS/cargo-progenitor.log
    cargo_tool cargo-progenitor "$PROGENITOR_VERSION"
    rm -rf "$1"
    mkdir -p "$(dirname "$1")"
    "$CARGO_TOOL" progenitor --input "$ROOT/openapi/openapi-3.0.json" --output "$1" \
        --name latchkey-client --version 0.1.0 --license-name Apache-2.0 >"$log" 2>&1 ||
        fail_with_log "$log" "the Rust client was not generated"
    # By itself, not of the workspace that it lies in.
    printf '\n[workspace]\n' >>"$1/Cargo.toml"
}

# Against a platform that runs: each client signs in, calls and is answered.
prove_sdks() {
    local sdk=$ROOT/.dev/sdk run=$STATE/run.json
    generate_sdks
    (
        cd "$sdk/typescript" || exit
        npx tsc -p tsconfig.smoke.json
        node smoke/smoke.js "$run"
    )
    PYTHONPATH=$sdk/python "$PYTHON_BIN/python" openapi/sdk/python/smoke.py "$run"
    (
        cd "$sdk/rust" || exit
        mkdir examples
        cp "$ROOT/openapi/sdk/rust/smoke.rs" examples/
        printf '\n[dev-dependencies]\ntokio = { version = "1", features = ["macros", "rt"] }\n' >>Cargo.toml
        CARGO_TARGET_DIR=$ROOT/.dev/sdk-rust-target cargo run --quiet --example smoke "$run"
    )
}

# shellcheck shell=bash
# `./dev prove` and `./dev bench`: what takes too long for every run.

REDOCLY_VERSION=2.77.0
PLAYWRIGHT_VERSION=1.65.1
JOSE_VERSION=6.2.18
STANDARDWEBHOOKS_JS_VERSION=1.1.1
SCHEMATHESIS_VERSION=4.32.5
SCHEMATHESIS_SECONDS=${SCHEMATHESIS_SECONDS:-600}

# What the paths of the tests with a full size contain. A test looks whether one is left out.
PROOFS=(prove other_libraries fairness:: own_account:: personal_data:: sealing:: warm::)

# run_proofs [NAME]
run_proofs() {
    local name=${1:-all}
    [ $# -le 1 ] || no_more_arguments "${@:2}"
    case $name in
        all | rust | redocly | sdk | browser | schemathesis) ;;
        *) fail "there is no proof '$name'" "There are: rust, redocly, sdk, browser, schemathesis." ;;
    esac
    need_rust
    start_private_services prove durable
    case $name in all | rust) step "rust" prove_rust ;; esac
    case $name in all | redocly) step "redocly" prove_redocly ;; esac
    case $name in all | sdk | browser | schemathesis) step "platform" start_proof_platform ;; esac
    case $name in all | sdk) step "sdk" prove_sdks ;; esac
    case $name in all | browser) step "browser" prove_browser ;; esac
    case $name in all | schemathesis) step "schemathesis" prove_schemathesis ;; esac
    print_times
}

# run_benches [NAME]
run_benches() {
    local which=()
    [ $# -le 1 ] || no_more_arguments "${@:2}"
    [ $# -eq 0 ] || which=(--bench "$1")
    need_rust
    start_private_services bench durable
    cargo bench --workspace ${which[@]+"${which[@]}"}
}

# One test at a time: they measure times and load the whole machine themselves.
prove_rust() {
    need_test_tools
    provide_test_python
    provide_jose
    provide_standardwebhooks
    LATCHKEY_PROVE=full cargo test --release --workspace -- --nocapture --test-threads=1 "${PROOFS[@]}"
}

# Another library for tokens, in another language.
provide_jose() {
    npm_tools jose "$JOSE_VERSION"
    export LATCHKEY_TEST_JOSE=$NODE_TOOLS
}

# The official library of webhooks, in another language.
provide_standardwebhooks() {
    npm_tools standardwebhooks "$STANDARDWEBHOOKS_JS_VERSION"
    export LATCHKEY_TEST_STANDARDWEBHOOKS=$NODE_TOOLS
}

prove_redocly() {
    need_npm
    npx --yes "@redocly/cli@$REDOCLY_VERSION" lint openapi/openapi.json
}

# A platform beside the tests' databases, in the same private servers.
start_proof_platform() {
    build_platform release
    stop_services
    start_platform
}

# Swagger UI in a real browser: signs in, authorizes and calls.
prove_browser() {
    local chromium
    npm_tools playwright-core "$PLAYWRIGHT_VERSION"
    chromium=$(find_chromium)
    if [ -z "$chromium" ]; then
        need_tool chromium chromium
        chromium=$(find_chromium)
    fi
    PLAYWRIGHT_CORE=$NODE_TOOLS/node_modules/playwright-core/index.js CHROMIUM=$chromium \
        node api/tests/browser/swagger-ui.mjs "$STATE/run.json" "$ROOT/.dev/swagger-ui.png"
}

find_chromium() {
    command -v chromium || command -v chromium-browser || command -v google-chrome || true
}

# Property tests over the published specification: a fifth of the time without credentials, then four
# rounds as the administrator, each with a fresh sign-in, since what is tested may end the session.
prove_schemathesis() {
    local round=$((SCHEMATHESIS_SECONDS / 5)) base token
    base=$(run_json_base_url)
    python_tool schemathesis "$SCHEMATHESIS_VERSION"
    say "Without credentials, for $round s"
    fuzz "$base" "$round"
    for _ in 1 2 3 4; do
        token=$(administrator_token "$base")
        say "As the administrator, for $round s"
        # The end of its own session, and a policy that asks it for a second factor, would only turn the rest into refusals.
        fuzz "$base" "$round" --header "Authorization: Bearer $token" \
            --exclude-path-regex '^/v1/(auth/logout|sessions/|tenant/settings)'
    done
    token=$(administrator_token "$base")
    say "As the administrator, the settings, for $round s"
    fuzz "$base" "$round" --header "Authorization: Bearer $token" --include-path-regex '^/v1/tenant/settings'
    curl -fsS -o /dev/null "$base/health/ready" || fail "the API is not ready any more"
}

# fuzz BASE_URL SECONDS [OPTION...]: all but the import, whose lines of JSON the tool cannot write.
fuzz() {
    local base=$1 seconds=$2
    shift 2
    (
        cd "$STATE" || exit # where it leaves its example database
        "$PYTHON_BIN/st" run "$ROOT/openapi/openapi.json" --url "$base" --max-time "$seconds" \
            --exclude-operation-id importUsers \
            --header 'X-Tenant-ID: platform' --workers 1 --suppress-health-check all --request-timeout 20 \
            --checks not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance \
            "$@"
    )
}

administrator_token() {
    local answer
    answer=$(curl -sS "$1/v1/auth/login" -H 'X-Tenant-ID: platform' -H 'Content-Type: application/json' \
        -d "{\"email\":\"$ADMIN_EMAIL\",\"password\":\"$(secret admin_password)\"}")
    case $answer in
        *'"access_token"'*) printf '%s' "$answer" | sed 's/.*"access_token": *"\([^"]*\)".*/\1/' ;;
        *) fail "the administrator could not sign in: $answer" "An earlier round changed the account." ;;
    esac
}

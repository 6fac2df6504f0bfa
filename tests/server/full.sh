#!/usr/bin/env bash
# The server's tests at their full length, about half an hour: what ./check runs in short.
#   tests/server/full.sh [BUILD]      (build/release)
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build/release}
failed=()

part() {
    local name=$1
    shift
    echo "== $name: $*"
    "$@" || failed+=("$name")
}

part "every case, 100 kills" python3 tests/server/run.py "$build/swan" --kills 100
part "1,000 requests of 64 clients" python3 tests/server/load.py "$build/swan"
part "OpenAPI" python3 tests/server/openapi.py "$build/swan" --seconds 300
part "openai SDK" python3 tests/server/sdk.py "$build/swan"
part "damaged requests, 10 minutes" python3 tests/server/run.py "$build/swan" --noise 600 noise
part "HTTP and JSON in process, 10 minutes" "$build/tests/fuzz/fuzz_http_request" tests/fuzz/corpus/http_request 600 2
[ ${#failed[@]} = 0 ] || { printf 'failed: %s\n' "${failed[@]}"; exit 1; }

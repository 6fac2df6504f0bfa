#!/usr/bin/env bash
# tests/checkkernel/sanitize.sh [PROGRAM [TOOL...]]: every row for GPUs on small shapes under compute-sanitizer's memcheck,
#   racecheck and synccheck, or the tools named. PROGRAM: checkkernel of a CUDA build (build/cuda/tests/checkkernel).
#   CASES=N of each row (10), SECONDS_EACH=N a tool (600), LOGS=DIR (build/sanitize).
# A tool that finds something is a failure; what it says is in its log, beside the name of the row.
set -euo pipefail
cd "$(dirname "$0")/../.."
program=${1:-build/cuda/tests/checkkernel}
shift || true
[ $# -gt 0 ] || set -- memcheck racecheck synccheck
logs=${LOGS:-build/sanitize}
failed=0

[ -x "$program" ] || {
    echo "sanitize: $program is missing: build with -DSWAN_CUDA=ON" >&2
    exit 2
}
sanitizer=$(PATH=$PATH:/usr/local/cuda/bin command -v compute-sanitizer) || {
    echo "skip  compute-sanitizer is missing (it comes with the CUDA toolkit)"
    exit 0
}
mkdir -p "$logs"
for tool in "$@"; do
    log=$logs/$tool.log
    at=$SECONDS
    rc=0
    timeout "${SECONDS_EACH:-600}" "$sanitizer" --tool "$tool" --error-exitcode 9 --print-limit 20 \
        "$program" --gpu --here --cases "${CASES:-10}" >"$log" 2>&1 || rc=$?
    rows=$(grep -c '^ok ' "$log" || true)
    if [ "$rc" = 0 ] && [ "$rows" -gt 0 ] && grep -q 'SUMMARY: 0' "$log"; then
        echo "ok    $tool: $rows rows ($((SECONDS - at)) s)"
    else
        failed=$((failed + 1))
        echo "FAIL  $tool: exit code $rc after $rows rows ($((SECONDS - at)) s); $log:"
        grep -E '^(FAIL|========= (Error|ERROR|RACECHECK|Invalid|Program|Barrier|Potential|Race))' "$log" | head -n 20 | sed 's/^/      /'
    fi
done
[ $failed = 0 ]

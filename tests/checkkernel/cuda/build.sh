#!/bin/sh
# Builds check_cuda with nvcc alone: build.sh [OUT] [ARCH…]; OUT build/cuda/check_cuda, ARCH 90a.
set -e
cd "$(dirname "$0")/../../.."
out=${1:-build/cuda/check_cuda}
[ $# -gt 0 ] && shift
dir=$(dirname "$out")/obj
mkdir -p "$dir"
gen=
for a in ${@:-90a}; do gen="$gen -gencode=arch=compute_$a,code=sm_$a"; done
NVCC=${NVCC:-nvcc}
export NVCC gen dir
ls src/kernel/cuda/*/*.cu tests/checkkernel/cuda/*.cu |
    xargs -P "${JOBS:-2}" -I{} sh -c 'o=$dir/$(echo {} | tr / _).o; [ "$o" -nt {} ] && [ -z "$(find src/kernel tests/checkkernel/cuda src/tensor -newer "$o" -name "*.*h")" ] ||
        "$NVCC" -std=c++17 -O3 -Isrc $gen -c {} -o "$o" || exit 255'
# shellcheck disable=SC2086
"$NVCC" $gen "$dir"/*.o -o "$out" -ldl

#!/bin/sh
# Builds check_cuda with nvcc alone: build.sh [OUT] [ARCH...]; OUT build/cuda/check_cuda, ARCH 90a.
# JOBS=n: n compilers at once.
set -e
cd "$(dirname "$0")/../../.."
out=${1:-build/cuda/check_cuda}
[ $# -gt 0 ] && shift
dir=$out.obj
mkdir -p "$dir"
gen=
for arch in ${@:-90a}; do gen="$gen -gencode=arch=compute_$arch,code=sm_$arch"; done
NVCC=${NVCC:-nvcc}
export NVCC gen dir
# shellcheck disable=SC2016
printf '%s\n' src/kernel/cuda/*/*.cu tests/checkkernel/cuda/*.cu |
    xargs -P "${JOBS:-2}" -I{} sh -c '$NVCC -std=c++17 -O3 -Isrc $gen -c {} -o "$dir/$(echo {} | tr / _).o" || exit 255'
# shellcheck disable=SC2086
$NVCC $gen "$dir"/*.o -o "$out" -ldl

#!/usr/bin/env bash
# Compiles the CUDA rows for every architecture, checkkernel and check_cuda, which needs nvcc but no GPU, and prints one line a
# kernel: registers and spilled bytes by architecture. Fails when a fast row spills more than is recorded below.
#
#     tools/check_cuda_compile.sh [BUILD_DIRECTORY]      default: build/check-cuda
set -euo pipefail
cd "$(dirname "$0")/.."
dir=${1:-build/check-cuda}

# kernel, architecture, bytes of spill stores that are known (dense with 64 keys and block-sparse with 32 rows a warp are not picked on sm_120)
allowed="
vsa_coarse_mma<20> sm_90 4
sparse_bf16_mma<2> sm_120 4
dense_bf16_mma<128,64,false> sm_120 16
dense_bf16_mma<128,64,true> sm_120 32
"

command -v nvcc >/dev/null 2>&1 || {
    echo "skipped: no nvcc"
    exit 0
}
mkdir -p "$dir"
cmake -S . -B "$dir" -G Ninja -DCMAKE_BUILD_TYPE=Release -DSWAN_CORE_ONLY=ON -DSWAN_CUDA=ON -DCMAKE_CUDA_FLAGS="-Xptxas -v" \
    >"$dir/configure.log" 2>&1 || { cat "$dir/configure.log" && exit 1; }
cmake --build "$dir" --clean-first --parallel "$(nproc)" >"$dir/build.log" 2>&1 || { tail -n 60 "$dir/build.log" && exit 1; }

# ptxas names a function, then its stack and spills, then its registers.
c++filt <"$dir/build.log" | awk '
    /Compiling entry function/ {
        kernel = arch = $0
        sub(/.*entry function ./, "", kernel); sub(/. for .sm_.*/, "", kernel)
        sub(/.* for ./, "", arch); sub(/.$/, "", arch)
        gsub(/\(anonymous namespace\)::|void /, "", kernel); sub(/\(.*/, "", kernel); gsub(/ /, "", kernel)
    }
    /bytes stack frame/ { stack = $1; spill = $5 }
    /Used [0-9]+ registers/ {
        for (i = 1; i < NF; i++) if ($i == "Used") registers = $(i + 1)
        print kernel, arch, registers, spill, stack
    }' | sort -u >"$dir/kernels.txt"
echo "$allowed" | awk '
    FILENAME == "-" { if (NF) allowed[$1 " " $2] = $3; next }
    {
        arch = substr($2, 4)
        if (!($1 in registers)) order[++count] = $1
        registers[$1] = registers[$1] sprintf(" %s:%d", arch, $3)
        if ($4) spills[$1] = spills[$1] sprintf(" %s:%d", arch, $4)
        fast = $1 !~ /_naive/ && $1 ~ /_vec|_mma|_bf16|_f16/
        if (fast && $4 > allowed[$1 " " $2]) { print "FAIL: " $1 " spills on " $2 " more than " allowed[$1 " " $2] + 0; bad = 1 }
    }
    END {
        for (i = 1; i <= count; i++)
            printf "%-42s registers%s%s\n", order[i], registers[order[i]],
                   order[i] in spills ? ", bytes spilled" spills[order[i]] : ""
        if (count < 40) { print "FAIL: ptxas reported on " count " kernels only"; bad = 1 }
        exit bad
    }' - "$dir/kernels.txt"
"$dir/tests/checkkernel" --list >"$dir/list.txt"
echo "$(wc -l <"$dir/kernels.txt") kernels and architectures; checkkernel skips $(grep -c "no CUDA device\|another architecture" "$dir/list.txt") rows here"

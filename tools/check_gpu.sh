# What ./check --gpu and ./check --gpu-sanitize do; sourced by ./check, whose step and tests it uses.

# A rented GPU often comes with CUDA and nothing else, and sometimes without a network. build/portable/deps, made by
# tools/portable/build.sh there or elsewhere, then stands in for the libraries; the server and downloads are left out.
gpu=cuda gpu_needs="$build_needs$check_needs"
if [ -f build/portable/deps/lib/pkgconfig/libavcodec.pc ] && [ -n "$(missing "$build_needs")" ]; then
    gpu=cuda-bare
    gpu_needs="
command c++ build-essential
command cmake cmake
command ninja ninja-build
command pkg-config pkg-config
command python3 python3
module cmocka libcmocka-dev
"
fi

gpu_build() {
    if ! gpu_present; then
        echo "check: wanted a GPU (nvidia-smi -L) and nvcc, found none" >&2
        exit 2
    fi
    nvidia-smi -L
    configure $gpu -DBUILD_TESTING=ON -DSWAN_CUDA_ARCHITECTURES=native
    step "build $gpu" build $gpu "$@"
}

# a_video NAME FLAGS...: made on the GPU, whole and playable.
a_video() {
    local out=build/check-gpu-$1.mp4
    shift
    build/$gpu/swan generate "a red ball" -m models/tinyworld --device cuda --seed 3 -o "$out" "$@" && build/$gpu/swan inspect "$out" &&
        { ! have command ffprobe || ffprobe -v error -count_frames -show_entries stream=nb_read_frames -of csv=p=0 "$out"; } && rm "$out"
}

# Every kernel against fp64, small and on the models' shapes; every stage against the exact path on the CPU; graphs, seeds,
# cancelling, too much memory, a fault; videos. A kernel, a stage or a bit that is wrong fails.
gpu_checks() {
    gpu_build swan check_cuda unit_device unit_segments unit_kernels unit_session gpu_engine gpu_fault
    step "every kernel of the GPU" build/$gpu/swan verify --device cuda
    step "fast kernels on the models' shapes" build/$gpu/tests/check_cuda full
    tests $gpu -R '^(unit_(device|segments|kernels|session)|gpu_.*)$'
    step "tinyworld's video on the GPU" a_video tinyworld
    step "tinyworld's video, exact" a_video exact --exact
    step "a 1.3B model measured" build/$gpu/swan bench -m fastwan2.1-1.3b --weights random --device cuda --size 832x480 --frames 17 --runs 2
    step "peak memory as planned" gpu_memory
}

# The process's peak on the device within 5 % of the plan, at a size where our own bytes weigh.
gpu_memory() {
    build/$gpu/swan bench -m wan2.1-1.3b --weights random --device cuda --size 832x480 --frames 81 --steps 1 --runs 2 --json |
        python3 -c '
import json, sys
r = json.load(sys.stdin)
ratio = r["device_planned_bytes"] / r["device_peak_bytes"]
print("planned", r["device_planned_bytes"], "peak", r["device_peak_bytes"], f"{100 * (ratio - 1):+.2f} %")
sys.exit(abs(ratio - 1) > 0.05)'
}

# sanitized TOOL COMMAND...: fails when the tool reports anything.
sanitized() {
    local tool=$1 sanitizer
    shift
    sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
    "$sanitizer" --tool "$tool" --error-exitcode 9 "$@"
}

gpu_sanitize() {
    gpu_build swan check_cuda checkkernel
    local tool family
    for tool in memcheck synccheck; do
        step "$tool, fast kernels" sanitized $tool build/$gpu/tests/check_cuda quick wait=120
    done
    for family in vsa norm conv linear attention; do # minutes, all together: one line each
        step "racecheck, $family" sanitized racecheck build/$gpu/tests/check_cuda quick $family wait=120
    done
    # naive kernels share no memory between threads: memcheck sees what there is
    step "memcheck, every kernel" sanitized memcheck build/$gpu/tests/checkkernel --gpu --cases 12 --here
    step "memcheck, a whole video" sanitized memcheck build/$gpu/swan generate "a b c" -m fasttiny --weights random --size 64x48 --frames 5 --steps 2 \
        --device cuda --graphs off -o build/check-gpu-memcheck.mp4
    rm -f build/check-gpu-memcheck.mp4
}

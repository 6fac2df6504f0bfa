#!/usr/bin/env bash
# tests/portable/run.sh [PROGRAM]: the portable program (default build/portable/dist/bin/swan; build it with
#   tools/portable/build.sh) is small, needs only glibc, and makes videos in a root directory that holds nothing else.
# tests/portable/run.sh --encode [PRESET...]: how fast, how large and how good its videos are (81 frames of 832x480).
# Needs ffprobe or ffmpeg outside, and root or user namespaces for the bare root directory.
set -euo pipefail
cd "$(dirname "$0")/../.."

portable=build/portable
max_bytes=10000000
least_psnr=40 # dB, luma
checks=0
chroot=$(PATH=$PATH:/usr/sbin:/sbin command -v chroot)

die() {
    printf 'FAIL  %s\n' "$*" >&2
    exit 1
}
ok() {
    checks=$((checks + 1))
    printf 'ok    %s\n' "$*"
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# ---- the file ----------------------------------------------------------------------------------------------------------

# older A B: version A comes before B.
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

check_file() {
    local bytes needed foreign glibc here
    bytes=$(stat -c %s "$program")
    [ "$bytes" -le $max_bytes ] || die "wanted at most $max_bytes bytes, found $bytes"
    ok "$bytes bytes"

    needed=$(readelf -d "$program" | sed -nE 's/.*\(NEEDED\).*\[(.*)\]/\1/p')
    foreign=$(grep -vE '^(lib(c|m|pthread|dl|rt)\.so\.[0-9]+|ld-linux-x86-64\.so\.2)$' <<<"$needed" || true)
    [ -z "$foreign" ] || die "wanted libraries of glibc alone, found: $(xargs <<<"$foreign")"
    ! readelf -d "$program" | grep -qE 'RPATH|RUNPATH' || die "wanted no library path in the program"
    ok "needs $(xargs <<<"$needed")"

    # docs/portable.md promises 2.35 for a program built on glibc 2.36 or older
    glibc=$(readelf -V "$program" | grep -oE 'GLIBC_[0-9.]+' | sed 's/GLIBC_//' | sort -uV | tail -n 1)
    here=$(getconf GNU_LIBC_VERSION | awk '{print $2}')
    if older "$here" 2.37 && older 2.35 "$glibc"; then die "wanted symbols of glibc 2.35 at most, found $glibc"; fi
    ok "runs on glibc $glibc and newer"

    ! grep -qaF "$PWD" "$program" || die "the program names the folder it was built in: $PWD"
    ok "names no folder of the building machine"
}

# ---- a bare machine ----------------------------------------------------------------------------------------------------

# The program's own idea of "/": the loader, glibc's libraries, models; no /proc, no /dev, no shell.
make_root() {
    local library
    mkdir -p "$work/root/out"
    cp "$program" "$work/root/swan"
    ldd "$program" | grep -oE '/[^ ]+' | sort -u | while read -r library; do
        install -D "$library" "$work/root$library"
    done
    cp -r tests/parity/data/wan-tiny tests/parity/data/taehv-tiny.safetensors "$work/root/"
    if [ -d models/tinyworld ]; then cp -r models/tinyworld "$work/root/"; fi
}

in_root() {
    if [ "$(id -u)" = 0 ]; then
        env -i "$chroot" "$work/root" "$@"
    else
        env -i "$(command -v unshare)" --map-root-user "$chroot" "$work/root" "$@"
    fi
}

# check_video FILE WIDTH HEIGHT FRAMES: every frame decodes, and it is what browsers play.
check_video() {
    local found
    found=$(ffprobe -v error -count_frames -select_streams v -of csv=p=0 \
        -show_entries stream=codec_name,width,height,pix_fmt,nb_read_frames "$1")
    [ "$found" = "h264,$2,$3,yuv420p,$4" ] || die "wanted h264,$2,$3,yuv420p,$4, found $found"
}

# generate NAME WIDTH HEIGHT FRAMES options...: a video, its recipe read back, the same bytes twice.
generate() {
    local name=$1 width=$2 height=$3 frames=$4 log=$work/log run
    shift 4
    for run in 1 2; do
        in_root /swan generate "a small red cube, 第一" --size "${width}x$height" --frames "$frames" --seed 3 -o "/out/$name$run.mp4" "$@" \
            >"$log" 2>&1 || { cat "$log" >&2; die "$name: generate failed"; }
    done
    check_video "$work/root/out/${name}1.mp4" "$width" "$height" "$frames"
    cmp "$work/root/out/${name}1.mp4" "$work/root/out/${name}2.mp4" || die "$name: two runs differ"
    in_root /swan inspect "/out/${name}1.mp4" | grep -q '"seed": *3[,}]' || die "$name: the recipe is not in the video"
    ok "$name: $frames frames of ${width}x$height, $(stat -c %s "$work/root/out/${name}1.mp4") bytes, in a bare root directory"
}

check_generate() {
    make_root
    in_root /swan --version >/dev/null || die "the program does not start in a bare root directory"
    generate wan-tiny 64 48 9 -m /wan-tiny --taehv /taehv-tiny.safetensors --steps 2
    if [ -d "$work/root/tinyworld" ]; then generate tinyworld 224 160 33 -m /tinyworld --steps 4; fi
}

# A program with CUDA starts where there is no driver, runs on the CPU (above), and says what is missing when a GPU is asked for.
check_driverless() {
    local log=$work/log
    readelf -SW "$program" | grep -q nv_fatbin || return 0
    [ "$(in_root /swan --list-devices | wc -l)" = 1 ] || die "without a driver, wanted the CPU alone in the list of devices"
    if in_root /swan generate "a ball" -m /wan-tiny --device cuda --size 64x48 --frames 9 -o /out/cuda.mp4 >"$log" 2>&1; then
        die "without a driver, --device cuda must fail"
    fi
    grep -q "no NVIDIA driver" "$log" || { cat "$log" >&2; die "--device cuda does not say that there is no driver"; }
    ok "with CUDA kernels ($(size -A "$program" | awk '/nv_fatbin/ {print $2}') bytes), without a driver"
}

# ---- encoding ----------------------------------------------------------------------------------------------------------

measure_encoding() {
    local clip preset psnr ours libraries low=""
    [ -f $portable/libswan_static.a ] || die "$portable/libswan_static.a is missing: run tools/portable/build.sh"
    command -v ffmpeg >/dev/null 2>&1 || die "ffmpeg is missing"
    libraries=$(PKG_CONFIG_LIBDIR=$portable/deps/lib/pkgconfig pkg-config --static --libs libavformat libavcodec libavutil jansson)
    cc -std=c11 -O2 -D_POSIX_C_SOURCE=200809L -Isrc -Iinclude -c tests/portable/encode_clip.c -o "$work/encode_clip.o"
    # shellcheck disable=SC2086
    cc "$work/encode_clip.o" $portable/libswan_static.a $libraries -lm -lpthread -o "$work/encode_clip"
    for preset in "$@"; do
        for clip in world pan grain noise; do
            "$work/encode_clip" "$clip" "$work/clip.mp4" "$work/clip.yuv" "$preset" >"$work/line"
            psnr=$(ffmpeg -v info -i "$work/clip.mp4" -f rawvideo -pix_fmt yuv420p -video_size 832x480 -framerate 16 -i "$work/clip.yuv" \
                -lavfi psnr -f null - 2>&1 | sed -nE 's/.*PSNR y:([0-9.]+) .*/\1/p')
            [ -n "$psnr" ] || die "$clip $preset: no PSNR"
            cat "$work/line"
            # what swan bench reports is measured like this
            ours=$(sed -nE 's/.*Y-PSNR ([0-9.]+) dB.*/\1/p' "$work/line")
            awk "BEGIN {exit !($ours - $psnr < 0.002 && $psnr - $ours < 0.002)}" || die "$clip $preset: wanted ffmpeg's Y-PSNR, $psnr dB, found $ours"
            # grain is noise: it shows the bit rate at its worst
            if [ "$clip" != grain ] && awk "BEGIN {exit !($psnr < $least_psnr)}"; then low="$low $clip/$preset"; fi
        done
    done
    [ -z "$low" ] || die "Y-PSNR below $least_psnr dB:$low"
}

case ${1-} in
--help | -h)
    sed -n '2,5s/^# //p' "$0"
    exit 0
    ;;
--encode)
    shift
    [ $# -gt 0 ] || set -- veryfast
    measure_encoding "$@"
    exit 0
    ;;
esac
program=${1:-$portable/dist/bin/swan}
[ -x "$program" ] || die "$program is missing: run tools/portable/build.sh"
command -v ffprobe >/dev/null 2>&1 || die "ffprobe is missing"
check_file
check_generate
check_driverless
echo "$checks checks passed"

#!/usr/bin/env bash
# tools/portable/build.sh [options]: builds build/portable/dist/bin/swan, one program that needs only glibc (docs/portable.md).
#   --sources DIR   take the source packages (.dsc files and what they name) from DIR and download nothing
#   --download      download the source packages to build/portable/sources and stop
#   --jobs N        compile N files at a time (default: all processors)
#   -DNAME=VALUE    a CMake option of Swan's own part, such as -DSWAN_CUDA=ON
# The source packages are those of the distribution that this machine runs: apt's configured sources are read, not changed.
set -euo pipefail
cd "$(dirname "$0")/../.."

out=$PWD/build/portable
deps=$out/deps
sources=$out/sources
download=true only_download=false jobs=$(nproc) options=()

# source package, least upstream version. nasm is left out when the machine has one that is new enough.
packages="
jansson 2.10
x264 0.155
ffmpeg 4.4
sentencepiece 0.1.95
"
least_nasm=2.13
# Everything that only the linker sees is dropped again by --gc-sections; no path of the building machine stays behind.
flags="-O2 -g0 -fPIC -ffunction-sections -fdata-sections -ffile-prefix-map=$out=."

say() { printf '%s\n' "$*"; }
die() {
    printf 'portable: %s\n' "$*" >&2
    exit 1
}

# logged NAME COMMAND...: quiet, and the end of the log when it fails.
logged() {
    local log=$out/logs/$1.log
    shift
    "$@" >>"$log" 2>&1 || {
        tail -n 40 "$log" >&2
        die "failed; the whole log: $log"
    }
}

# ---- source packages ---------------------------------------------------------------------------------------------------

apt_dirs() {
    local apt=$out/apt
    mkdir -p "$apt/parts" "$apt/lists/partial" "$apt/cache/archives/partial"
    apt_options=(-qq -o "Dir::Etc::sourcelist=/dev/null" -o "Dir::Etc::sourceparts=$apt/parts" -o "Dir::State::lists=$apt/lists"
        -o "Dir::Cache=$apt/cache" -o "APT::Sandbox::User=$(id -un)")
}

# The configured sources once more, as sources of source packages, in a folder of our own.
derive_sources() {
    local file parts=$out/apt/parts list etc=/etc/apt
    rm -f "$parts"/*
    for file in "$etc"/sources.list.d/*.sources; do
        [ -f "$file" ] && sed -E 's/^Types:.*/Types: deb-src/' "$file" >"$parts/$(basename "$file")"
    done
    list=$(cat "$etc"/sources.list "$etc"/sources.list.d/*.list 2>/dev/null | sed -nE 's/^[[:space:]]*deb(-src)?[[:space:]]/deb-src /p' | sort -u) || true
    if [ -n "$list" ]; then printf '%s\n' "$list" >"$parts/lines.list"; fi
    [ -n "$(ls "$parts")" ] || die "apt has no sources configured; give the source packages with --sources DIR"
}

# The newest .dsc of a package in the folder of sources, or nothing.
dsc_of() { find "$sources" -maxdepth 1 -name "$1_*.dsc" | sort -V | tail -n 1; }

fetch() {
    local name missing=()
    for name in "$@"; do
        [ -n "$(dsc_of "$name")" ] || missing+=("$name")
    done
    [ ${#missing[@]} != 0 ] || return 0
    $download || die "$sources has no .dsc of: ${missing[*]}"
    command -v apt-get >/dev/null 2>&1 || die "there is no apt-get here; give the source packages with --sources DIR"
    say "Downloading source packages: ${missing[*]}"
    apt_dirs
    derive_sources
    # a third party's source may have no source packages: what matters is whether ours are found
    apt-get "${apt_options[@]}" update >>"$out/logs/apt.log" 2>&1 || true
    (cd "$sources" && logged apt apt-get "${apt_options[@]}" source --download-only "${missing[@]}")
}

field() { sed -nE "s/^$2: //p" "$1" | head -n 1; }

# "2:0.164.3095+gitbaee400-3" -> "0.164.3095+gitbaee400"
upstream() { sed -E 's/^[0-9]+://; s/-[^-]*$//' <<<"$1"; }

check_version() {
    local name=$1 least=$2 version
    version=$(upstream "$(field "$(dsc_of "$name")" Version)")
    dpkg --compare-versions "$version" ge "$least" || die "$name: wanted version $least or newer, found $version"
}

# unpack NAME: the source tree in build/portable/src/NAME, with the distribution's patches; checksums are those in the .dsc.
unpack() {
    rm -rf "$out/src/$1"
    mkdir -p "$out/src"
    logged "$1" dpkg-source --no-check -x "$(dsc_of "$1")" "$out/src/$1"
    [ -d "$out/src/$1" ] || die "$1 was not unpacked"
}

# ---- libraries ---------------------------------------------------------------------------------------------------------

build_nasm() {
    (cd "$out/src/nasm" && logged nasm ./configure --prefix="$deps" && logged nasm make -j "$jobs" nasm)
    install -D "$out/src/nasm/nasm" "$deps/bin/nasm"
}

build_jansson() {
    logged jansson cmake -S "$out/src/jansson" -B "$out/src/jansson/build" -G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS="$flags" \
        -DCMAKE_INSTALL_PREFIX="$deps" -DCMAKE_INSTALL_LIBDIR=lib -DJANSSON_EXAMPLES=OFF -DJANSSON_BUILD_DOCS=OFF \
        -DJANSSON_WITHOUT_TESTS=ON -DCMAKE_POLICY_VERSION_MINIMUM=3.5
    logged jansson cmake --build "$out/src/jansson/build" -j "$jobs" --target install
}

build_x264() {
    cd "$out/src/x264"
    logged x264 ./configure --prefix="$deps" --enable-static --enable-pic --disable-cli --disable-opencl --bit-depth=8 \
        --chroma-format=420 --extra-cflags="$flags"
    logged x264 make -j "$jobs" install-lib-static
    cd "$OLDPWD"
}

# What src/media calls and no more: an encoder, the mp4 writer, the reader for the recipe of a video; mjpeg for still pictures; the
# decoder for swan bench, which compares a video with the frames it was made of.
build_ffmpeg() {
    cd "$out/src/ffmpeg"
    logged ffmpeg ./configure --prefix="$deps" --pkg-config-flags=--static --extra-cflags="$flags" --optflags=-O2 --enable-gpl --enable-version3 \
        --disable-everything --disable-autodetect --disable-programs --disable-doc --disable-debug --disable-network --disable-x86asm \
        --disable-avdevice --disable-avfilter --disable-swscale --disable-swresample --disable-postproc \
        --enable-pic --enable-libx264 --enable-encoder=libx264,mjpeg --enable-decoder=h264 --enable-muxer=mp4 --enable-demuxer=mov --enable-protocol=file
    logged ffmpeg make -j "$jobs"
    logged ffmpeg make install-libs install-headers
    cd "$OLDPWD"
}

# The packages of Debian and Ubuntu have the static library patched out: an archive is made of the shared one's objects.
build_sentencepiece() {
    local tree=$out/src/sentencepiece
    logged sentencepiece cmake -S "$tree" -B "$tree/build" -G Ninja -DCMAKE_BUILD_TYPE=None -DCMAKE_C_FLAGS="$flags" \
        -DCMAKE_CXX_FLAGS="$flags" -DSPM_ENABLE_SHARED=ON -DSPM_ENABLE_TCMALLOC=OFF -DSPM_USE_BUILTIN_PROTOBUF=ON \
        -DCMAKE_POLICY_VERSION_MINIMUM=3.5
    logged sentencepiece cmake --build "$tree/build" -j "$jobs" --target sentencepiece
    rm -f "$deps/lib/libsentencepiece.a"
    find "$tree/build/src/CMakeFiles/sentencepiece.dir" -name '*.o' | LC_ALL=C sort | xargs ar crs "$deps/lib/libsentencepiece.a"
    install -D -m 644 "$tree/src/sentencepiece_processor.h" "$deps/include/sentencepiece_processor.h"
    # its own .pc file wants the trainer too
    mkdir -p "$deps/lib/pkgconfig"
    cat >"$deps/lib/pkgconfig/sentencepiece.pc" <<END
Name: sentencepiece
Description: text tokenizer
Version: $(upstream "$(field "$(dsc_of sentencepiece)" Version)")
Libs: -L$deps/lib -lsentencepiece -lpthread
Cflags: -I$deps/include
END
}

# Builds a library unless this version of it was built by this version of the script.
library() {
    local name=$1 stamp=$deps/stamps/$1 wanted
    wanted="$(field "$(dsc_of "$name")" Version) $(sha256sum <tools/portable/build.sh)"
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || return 0
    say "Building $name $(field "$(dsc_of "$name")" Version)"
    : >"$out/logs/$name.log"
    unpack "$name"
    "build_$name"
    mkdir -p "$deps/stamps"
    printf '%s\n' "$wanted" >"$stamp"
}

# ---- the program -------------------------------------------------------------------------------------------------------

# Licences and the list of sources travel with the program: it holds parts under the GPL.
collect_licences() {
    local doc=$out/dist/share/doc/swan name file
    mkdir -p "$doc/licences"
    cp LICENSE NOTICE docs/portable.md "$out/src/ffmpeg/COPYING.GPLv3" "$doc/"
    : >"$doc/SOURCES"
    for name in "$@"; do
        file=$(dsc_of "$name")
        printf '%s %s\n' "$name" "$(field "$file" Version)" >>"$doc/SOURCES"
        sed -n '/^Checksums-Sha256:/,/^[^ ]/{/^ /p}' "$file" >>"$doc/SOURCES"
        cp "$out/src/$name/debian/copyright" "$doc/licences/$name"
    done
}

build_program() {
    local names=$1
    logged swan cmake --preset portable ${options[@]+"${options[@]}"}
    logged swan cmake --build build/portable -j "$jobs" --target swan
    rm -rf "$out/dist"
    mkdir -p "$out/dist/bin" "$out/dist/share/swan/models"
    strip -o "$out/dist/bin/swan" build/portable/swan
    cp -r models/. "$out/dist/share/swan/models"
    # shellcheck disable=SC2086
    collect_licences $names
    chmod -R u=rwX,go=rX "$out/dist"
}

while [ $# -gt 0 ]; do
    case $1 in
    --help | -h)
        sed -n '2,6s/^# //p' "$0"
        exit 0
        ;;
    --sources)
        [ -d "${2-}" ] || die "--sources ${2-}: there is no such folder"
        sources=$(cd "$2" && pwd) download=false
        shift
        ;;
    -D?*=*) options+=("$1") ;;
    --download) only_download=true ;;
    --jobs)
        [[ ${2-} =~ ^[1-9][0-9]*$ ]] || die "--jobs ${2-}: wanted a number from 1"
        jobs=$2
        shift
        ;;
    *) die "unknown option $1 (see: tools/portable/build.sh --help)" ;;
    esac
    shift
done

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || die "wanted Linux on x86-64, found $(uname -s) on $(uname -m)"
for command in cc c++ cmake ninja make pkg-config strip perl patch dpkg-source; do
    command -v $command >/dev/null 2>&1 || die "$command is missing (packages: build-essential cmake ninja-build pkg-config)"
done
mkdir -p "$out/logs" "$sources"
: >"$out/logs/apt.log"
names=$(awk '{print $1}' <<<"$packages" | xargs)
nasm_here=$(nasm -v 2>/dev/null | awk '{print $3}' || true)
tools=""
if [ -z "$nasm_here" ] || dpkg --compare-versions "$nasm_here" lt "$least_nasm"; then tools=nasm; fi
# shellcheck disable=SC2086
fetch $names $tools
while read -r name least; do
    [ -z "$name" ] || check_version "$name" "$least"
done <<<"$packages"
[ -z "$tools" ] || check_version nasm "$least_nasm"
! $only_download || {
    say "Source packages: $sources"
    exit 0
}

export PKG_CONFIG_LIBDIR=$deps/lib/pkgconfig PATH=$deps/bin:$PATH
for name in $tools $names; do library "$name"; done
: >"$out/logs/swan.log"
say "Building swan"
build_program "$names"
say "Built: build/portable/dist/bin/swan, $(stat -c %s "$out/dist/bin/swan") bytes; test it with tests/portable/run.sh"

# What ./demo and ./check share: installing what is missing, and building. Sourced by bash; the caller has set -eu.

# command, pkg-config module or Python module -> Debian package. One line each: "kind name package".
build_needs="
command cc build-essential
command c++ build-essential
command cmake cmake
command ninja ninja-build
command pkg-config pkg-config
module jansson libjansson-dev
module sentencepiece libsentencepiece-dev
module openblas libopenblas-dev
module libcurl libcurl4-openssl-dev
module libmicrohttpd libmicrohttpd-dev
module sqlite3 libsqlite3-dev
module libavformat libavformat-dev
module libavcodec libavcodec-dev
module libavutil libavutil-dev
"
check_needs="
command git git
command python3 python3
command ffprobe ffmpeg
module cmocka libcmocka-dev
python numpy python3-numpy
"
# For the Python packages that tests of the server use; without it these tests are skipped, and counted.
client_needs="
python venv python3-venv
"
# For the tests of the web page; they are skipped, and counted, where it cannot be had.
page_needs="
command chromium chromium
"

have() {
    case $1 in
    command) command -v "$2" >/dev/null 2>&1 ;;
    module) pkg-config --exists "$2" >/dev/null 2>&1 ;;
    # of the Python found first, or of the system's, where the package goes
    python) python3 -c "import $2" >/dev/null 2>&1 || /usr/bin/python3 -c "import $2" >/dev/null 2>&1 ;;
    python) python3 -c "import ensurepip, $2" >/dev/null 2>&1 ;;
    esac
}

# missing "needs": the packages that are not there, each once.
missing() {
    printf '%s\n' "$1" | while read -r kind name package; do
        [ -n "$kind" ] || continue
        have "$kind" "$name" || printf '%s\n' "$package"
    done | sort -u | tr '\n' ' '
}

# install_missing "needs": says what it will install, then does.
install_missing() {
    local packages
    packages=$(missing "$1")
    [ -n "$packages" ] || return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        echo "These are needed, by their Debian names: $packages" >&2
        echo "Only apt-get is known to this script: please install them, then run it again." >&2
        return 1
    fi
    local as_root=""
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null 2>&1 || { echo "Please install, as root: $packages" >&2; return 1; }
        as_root=sudo
    fi
    echo "Installing with apt-get: $packages"
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
    packages=$(missing "$1")
    [ -z "$packages" ] || { echo "Still missing after the installation: $packages" >&2; return 1; }
}

# install_clients: the packages of tests/server/clients.txt, as they are pinned there, in build/clients.
install_clients() {
    local list=tests/server/clients.txt there=build/clients
    cmp -s "$list" "$there/clients.txt" && return 0
    rm -rf "$there"
    if python3 -m venv "$there" && "$there/bin/pip" install --quiet --disable-pip-version-check -r "$list"; then
        cp "$list" "$there/clients.txt"
    else
        rm -rf "$there"
        return 1
    fi
}

# gpu_present: a GPU, and nvcc to compile for it.
gpu_present() {
    nvidia-smi -L 2>/dev/null | grep -q '^GPU' && { command -v nvcc >/dev/null 2>&1 || [ -x /usr/local/cuda/bin/nvcc ]; }
}

# configure PRESET [cmake options]: quiet unless it fails.
configure() {
    local preset=$1 log
    shift
    mkdir -p build
    log=build/$preset-configure.log
    cmake --preset "$preset" "$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}

# build PRESET [targets]
build() {
    local preset=$1
    shift
    cmake --build "build/$preset" --parallel "$(nproc)" ${1:+--target "$@"}
}

# What the user sessions, the soak and the benches need beside the program. Sourced after scripts/debian.sh, as root.

# The tests make namespaces and device files: become root if we are not.
become_root() {
    [ "$(id -u)" -ne 0 ] || return 0
    command -v sudo >/dev/null || fail 'this needs root: run it as root, or install sudo'
    exec sudo --preserve-env=PATH,HOME,CI,CARGO_HOME,RUSTUP_HOME,CARGO_TARGET_DIR,MIRROR,SESSIONS,SOAK,CENOTE_SOAK_CYCLES,CENOTE_SOAK_KILLS "$0"
}

# step COMMAND...: says what runs, and when it began.
step() {
    printf '\n== %s (%s)\n' "$*" "$(date -u +%H:%M:%S)"
    "$@"
}

# Installs what the tests need, and sets CARGO.
want_test_packages() {
    YES=1
    want_packages $build_packages $run_packages $(toolchain_packages) \
        acpica-tools passt iproute2 gpg zstd xz-utils patch cpio attr libcap2-bin jq openssl skopeo umoci mmdebstrap
    # The registry is a program for the tests here, not a service of this host.
    if [ -n "$(missing docker-registry)" ]; then
        policy=/usr/sbin/policy-rc.d
        if [ -e "$policy" ]; then policy=; else
            printf '#!/bin/sh\nexit 101\n' >"$policy"
            chmod 755 "$policy"
        fi
        want_packages docker-registry
        if [ -n "$policy" ]; then rm "$policy"; fi
        if [ -d /run/systemd/system ]; then systemctl --quiet disable docker-registry; fi
    fi
    find_toolchain
}

# Builds the program, and prepares, once, a guest kernel, QEMU, a Debian tree, an image of many layers and erofs-utils;
# exports where they are.
prepare_test_data() {
    target=${CARGO_TARGET_DIR:-$PWD/target}
    CENOTE_EROFS_UTILS=$target/tools/erofs-utils
    CENOTE_TEST_DATA=$target/test-data
    step scripts/fetch-erofs-utils "$CENOTE_EROFS_UTILS"
    step "$CARGO" build --release --locked --package cenote-cli --package cenote-tests --bins
    CENOTE_BIN=$(realpath "$cenote")
    export CENOTE_BIN CENOTE_TEST_DATA CENOTE_EROFS_UTILS
    step tests/prepare "$CENOTE_BIN" "$(dirname "$CENOTE_BIN")/cenote-test-tree"
}

# make_developer_system TAR: a Debian system with what developers use, packed, unless it is there.
make_developer_system() {
    [ -f "$1" ] || step mmdebstrap --quiet --variant=minbase \
        --include=git,postgresql,sqlite3,python3-pip,python3-venv,fio,make,gcc,libc6-dev,cargo,procps bookworm "$1"
}

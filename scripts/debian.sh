# What the other scripts need of a Debian host: its packages, and a Rust toolchain. Sourced by them, from the project's
# root.
#
# Nothing here changes the host's package sources or its release; only missing packages are installed.

fail() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# Refuses machines for which nothing is built yet.
check_machine() {
    [ "$(uname -s)/$(uname -m)" = Linux/x86_64 ] ||
        fail "this is $(uname -s) on $(uname -m): Cenote runs on Linux on x86_64 only so far"
}

# as_root COMMAND...: by sudo, unless we are root.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "$1 needs root: run this as root, or install sudo"
    fi
}

# missing PACKAGE...: prints those that are not installed.
missing() {
    for package in "$@"; do
        case $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) in
            installed) ;;
            *) echo "$package" ;;
        esac
    done
}

# want_packages PACKAGE...: installs the missing ones. Asks first, unless YES is set.
want_packages() {
    command -v dpkg-query >/dev/null ||
        fail "this is no Debian: install the counterparts of these packages by hand: $*"
    wanted=$(missing "$@" | tr '\n' ' ')
    [ -n "$wanted" ] || return 0
    echo "To be installed from this host's Debian packages: $wanted"
    if [ -z "${YES-}" ]; then
        [ -t 0 ] || fail 'nobody is there to ask: set YES=1 to agree'
        printf 'Go on? [Y/n] '
        read -r answer
        case $answer in [Nn]*) fail 'nothing was installed' ;; esac
    fi
    export DEBIAN_FRONTEND=noninteractive
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -qq update
    # shellcheck disable=SC2086  # a list of words
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 -qq \
        install --yes --no-install-recommends $wanted >/dev/null
}

# The oldest Rust that builds this project.
rust_version() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml
}

# recent PROGRAM: whether it is there and not too old.
recent() {
    version=$("$1" --version 2>/dev/null | cut -d ' ' -f 2) || return 1
    [ -n "$version" ] && printf '%s\n%s\n' "$(rust_version)" "$version" | sort --version-sort --check=quiet
}

# The packages from which a toolchain comes when PATH has none, or one that is too old.
toolchain_packages() {
    if recent cargo && recent rustc; then :; else echo cargo-web rustc-web; fi
}

# Sets CARGO (and, for Debian's, RUSTC), after the packages above are there.
find_toolchain() {
    CARGO=cargo
    if recent cargo && recent rustc; then return; fi
    CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc
    export RUSTC
    recent "$CARGO" && recent "$RUSTC" ||
        fail "Rust $(rust_version) is needed: Debian 12 has it in cargo-web and rustc-web (from its security updates)"
}

# What a build needs besides a toolchain: a C compiler for the C libraries that are linked in, and certificates for
# the crates' registry.
build_packages='gcc libc6-dev ca-certificates'
# What an ordinary run needs of the host, besides what Cenote unpacks beside it.
run_packages='busybox-static e2fsprogs debian-archive-keyring'

# Where the build puts the program; the target is named in .cargo/config.toml.
cenote=${CARGO_TARGET_DIR:-target}/x86_64-unknown-linux-gnu/release/cenote

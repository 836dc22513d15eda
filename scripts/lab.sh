# What `make lab` and `make test-kvm` share. Sourced after scripts/debian.sh, from the project's root.

# Makes the lab's own data folder in target/lab with a guest kernel, tools and the image busybox, once, and has cenote
# use it.
prepare_lab() {
    CENOTE_DATA=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}/lab/data")
    CENOTE_RUNTIME=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}/lab/run")
    export CENOTE_DATA CENOTE_RUNTIME
    mkdir -p "$CENOTE_DATA"
    for kind in kernel tools; do
        prepared=${CARGO_TARGET_DIR:-target}/test-data/${kind%s}s
        if [ -d "$CENOTE_DATA/${kind%s}s" ]; then continue; fi
        if [ -d "$prepared" ]; then cp -r "$prepared" "$CENOTE_DATA"; else "$cenote" $kind install; fi
    done
    "$cenote" image build-base busybox >/dev/null
}

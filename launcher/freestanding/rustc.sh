#!/bin/sh
# rustc, with metadata for the crates of this repository that do not depend on where it is.
#
# cargo makes them of a crate's absolute path where that is outside of the workspace, as it is for the launcher library and the
# core. They go into every symbol's name, and by those code is ordered: without this, the launcher differs by some hundred bytes
# from one directory to another.
rustc=$1
shift
case ${CARGO_MANIFEST_DIR-} in
"" | */registry/src/*) ;;
*)
    for arg; do
        shift
        case $arg in
        metadata=*) arg=metadata=$CARGO_PKG_NAME-$CARGO_PKG_VERSION-$CARGO_CRATE_NAME ;;
        esac
        set -- "$@" "$arg"
    done
    ;;
esac
exec "$rustc" "$@"

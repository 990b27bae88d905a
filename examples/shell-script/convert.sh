#!/bin/sh
# convert AMOUNT FROM TO: by the table beside this script.
set -eu

if [ $# -ne 3 ]; then
    echo "usage: convert AMOUNT FROM TO, as in: convert 5 'nautical miles' kilometres" >&2
    exit 2
fi
exec awk -F '\t' -v amount="$1" -v from="$2" -v to="$3" '
    { metres[$1] = $2 }
    END {
        for (i = 1; i <= 2; i++) {
            unit = i == 1 ? from : to
            if (!(unit in metres)) {
                print "convert: no such unit: " unit | "cat >&2"
                exit 1
            }
        }
        printf "%g %s = %g %s\n", amount, from, amount * metres[from] / metres[to], to
    }
' "$(dirname "$0")/data/lengths.tsv"

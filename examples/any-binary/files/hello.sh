#!/bin/sh
# Prints a greeting, then its arguments, one per line.
set -eu

language=${HELLO_LANG:-en}
words=$HELLO_WORDS/$language.txt
if [ ! -f "$words" ]; then
    echo "hello: no words for the language $language" >&2
    exit 2
fi
cat "$words"
for argument in "$@"; do
    printf '%s\n' "$argument"
done

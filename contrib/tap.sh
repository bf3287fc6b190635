#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How prove runs one test: *.bats by bats, everything else is a program. Nothing may run for ever. The output goes through a
# file: a process that a failing test leaves behind would hold a pipe open, and prove would wait for it.
export CMOCKA_MESSAGE_OUTPUT=TAP
limit=${TEST_TIMEOUT:-900}
case $1 in
*.bats) set -- bats --tap "$@" ;;
esac
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT
timeout -k 10 "$limit" "$@" >"$out" 2>&1 </dev/null
status=$?
cat "$out"
[ "$status" = 124 ] && echo "not ok 999999 - ends within $limit s"
exit "$status"

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shows the main job: a program that runs on one host, watched from a second, is moved back and forth to a third, and
# does not notice; the host it started on is switched off. Ends with 0 only if the output is, byte for byte, that of an
# undisturbed run.
set -u
cd "$(dirname "$0")/.." || exit 1
export PATH="${BUILD:-$PWD/build}/bin:$PATH"
lab=(godwit lab --prefix demo)
work=$(mktemp -d /tmp/godwit-demo.XXXXXX)
report=$work/reports
program=contrib/demo.py
deadline=$((SECONDS + 180))

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
fail() {
	echo "demo: FAILED: $*" >&2
	exit 1
}
# Whatever happens, nothing is left behind.
clean() {
	"${lab[@]}" down
	rm -rf "$work"
}
trap clean EXIT
trap 'exit 130' INT TERM

lines() { wc -l <"$work/output"; }
wait_for_lines() {
	while [ "$(lines)" -lt "$1" ]; do
		[ "$SECONDS" -lt "$deadline" ] || fail "no output any more"
		kill -0 "$front" 2>/dev/null || break
		sleep 0.05
	done
}
move() {
	[ "$(tail -n1 "$work/output" | cut -c1-3)" != sum ] || fail "the program ended before it was moved to $1"
	"${lab[@]}" exec h3 -- godwit migrate demo "$1" >>"$report" || fail "migration to $1"
	echo "   ... moved to $1"
}

[ "$(id -u)" = 0 ] || fail "hosts are made of namespaces: run it as root"
say "what the program prints if nobody disturbs it"
python3 $program >"$work/expected" || fail "python3"
tail -n 2 "$work/expected"

say "three hosts"
"${lab[@]}" up 3 || fail "lab"
"${lab[@]}" exec h3 -- godwit hosts

say "on h3: godwit run --host h1 --name demo -- python3 $program"
: >"$work/output"
"${lab[@]}" exec h3 -- godwit run --host h1 --name demo -- python3 $program </dev/null > >(tee -a "$work/output") &
front=$!
at=4
for host in h2 h1 h2 h1 h2; do
	wait_for_lines $at
	move $host
	at=$((at + 6))
done

say "switching h1 off"
"${lab[@]}" stop h1 || fail "stop h1"
"${lab[@]}" exec h3 -- godwit ps
wait_for_lines $((at + 6))
move h3
wait "$front"
status=$?
# tee may still be writing its last lines.
for _ in $(seq 100); do
	cmp -s "$work/output" "$work/expected" && break
	sleep 0.05
done

say "the migrations"
cat "$report"
say "the verdict"
[ "$status" = 0 ] || fail "the program ended with status $status"
cmp "$work/output" "$work/expected" || fail "its output is not that of an undisturbed run"
echo "demo: 6 moves, one host lost, and $(lines) lines, each the same as in an undisturbed run"

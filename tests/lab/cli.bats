#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The commands, in a lab of three hosts: each asked on a host for a job on another.

bats_require_minimum_version 1.5.0

setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	export PATH="${BUILD:-$PWD/build}/bin:$PATH"
	export P=cl$((BASHPID % 100000))
	timeout 60 godwit lab --prefix "$P" up 3
}

teardown_file() {
	timeout 60 godwit lab --prefix "$P" down
}

on() {
	local host=$1
	shift
	timeout 60 godwit lab --prefix "$P" exec "$host" -- "$@"
}

field() { python3 -c 'import json,sys; d=json.load(sys.stdin); d=d[0] if isinstance(d,list) else d; print(eval("d"+sys.argv[1]))' "$1"; }
job() { on h3 godwit ps --all --json | python3 -c 'import json,sys; print([j[sys.argv[2]] for j in json.load(sys.stdin) if j["job"]==sys.argv[1]][0])' "$1" "$2"; }

# Jobs are started as /usr/bin/python3: what comes first in PATH may be a script, which has children for a moment.

# Until a command succeeds; 20 seconds.
eventually() {
	for _ in $(seq 200); do
		"$@" && return 0
		sleep 0.1
	done
	return 1
}

@test "every command has help, and the table lists it" {
	for c in $(godwit help | sed -n 's/^  \([a-z]*\) .*/\1/p'); do
		godwit "$c" --help | grep -q -i usage
		[ -e "man/godwit-$c.1" ] || [ -e "man/godwit-$c.8" ]
	done
	run -2 godwit nonsense
	run -2 godwit wait
	run -2 godwit migrate one
}

@test "run ends as the command does" {
	run -0 on h1 godwit run --host h2 -- true
	run -3 on h1 godwit run --host h2 -- sh -c 'exit 3'
	run -127 on h1 godwit run --host h2 -- /nowhere
	run -126 on h1 godwit run --host h2 -- /
	run -143 on h1 godwit run --host h2 -- sh -c 'kill -TERM $$'
	run -125 on h1 godwit run --host nohost -- true
}

@test "run passes three streams through" {
	out=$(seq 50000 | on h1 godwit run --host h2 -- sh -c 'cat; echo problem >&2' 2>"$BATS_TEST_TMPDIR/err" | md5sum)
	[ "$out" = "$(seq 50000 | md5sum)" ]
	[ "$(cat "$BATS_TEST_TMPDIR/err")" = problem ]
}

@test "run gives a terminal when it has one" {
	run -5 timeout 60 script -qec "godwit lab --prefix $P exec h1 -- godwit run --host h2 -- sh -c 'stty size; test -t 0 && read -r x && echo got \$x; exit 5'" /dev/null < <(echo hello)
	[[ $output == *"got hello"* ]]
}

@test "a detached job: ps, logs, wait" {
	run -0 on h1 godwit run -d --name det --host h2 -- sh -c 'echo out; echo err >&2; exec sleep 1000'
	[ "$output" = det ]
	[ "$(job det host)" = h2 ]
	[ "$(job det state)" = running ]
	eventually eval '[ "$(on h3 godwit logs det 2>/dev/null)" = out ]'
	[ "$(on h3 godwit logs det 2>&1 >/dev/null)" = err ]
	run -125 on h1 godwit run -d --name det --host h3 -- true
	on h3 godwit kill -INT det
	run -130 on h1 godwit wait det
	[ "$(on h1 godwit wait --json det | field '["signal"]')" = 2 ]
	run -1 on h1 godwit wait nosuchjob
	run -1 on h1 godwit kill nosuchjob
}

@test "hosts" {
	[ "$(on h2 godwit hosts --json | python3 -c 'import json,sys; print(sorted((h["host"], h["state"]) for h in json.load(sys.stdin)))')" = \
		"[('h1', 'up'), ('h2', 'up'), ('h3', 'up')]" ]
}

@test "check and migrate, asked on a third host" {
	on h3 godwit run -d --name mover --host h1 -- /usr/bin/python3 -c 'import time
n = 0
while True: print(n, flush=True); n += 1; time.sleep(0.01)'
	eventually on h3 godwit check mover h2 2>/dev/null # while Python starts it may have files open that are in the way
	run -0 on h3 godwit migrate --json mover h2
	for key in job source destination strategy freeze_us total_us bytes pages stages; do
		echo "$output" | field "[\"$key\"]"
	done
	[ "$(echo "$output" | field '["source"]')-$(echo "$output" | field '["destination"]')" = h1-h2 ]
	[ "$(job mover host)" = h2 ]
	[ "$(job mover moves)" = 1 ]
	before=$(on h3 godwit logs mover | wc -l)
	eventually eval '[ "$(on h3 godwit logs mover | wc -l)" -gt $before ]'
	run -1 on h3 godwit migrate mover nohost
	on h3 godwit kill -KILL mover
	run -137 on h1 godwit wait mover
	[ "$(on h3 godwit logs mover | awk '$1 != NR - 1 { bad = 1 } END { print bad + 0 }')" = 0 ]
}

@test "check refuses in words, with status 3" {
	on h3 godwit run -d --name sock --host h1 -- /usr/bin/python3 -c 'import socket, time
s = socket.socket(); s.bind(("127.0.0.1", 0)); s.listen(); time.sleep(1000)'
	refused() { run on h3 godwit check --json sock h2; [ "$status" = 3 ] && [[ $output == *socket* ]]; }
	eventually refused
	[ "$(echo "$output" | field '["can_move"]')" = False ]
	run -3 on h3 godwit migrate sock h2
	[ "$(job sock host)-$(job sock state)" = h1-running ]
	on h3 godwit kill -KILL sock
}

@test "run stands in for a job that moves while it reads and writes" {
	mkfifo "$BATS_TEST_TMPDIR/in"
	on h3 godwit run --name echo --host h1 -- /usr/bin/python3 -u -c 'import sys
for line in sys.stdin: print("<" + line.strip() + ">")' <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/out" &
	front=$!
	exec 5>"$BATS_TEST_TMPDIR/in"
	eventually on h3 godwit check echo h2 2>/dev/null
	for i in $(seq 12); do
		echo "line $i" >&5
		on h2 godwit migrate -q echo "h$((i % 3 + 1))"
		echo "more $i" >&5
	done
	exec 5>&-
	wait "$front"
	for i in $(seq 12); do printf '<line %d>\n<more %d>\n' "$i" "$i"; done | cmp - "$BATS_TEST_TMPDIR/out"
}

@test "attach takes over; whoever was attached is told" {
	mkfifo "$BATS_TEST_TMPDIR/in"
	on h3 godwit run --name att --host h1 -- sh -c 'echo one; read -r x; echo "two $x"' <"$BATS_TEST_TMPDIR/in" >"$BATS_TEST_TMPDIR/first" 2>&1 &
	first=$!
	exec 5>"$BATS_TEST_TMPDIR/in"
	eventually grep -q one "$BATS_TEST_TMPDIR/first"
	out=$(echo go | on h2 godwit attach att)
	[ "$out" = "two go" ]
	status=0
	wait "$first" || status=$?
	[ "$status" = 125 ]
	exec 5>&-
}

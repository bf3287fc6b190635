#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# The lab itself: hosts are separate, and nothing of them stays.

bats_require_minimum_version 1.5.0

setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	export PATH="${BUILD:-$PWD/build}/bin:$PATH"
	export P=lt$((BASHPID % 100000))
}

setup() {
	L=(timeout 60 godwit lab --prefix "$P")
}

teardown() {
	"${L[@]}" down
}

cgroup2() { awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo; }

# What a lab of our prefix could leave behind.
leftovers() {
	find "$(cgroup2)" -maxdepth 1 -name "godwit-lab-$P*"
	find /run/godwit-lab -maxdepth 1 -name "$P*" 2>/dev/null
	# A zombie is only waiting for the machine's init to notice: its cgroup is shown as deleted.
	grep -l "godwit-lab-$P[^()]*\$" /proc/[0-9]*/cgroup 2>/dev/null
	grep "godwit-lab/$P" /proc/self/mountinfo
	ip -o link | grep -- "$P-"
	true
}

nothing_left() {
	left=$(leftovers)
	[ -z "$left" ] || { echo "left: $left" && false; }
}

@test "a host has namespaces, name, address and clocks of its own" {
	"${L[@]}" up 2
	for ns in net mnt pid uts ipc cgroup time; do
		one=$("${L[@]}" exec h1 -- readlink /proc/self/ns/$ns)
		two=$("${L[@]}" exec h2 -- readlink /proc/self/ns/$ns)
		[ "$one" != "$two" ]
		[ "$one" != "$(readlink /proc/self/ns/$ns)" ]
	done
	[ "$("${L[@]}" exec h2 -- hostname)" = h2 ]
	[ "$("${L[@]}" exec h1 -- cut -d. -f1 /proc/uptime)" -ge 2003 ]
	"${L[@]}" exec h1 -- sh -c 'test "$(cat /proc/self/cgroup | tail -n1)" = 0::/exec'
	"${L[@]}" exec h1 -- grep -c " - cgroup2 " /proc/self/mountinfo | grep -qx 1
}

@test "exec passes streams, arguments and exit status through" {
	"${L[@]}" up 1
	run "${L[@]}" exec h1 -- sh -c 'read x; echo "got $x $1"; exit 7' sh "two words" <<<"a line"
	[ "$status" = 7 ]
	[ "$output" = "got a line two words" ]
	run "${L[@]}" exec h1 -- sh -c 'kill -TERM $$'
	[ "$status" = 143 ]
	run -127 "${L[@]}" exec h1 -- /nowhere
	run -126 "${L[@]}" exec h1 -- /
	run "${L[@]}" exec h9 -- true
	[ "$status" = 125 ] || [ "$status" = 2 ]
}

@test "a signal to exec reaches the command" {
	"${L[@]}" up 1
	mkfifo "$BATS_TEST_TMPDIR/ready"
	"${L[@]}" exec h1 -- sh -c 'trap "exit 33" TERM; echo >'"$BATS_TEST_TMPDIR/ready"'; while :; do sleep 0.1; done' &
	pid=$!
	read -r _ <"$BATS_TEST_TMPDIR/ready"
	kill -TERM "$pid"
	status=0
	wait "$pid" || status=$?
	[ "$status" = 33 ]
}

@test "files are shared, unless the root is private" {
	"${L[@]}" up 1
	"${L[@]}" exec h1 -- touch "$BATS_TEST_TMPDIR/shared"
	[ -e "$BATS_TEST_TMPDIR/shared" ]
	"${L[@]}" down
	"${L[@]}" up 2 --private-root
	"${L[@]}" exec h1 -- touch "$BATS_TEST_TMPDIR/private"
	[ ! -e "$BATS_TEST_TMPDIR/private" ]
	run "${L[@]}" exec h2 -- test -e "$BATS_TEST_TMPDIR/private"
	[ "$status" = 1 ]
	"${L[@]}" exec h2 -- godwit --version
}

reach() { "${L[@]}" exec "$1" -- timeout 1 bash -c "echo >/dev/tcp/$2/9" 2>&1 | grep -q refused; }
address() { "${L[@]}" ls --json | python3 -c 'import json,sys; print([h["address"] for h in json.load(sys.stdin) if h["name"]==sys.argv[1]][0])' "$1"; }

@test "links and hosts go down and come back" {
	"${L[@]}" up 2
	two=$(address h2)
	reach h1 "$two"
	"${L[@]}" link h2 down
	! reach h1 "$two"
	"${L[@]}" link h2 up
	reach h1 "$two"
	for how in deaf mute; do
		"${L[@]}" link h2 $how
		run ! reach h1 "$two"
		"${L[@]}" link h2 up
		reach h1 "$two"
	done
	"${L[@]}" stop h2
	! reach h1 "$two"
	run "${L[@]}" exec h2 -- true
	[ "$status" = 125 ]
	"${L[@]}" start h2
	reach h1 "$two"
}

# Which of two hosts hear the other's datagrams.
hearing() {
	local listen='import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 7000)); s.settimeout(10); s.recv(9)'
	local from=$1 to=$2 address=$3 hears
	"${L[@]}" exec "$to" -- timeout 2 /usr/bin/python3 -c "$listen" 3>&- &
	hears=$!
	"${L[@]}" exec "$from" -- timeout 2 bash -c "while :; do echo hello >/dev/udp/$address/7000; sleep 0.1; done" 3>&- &
	wait $hears
}

@test "a deaf host still speaks, a mute one still hears" {
	"${L[@]}" up 2
	one=$(address h1) two=$(address h2)
	"${L[@]}" link h2 deaf
	hearing h2 h1 "$one"
	run ! hearing h1 h2 "$two"
	"${L[@]}" link h2 mute
	hearing h1 h2 "$two"
	run ! hearing h2 h1 "$one"
}

@test "when up returns, everybody answers everybody, and after a restart too" {
	"${L[@]}" up 6
	for h in h1 h6; do
		"${L[@]}" exec $h -- godwit hosts --json >"$BATS_TEST_TMPDIR/hosts"
		[ "$(grep -c '"state": "up"' "$BATS_TEST_TMPDIR/hosts")" = 6 ]
		"${L[@]}" restart $h
		"${L[@]}" exec $h -- godwit hosts --json >"$BATS_TEST_TMPDIR/hosts"
		[ "$(grep -c '"state": "up"' "$BATS_TEST_TMPDIR/hosts")" = 6 ]
	done
}

@test "labs stand side by side" {
	other=(timeout 60 godwit lab --prefix "x$P")
	"${L[@]}" up 2
	"${other[@]}" up 1
	run "${L[@]}" up 2
	[ "$status" = 1 ]
	"${other[@]}" down
	"${L[@]}" exec h2 -- true
}

@test "20 times up and down leave nothing" {
	for _ in $(seq 20); do
		"${L[@]}" up 2
		"${L[@]}" down
		nothing_left
	done
}

@test "up that is killed at any moment leaves nothing after down" {
	for i in $(seq 20); do
		godwit lab --prefix "$P" up 3 &
		pid=$!
		sleep 0.00$((i % 10))
		kill -KILL $pid 2>/dev/null || true
		wait $pid || true
		"${L[@]}" down
		nothing_left
	done
}

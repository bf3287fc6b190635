#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A job whose seccomp filter kills moves, if the filter says nothing about what its way home could need; else it is
# refused, in words, and goes on where it is.
. "$(dirname "$0")/lab.sh"

lab_begin 2
mkfifo "$work/in"

# start CALL: a job that is killed for that call.
start()
{
	on h1 godwit run --name "s$1" --host h1 -- "$BUILD/tests/victim/seccomp_kill" "$1" <"$work/in" >"$work/out" 2>&1 &
	run=$!
	exec 9>"$work/in"
	until_true 20 grep -q ready "$work/out"
	ok $? "a job is there that must not call $1"
}

# finish_job TEXT
finish_job()
{
	echo go >&9
	exec 9>&-
	wait $run
	tap_log=$work/out is $? 0 "$1"
}

start 110 # getppid
on h1 timeout 60 godwit migrate s110 h2 >"$work/migrate" 2>&1
tap_log=$work/migrate ok $? "it moves"
is "$(job_field h1 s110 .host)" h2 "it is there"
is "$(on h2 sh -c 'sed -n "s/^Seccomp:[^0-9]*//p" /proc/$(head -n 1 /sys/fs/cgroup/godwit/s110/job/cgroup.procs)/status')" 2 \
	"its filter is, too"
finish_job "it goes on there"

for call in 157:prctl 14:rt_sigprocmask; do
	nr=${call%:*}
	start "$nr"
	on h1 timeout 60 godwit migrate "s$nr" h2 >"$work/migrate" 2>&1
	tap_log=$work/migrate is $? 1 "a job that is killed for ${call#*:}() does not move"
	grep -q "would end it at ${call#*:}()" "$work/migrate"
	tap_log=$work/migrate ok $? "the reason is told"
	is "$(job_field h1 "s$nr" .host)" h1 "it is where it was"
	finish_job "it goes on there"
done
finish

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The source goes for good when the copy at the destination is complete and waits for its word. Only a person can know
# that: godwit resolve at the destination, either way.
. "$(dirname "$0")/faults.sh"

procd_stopped()
{
	[ -n "$(on h1 pgrep -x -r T procd)" ]
}

in_doubt_at_h2()
{
	[ "$(job_field h2 "$1" .state)" = "in doubt" ] && [ "$(copy_at h2 "$1")" = frozen ]
}

runs_at_h2()
{
	[ "$(copy_at h2 "$1")" = running ] && [ "$(job_field h2 "$1" .state)" = running ]
}

gone_from_h2()
{
	[ "$(copy_at h2 "$1")" = none ] && on h2 sh -c "test ! -e /run/godwit/jobs/$1" &&
		[ -z "$(job_field h2 "$1" .state)" ]
}

prints_more_than()
{
	[ "$(on h2 timeout 20 godwit logs "$1" 2>/dev/null | wc -l)" -gt "$2" ]
}

# Job $1 is complete at h2, and h1 is gone.
lose_source()
{
	start_counting "$1" || return 1
	restart_procd h1 "$1" --env GODWIT_PROCD_STOP_AT=ready:source
	on h3 timeout 60 godwit migrate "$1" h2 >"$work/$1.migrate" 2>&1 &
	migrate=$!
	until_true 20 procd_stopped || return 1
	on h2 timeout 20 godwit resolve "$1" --here >"$work/$1.early" 2>&1
	early=$?
	lab stop h1 2>"$work/lab.err"
	until_true 40 in_doubt_at_h2 "$1"
}

come_back()
{
	lab start h1 2>"$work/lab.err" || diag "$(cat "$work/lab.err")"
	kill $counting $migrate 2>/dev/null
	wait $counting $migrate 2>/dev/null
}

faults_begin

lose_source here
ok $? "the source is gone: ps at the destination says in doubt" || explain here
[ $early = 1 ]
tap_log=$work/here.early ok $? "as long as the source is heard nobody may decide"
on h2 timeout 20 godwit resolve here --here >"$work/here.resolve" 2>&1
tap_log=$work/here.resolve ok $? "a person at the destination says that it is there"
until_true 20 runs_at_h2 here
ok $? "it runs there" || explain here
lines=$(on h2 timeout 20 godwit logs here 2>/dev/null | wc -l)
until_true 30 prints_more_than here $((lines + 20))
ok $? "it goes on"
on h2 godwit logs here >"$work/here.log" 2>&1
"$counter" "$(wc -l <"$work/here.log")" 0 | cmp - "$work/here.log" >"$work/cmp" 2>&1
tap_log=$work/cmp ok $? "what it has printed is complete"
come_back
sleep 3 # the source, which knows nothing, has been asked
runs_at_h2 here
ok $? "the source comes back and changes nothing" || explain here
on h2 timeout 30 godwit migrate here h1 >"$work/here.migrate" 2>&1
tap_log=$work/here.migrate ok $? "it can be moved afterwards"
on h2 timeout 20 godwit kill here >/dev/null 2>&1

lose_source there
ok $? "once more" || explain there
on h2 timeout 20 godwit resolve there --there >"$work/there.resolve" 2>&1
tap_log=$work/there.resolve ok $? "a person at the destination says that it is not there"
until_true 20 gone_from_h2 there
ok $? "nothing of it is left" || explain there
come_back

finish

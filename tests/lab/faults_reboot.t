#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host is switched off at the end of a stage and comes back with an empty /run. procd stops at that stage by itself,
# on either side, so that it happens exactly then. What must become of the job: it goes on at the host whose running
# copy it is, ends with it, or is in doubt until a person decides. Arguments choose some (record:source:h2); by default
# a sample, with FAULTS_ALL=1 all.
. "$(dirname "$0")/faults.sh"

# stage where procd stops: what becomes of the job when h1, the source, is switched off; and when h2 is.
#   h1, h2   it goes on there          lost     it has ended with the host that had it
#   doubt    it stands at h1 until resolved      |  either
rules="check:source lost h1
prepare:source lost h1
stun:source lost h1
move:source lost doubt
ready:source lost doubt
record:source lost doubt
commit:source h2 lost
delete:source h2 lost
check:destination lost h1
prepare:destination lost h1
ready:destination lost|h2 doubt|h1
record:destination h2 doubt
commit:destination h2 doubt"

every_case()
{
	echo "$rules" | while read -r at _; do
		echo "$at:h1 $at:h2"
	done
}

expected()
{
	echo "$rules" | awk -v at="$1" -v column=$([ "$2" = h1 ] && echo 2 || echo 3) '$1 == at { print $column }'
}

procd_stopped()
{
	[ -n "$(on "$1" pgrep -x -r T procd)" ]
}

# Nothing of the job anywhere, and nobody who still believes in it.
lost()
{
	local h
	[ -z "$(job_field h3 "$1" .state)" ] || return 1
	for h in h1 h2; do
		on $h sh -c "test ! -e /sys/fs/cgroup/godwit/$1 && test ! -e /run/godwit/jobs/$1" || return 1
		[ -z "$(on $h pgrep -x mover)" ] || return 1
		[ "$(on $h pgrep -cx procd)" = 1 ] || return 1
	done
}

in_doubt()
{
	[ "$(job_field h3 "$1" .state)" = "in doubt" ] && [ "$(copy_at h1 "$1")" = frozen ] && [ "$(copy_at h2 "$1")" = none ]
}

# What has become of job $1: one of $2, or nothing that is known.
became()
{
	local want
	for want in $(echo "$2" | tr '|' ' '); do
		case $want in
		lost) lost "$1" && echo lost && return ;;
		doubt) in_doubt "$1" && echo doubt && return ;;
		*) job_is_at h3 "$1" $want && settled "$1" && echo $want && return ;;
		esac
	done
	return 1
}

found()
{
	what=$(became "$1" "$2")
}

# The front-end of a job that is lost must not wait for ever.
judge_lost()
{
	until_true 60 eval '! kill -0 $counting 2>/dev/null'
	ok $? "$2: its front-end ends" || kill $counting
	wait $counting
	diag "$2: the front-end says $?: $(tail -n 1 "$work/$1.stderr" | head -c 200)"
	is_beginning "$1"
	tap_log=$work/cmp ok $? "$2: what it printed until then is intact"
}

is_beginning()
{
	"$counter" "$(lines_of "$1")" 0 0 | cmp - "$work/$1.have" >"$work/cmp" 2>&1
}

sample="ready:source:h1 record:source:h2 record:destination:h1"
cases=$([ -n "$FAULTS_ALL" ] && every_case || echo "$sample")

faults_begin
for case in ${*:-$cases}; do
	at=${case%:*}
	off=${case##*:}
	host=$([ "${at#*:}" = source ] && echo h1 || echo h2)
	job=$(echo "$case" | tr : -)
	text="$off off at $at"
	start_counting "$job" || { ok 1 "$case: the job starts"; continue; }
	restart_procd $host "$job" --env "GODWIT_PROCD_STOP_AT=$at"
	on h3 timeout 100 godwit migrate "$job" h2 >"$work/$job.asked" 2>&1 &
	migrate=$!
	until_true 20 procd_stopped $host
	ok $? "procd waits at $at"
	lab stop $off 2>"$work/lab.err"
	[ $host = $off ] || on $host pkill -CONT -x procd
	sleep "${OFF_S:-1}"
	lab start $off 2>>"$work/lab.err" || diag "$(cat "$work/lab.err")"
	want=$(expected "$at" "$off")
	until_true 90 found "$job" "$want"
	ok $? "$text: it is as it must be ($want)" || explain "$job"
	diag "$text: $what"
	if [ "$what" = doubt ]; then
		on h1 timeout 30 godwit resolve "$job" --here >"$work/$job.resolve" 2>&1
		tap_log=$work/$job.resolve ok $? "$text: a person says that it is here"
	fi
	[ "$what" = lost ] && judge_lost "$job" "$text" || judge_fault "$job" "$text"
	wait $migrate
	diag "$text: migrate said $?: $(tail -n 1 "$work/$job.asked")"
	count_instant "$off" "${at%:*}"
	[ $host = $off ] || lab restart $host procd 2>"$work/lab.err"
done
show_instants
finish

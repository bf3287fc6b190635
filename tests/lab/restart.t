#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a restart may rely on, and what it may not: names, files that have changed, hosts that fail midway.
. "$(dirname "$0")/lab.sh"

lab_begin 3

counter='import sys, time
i = 0
while True:
    print(i, flush=True)
    i += 1
    time.sleep(0.02)'
tap_log=$work/err

counts()
{
	local then now
	then=$(on "$1" godwit logs "$2" 2>/dev/null | tail -n 1)
	for _ in $(seq 100); do
		now=$(on "$1" godwit logs "$2" 2>/dev/null | tail -n 1)
		[ "${now:-0}" -gt "${then:-0}" ] 2>/dev/null && return 0
		sleep 0.1
	done
	return 1
}

on h1 godwit run -d --name count -- "$python" -c "$counter" >/dev/null && counts h1 count &&
	on h1 godwit checkpoint --kill count "$work/image" >/dev/null
check "a job is written down and ended" [ $? = 0 ]

# --- names ---

for n in 1 2 3 4; do
	rm -f "$work"/won.*
	for h in h1 h2 h3; do
		(on $h godwit restart --name race$n --host h$((1 + (n + ${h#h}) % 3)) "$work/image" >"$work/won.$h" 2>"$work/lost.$h"; echo $? >"$work/status.$h") &
	done
	wait
	won=$(cat "$work"/status.h? | grep -c '^0$')
	cat "$work"/lost.h? >"$work/err"
	is "$won" 1 "three restarts under one name at the same instant: one gets it ($n)"
	check "the others hear why" [ "$(grep -cE 'there is a job|just (been|being) started' "$work/err")" = 2 ]
	is "$(on h1 timeout 20 godwit ps --json | jq "[.[] | select(.job == \"race$n\" and .state != \"exited\")] | length")" 1 "there is one job of that name"
done
counts h2 race1
check "and it counts" [ $? = 0 ]
a=$(on h1 godwit restart "$work/image" 2>"$work/err")
b=$(on h2 godwit restart "$work/image" 2>>"$work/err")
check "without a name the first has its own again, and the second another ($a, $b)" [ "$a" = count -a -n "$b" -a "$b" != count ]
counts h1 "$a" && counts h1 "$b"
check "two jobs of one image" [ $? = 0 ]
on h1 godwit restart --name "$a" "$work/image" 2>"$work/err"
check "a name that is taken is refused" [ $? != 0 ]
on h1 godwit kill "$a" >/dev/null 2>&1
for _ in $(seq 50); do job_lives h1 "$a" || break; sleep 0.1; done
on h3 godwit restart --name "$a" "$work/image" >/dev/null 2>"$work/err"
check "but for a job that has ended" [ $? = 0 ]

# --- its files have changed since ---

mkdir "$work/files"
cat >"$work/reads.py" <<'END'
import mmap, sys, time
f = open(sys.argv[1]); g = open(sys.argv[1], 'rb')
m = mmap.mmap(g.fileno(), 0, prot=mmap.PROT_READ)
f.readline()
i = 0
while True:
    print(i, m[0:5], flush=True); i += 1
    time.sleep(0.02)
END
printf 'first\nsecond\n' >"$work/files/data"
on h1 godwit run -d --name reads -- "$python" "$work/reads.py" "$work/files/data" >/dev/null
until_true 10 sh -c "'$GODWIT' lab --prefix $LAB exec h1 -- godwit logs reads | grep -q first"
on h1 godwit checkpoint --kill reads "$work/image2" >/dev/null
on h1 godwit restart --host h2 --name reads2 "$work/image2" >/dev/null 2>"$work/err"
check "a job goes on with the file that it read" [ $? = 0 ]
cp -p "$work/files/data" "$work/files/kept"
printf 'FIRST\nsecond\n' >"$work/files/data"
touch -r "$work/files/kept" "$work/files/data"
on h1 godwit restart --host h2 --name reads3 "$work/image2" >/dev/null 2>"$work/err"
check "another content under its name is refused, whatever its age" [ $? != 0 ]
check "by name" grep -q "files/data has changed since the checkpoint" "$work/err"
rm "$work/files/data"
on h1 godwit restart --host h2 --name reads3 "$work/image2" >/dev/null 2>"$work/err"
check "and so is none" [ $? != 0 ]
check "by name" grep -q "files/data" "$work/err"
ln -s /etc/passwd "$work/files/data"
on h1 godwit restart --host h2 --name reads3 "$work/image2" >/dev/null 2>"$work/err"
check "and a link to another file" [ $? != 0 ]
job_lives h1 reads3
check "nothing has been started" [ $? != 0 ]
rm "$work/files/data"; mv "$work/files/kept" "$work/files/data"
on h1 godwit restart --host h2 --name reads3 "$work/image2" >/dev/null 2>"$work/err"
check "the file comes back: the job does, too" [ $? = 0 ]

# --- somebody dies midway ---

left_on()
{
	on "$1" sh -c 'ls /sys/fs/cgroup/godwit /run/godwit/jobs 2>/dev/null | grep "^'"$2"'"
		for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = mover ] && echo mover ${p#/proc/}; done'
}

nothing_left()
{
	[ -z "$(left_on h1 "$1")" ] && [ -z "$(left_on h2 "$1")" ]
}

for stage in prepare move; do
	for side in source destination; do
		host=h$([ $side = source ] && echo 1 || echo 2)
		lab restart $host procd -k -e GODWIT_DIE_AT=$stage:$side >/dev/null 2>&1
		on h1 timeout 60 godwit restart --host h2 --name mid-$stage-$side "$work/image" >/dev/null 2>"$work/err"
		status=$?
		lab restart $host procd -k >/dev/null 2>&1
		# A source that dies after the destination has all of it leaves a job, or none; never both.
		if [ $status = 0 ]; then
			job_lives h1 mid-$stage-$side
			check "the $side's mover dies in $stage: too late to matter" [ $? = 0 ]
			on h1 godwit kill -s KILL mid-$stage-$side >/dev/null 2>&1
			on h1 godwit kill mid-$stage-$side >/dev/null 2>&1
			continue
		fi
		until_true 40 nothing_left mid-$stage-$side
		check "the $side's mover dies in $stage: refused, and nothing is left" [ $? = 0 ] || diag "$(left_on h1 mid) $(left_on h2 mid)"
	done
done
procd_gone()
{
	[ -z "$(on "$1" pgrep -x procd)" ]
}

# Of a host that dies and comes back: one job, or none of it.
one_or_none()
{
	nothing_left "$1" && return
	job_lives h1 "$1" && [ "$(job_processes h2 "$1")" = 1 ] && [ -z "$(left_on h1 "$1")" ]
}

# All of them take a minute and a half: `make faults`.
at_all="prepare:source move:source check:destination prepare:destination ready:destination commit:destination"
for at in record:destination ${FAULTS_ALL:+$at_all}; do
	host=h$([ "${at#*:}" = source ] && echo 1 || echo 2) name=mid-${at/:/-}
	lab restart $host procd -k -e GODWIT_PROCD_DIE_AT=$at >/dev/null 2>&1
	on h1 timeout 60 godwit restart --host h2 --name $name "$work/image" >/dev/null 2>"$work/err" &
	asking=$!
	until_true 20 procd_gone $host
	check "a process server dies at $at" [ $? = 0 ]
	lab restart $host procd >/dev/null 2>&1
	wait $asking
	status=$?
	until_true 40 one_or_none $name
	check "one job, or none of it (status $status)" [ $? = 0 ] || diag "$(left_on h1 mid) $(left_on h2 mid)"
	[ $at != record:destination ] || is "$status" 0 "who asked hears that it runs"
	on h2 godwit kill -s KILL $name >/dev/null 2>&1
done
on h1 godwit restart --host h2 --name whole "$work/image" >/dev/null 2>"$work/err"
check "and the image is none the worse for it" [ $? = 0 ]

finish

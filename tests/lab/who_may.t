#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every command and every operation of a process server, asked by everybody: who is let in is the table in
# docs/security.md. `who_may.t --write` writes it there.
. "$(dirname "$0")/lab.sh"

procop=$BUILD/tests/lab/tools/procop
page=$here/docs/security.md
owner=65534 # nobody: every host knows him
other=1
actors="owner owner-far other root root-far root-named revoked keyless"

# The job is at h1. root_from names h3 only.
lab_begin 4 --conf root_from=h3

# as ACTOR COMMAND...
as()
{
	case $1 in
	owner) on h1 setpriv --reuid=$owner --regid=$owner --clear-groups "${@:2}" ;;
	owner-far) on h2 setpriv --reuid=$owner --regid=$owner --clear-groups "${@:2}" ;;
	other) on h1 setpriv --reuid=$other --regid=$other --clear-groups "${@:2}" ;;
	root) on h1 "${@:2}" ;;
	root-far) on h2 "${@:2}" ;;
	root-named) on h3 "${@:2}" ;;
	revoked | keyless) on h4 "${@:2}" ;;
	esac
}

home()
{
	case $1 in owner | other | root) echo h1 ;; owner-far | root-far) echo h2 ;; root-named) echo h3 ;; *) echo h4 ;; esac
}

# Strangers wait for ever.
patience()
{
	case $1 in revoked | keyless) echo 1 ;; *) echo 4 ;; esac
}

# What the job's host answers an actor. One that holds the request has let it in, unless nobody answers at all.
answer()
{
	local out status
	out=$(as "$1" timeout $(patience "$1") "$procop" "${@:2}" 2>>"$work/answers")
	status=$?
	[ $status = 124 ] && out=held
	echo "$* -> ${out:-failed $status}" >>"$work/answers"
	[ "$out" = held ] && case $1 in revoked | keyless) out=silence ;; *) out=yes ;; esac
	echo "${out:-failed $status}"
}

# What became of a command.
verdict()
{
	local status out=$work/out.$BASHPID
	# whoever stands in for a job passes a gentler signal on to it
	as "$1" timeout -s KILL 2 "${@:2}" >"$out" 2>&1 </dev/null
	status=$?
	echo "$* -> $status: $(head -c 300 "$out")" >>"$work/answers"
	if grep -q "another user's\|not yours\|does not take\|Permission denied\|needs root\|only root" "$out"; then
		echo no
	elif [ $status = 137 ]; then
		case $1 in revoked | keyless) echo silence ;; *) echo yes ;; esac
	elif grep -q "did not move" "$out"; then
		echo yes
	elif [ "$4" = j ] && [ "$3" = resolve ] && [ "$1" != revoked ] && [ "$1" != keyless ] && grep -q "no such job" "$out"; then
		echo "not there"
	elif grep -q "no such job\|no server\|no job\|does not answer\|no host" "$out"; then
		echo silence
	else
		echo yes
	fi
}

procd_stopped()
{
	[ -n "$(on h3 pgrep -x -r T procd)" ]
}

# h4 hears nothing of h1 any more.
deaf()
{
	! on h4 godwit hosts | grep -q "^h1 .* up "
}

# start_job NAME, unless it is there
start_job()
{
	job_lives h1 "$1" && return 0
	as owner godwit run -d --name "$1" -- sleep 1000 >/dev/null 2>>"$work/answers"
	until_true 10 job_lives h1 "$1"
}

# Each operation with what procop needs to ask for it; %h is the actor's own host.
operations="EXEC:procd@h1 EXEC-AS-OTHER:procd@h1 LIST:procd@h1 LOAD:procd@h1 ADOPT:procd@h1 OUTCOME:procd@h1
	PROGRESS-AT-HOST:procd@h1 CANCEL-AT-HOST:procd@h1 INFO:job:j SIGNAL:job:j WAIT:job:j ATTACH:job:j DETACH:job:j
	READ:job:j WRITE:job:j WINDOW:job:j LOGS:job:j CHECK:job:j MIGRATE:job:j PROGRESS:job:j CANCEL:job:j CHECKPOINT:job:j STUN:job:j
	MEM-READ:job:j MEM-WRITE:job:j SEGMENTS:job:j THREADS:job:j CAPABILITY:job:j REVOKE:job:j TOUCH:job:j DESCRIBE:job:j
	SEG-READ:job:j SEG-WRITE:job:j SEG-SIZE:job:j RESUME:job:j SET-OWNER:job:j REMOVE:job:j DESTROY:job:d RESTART:procd@h1
	HELLO:procd@h1 RESERVE:procd@h1 BEGIN-CHECK:procd@h1 BEGIN-ROOT:procd@h1"
commands="run ps hosts logs attach wait kill check migrate stun mem cap setowner resume checkpoint restart image
	ping flip trace resolve init"
# Of a migration that h3 has begun at h1; ABORT last, it is the end of it.
of_a_migration="SPOOL QUERY FORGET COMMIT ABORT"

# Names of operations here that are not those of the schema; commands that ask no process server: lab, and dir and file, whose
# servers go by capabilities only.
renamed()
{
	case $1 in
	GET-SEGMENTS) echo SEGMENTS ;;
	GET-THREADS) echo THREADS ;;
	RESTRICT-TO) echo CAPABILITY ;;
	BEGIN) echo BEGIN-CHECK ;;
	*) echo "$1" ;;
	esac
}
unasked="lab dir file"

# Whatever procd and the command line can do is asked below.
all_are_asked()
{
	local op name
	for op in $(sed -n '/^message Request {/,/^  }/s/^ *[A-Z][A-Za-z]* \([a-z_]*\) = [0-9]*;.*/\1/p' "$here/proto/procd.proto" |
		tr a-z_ A-Z-); do
		case " $operations $of_a_migration " in
		*[[:space:]]"$(renamed "$op")"[:[:space:]]*) ;;
		*) diag "$op of proto/procd.proto is not in this test" && return 1 ;;
		esac
	done
	for name in $("$GODWIT" --help | sed -n 's/^  \([a-z]*\)  *[a-z].*/\1/p'); do
		case " $commands $unasked " in
		*[[:space:]]"$name"[[:space:]]*) ;;
		*) diag "godwit $name is not in this test" && return 1 ;;
		esac
	done
	[ -n "$op" ] && [ -n "$name" ]
}

row()
{
	echo "$1:$3" >>"$work/row.$2"
}

wait_strangers()
{
	local pid
	for pid in $(jobs -p); do
		case " $before " in *[[:space:]]"$pid"[[:space:]]*) ;; *) wait "$pid" ;; esac
	done
}

# Who is not heard waits, and can wait for everything at once.
each()
{
	case $1 in revoked | keyless) row "$1" "$2" "$("${@:3}")" & ;; *) row "$1" "$2" "$("${@:3}")" ;; esac
}

sweep_operations()
{
	local op port name
	for entry in $operations; do
		op=${entry%%:*} port=${entry#*:}
		name=j
		[ $op = RESERVE ] && name=free
		each "$1" $op answer "$1" "$port" $op $name "$([ $op = MIGRATE ] && echo nohost || home "$1")" "$sleeper"
	done
}

sweep_commands()
{
	each "$1" godwit-run verdict "$1" godwit run --host h1 -- true
	each "$1" godwit-ps verdict "$1" sh -c 'godwit ps | grep "^j " || echo no job'
	each "$1" godwit-hosts verdict "$1" sh -c 'godwit hosts | grep "^h1 .*up" || echo no host'
	each "$1" godwit-logs verdict "$1" godwit logs j
	each "$1" godwit-attach verdict "$1" godwit attach j
	each "$1" godwit-wait verdict "$1" godwit wait j
	each "$1" godwit-kill verdict "$1" godwit kill -CONT j
	each "$1" godwit-check verdict "$1" godwit check j h2
	each "$1" godwit-migrate verdict "$1" godwit migrate j nohost
	each "$1" godwit-stun verdict "$1" godwit stun -t 0.05 j
	each "$1" godwit-mem verdict "$1" godwit mem ls j
	each "$1" godwit-cap verdict "$1" godwit cap j
	each "$1" godwit-setowner verdict "$1" godwit setowner j
	each "$1" godwit-resume verdict "$1" godwit resume j
	each "$1" godwit-checkpoint verdict "$1" godwit checkpoint j "$work/images/$1"
	each "$1" godwit-restart verdict "$1" godwit restart --host h1 "$work/images/owner"
	each "$1" godwit-ping verdict "$1" godwit ping -c 1 h1
	each "$1" godwit-resolve verdict "$1" godwit resolve j --here
}

# Of these each host can judge by itself, and quickly.
sweep_local()
{
	row "$1" godwit-image "$(verdict "$1" godwit image show "$work/images/owner")"
	row "$1" godwit-flip "$(verdict "$1" godwit flip)"
	row "$1" godwit-trace "$(verdict "$1" sh -c 'timeout 0.5 godwit trace || true')"
	row "$1" godwit-init "$(verdict "$1" godwit init)"
}

sweep_migration()
{
	for op in $of_a_migration; do
		each "$1" $op answer "$1" procd@h1 $op $id
	done
}

table()
{
	local previous='' cell name line
	echo "| asked for | owner, at the job's host | owner, elsewhere | another user | root of the job's host | root of another host | root of a host in root_from | revoked host | without the key |"
	echo "|---|---|---|---|---|---|---|---|---|"
	for name in $(printf 'godwit-%s ' $commands) $(for e in $operations; do echo "${e%%:*}"; done) $of_a_migration; do
		line="| $(echo "$name" | sed 's/^godwit-/godwit /')"
		for actor in $actors; do
			cell=$(sed -n "s/^$actor://p" "$work/row.$name")
			line="$line | ${cell:-?}"
		done
		echo "$line |"
	done
}

committed()
{
	sed -n '/^<!-- table -->$/,/^<!-- end -->$/p' "$page" | sed '1d;$d'
}

write_page()
{
	sed -e '/^<!-- table -->$/r '"$work/table" -e '/^<!-- table -->$/,/^<!-- end -->$/{/^<!--/!d}' "$page" >"$work/page"
	cat "$work/page" >"$page"
}

on h1 setpriv --reuid=$owner --regid=$owner --clear-groups sleep 1000 &
until_true 10 on h1 pgrep -x sleep >/dev/null
sleeper=$(on h1 pgrep -x sleep | head -1)
mkdir -m 1777 "$work/images"
all_are_asked
ok $? "every operation of procd and every command is asked for here"
start_job j
ok $? "a job of a user at h1"
is "$(answer root-far procd@h1 BEGIN-CHECK x h3)" no "h2 may not do so in h3's name"
is "$(as root-far "$procop" serve procd@h1)" no "h2 may not serve h1's process server"

# A migration that h3 has begun at h1 and does not go on with: its process server stands still.
lab restart h3 procd --env GODWIT_PROCD_STOP_AT=prepare:source 2>"$work/lab.err"
on h3 godwit run -d --name sent -- sleep 1000 >/dev/null
on h3 timeout 60 godwit migrate sent h1 >"$work/sent" 2>&1 &
until_true 20 procd_stopped
ok $? "h3 sends a job to h1"
id=$(on h1 sh -c 'grep -aoh "[0-9a-f]\{32\}" /run/godwit/jobs/sent/* 2>/dev/null | head -1')
until_true 1 test -n "$id"
ok $? "its migration has an id"
for actor in owner owner-far other root root-far root-named; do
	sweep_migration $actor
done
on h3 pkill -CONT -x procd
until_true 20 job_is_at h1 sent h3
ok $? "the job of h3 is at h3"
for actor in owner owner-far other root root-far root-named; do
	start_job d # for whom it may concern to end it
	sweep_operations $actor
	sweep_commands $actor
	sweep_local $actor
	job_lives h1 j
	ok $? "the job outlives what $actor asks"
done

# Images are written and read with the caller's rights, by the names he gives and no others.
tap_log=$work/out
as owner godwit checkpoint j "/root/godwit-image-$LAB" >"$work/out" 2>&1
[ $? != 0 ] && [ ! -e "/root/godwit-image-$LAB" ]
ok $? "a user writes no image where he may not"
mkdir -m 700 "$work/images/private"
as other ln -s "$work/images/private" "$work/images/link"
as owner godwit checkpoint j "$work/images/link" >"$work/out" 2>&1
[ $? != 0 ] && [ -z "$(ls "$work/images/private")" ]
ok $? "nor where somebody's symbolic link leads, not even with root's help"
as root godwit checkpoint -f j "$work/images/link" >"$work/out" 2>&1
[ $? != 0 ] && [ -z "$(ls "$work/images/private")" ]
ok $? "nor does root"
as other godwit image verify "$work/images/owner" >"$work/out" 2>&1
[ $? != 0 ]
ok $? "another user reads no image of his"
as owner godwit image verify "$work/images/owner" >"$work/out" 2>&1
ok $? "he does"

on h1 sed -i '/^h4 /d' /run/godwit-etc/hosts
on h1 pkill -HUP -x flipd
until_true 60 deaf
ok $? "h4 is revoked at h1: silence"
before=$(jobs -p | tr '\n' ' ')
for actor in revoked keyless; do
	if [ $actor = keyless ]; then
		on h4 sh -c 'head -c 32 /dev/urandom | od -An -tx1 | tr -d " \n" >/run/godwit-etc/cluster.key'
		lab restart h4 flipd 2>"$work/lab.err"
		until_true 20 on h4 godwit hosts >/dev/null
	fi
	sweep_local $actor
	sweep_operations $actor
	sweep_migration $actor
	sweep_commands $actor
	wait_strangers
done

table >"$work/table"
case $1 in --write) write_page ;; esac
tap_log=$work/answers
[ "$(committed)" = "$(cat "$work/table")" ]
ok $? "the table in docs/security.md is what was seen" || diff <(committed) "$work/table" | sed 's/^/# /'
[ -z "$KEEP" ] || cp "$work/answers" "$KEEP"
finish

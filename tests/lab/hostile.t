#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host that sends what no mover would, and images that no mover wrote: each is refused by name, and nothing is left.
. "$(dirname "$0")/lab.sh"

lab_begin 2

hostile=$BUILD/tests/lab/tools/hostile
as_nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"

# Whatever of a job could be left on host $1: jobs, cgroups, processes in them, files of jobs, things under names of ours.
left_on()
{
	on "$1" sh -c 'godwit ps --json | jq -r ".[] | select(.job | startswith(\"hostile\")) | .job"
		ls /sys/fs/cgroup/godwit 2>/dev/null | grep hostile
		ls /run/godwit/jobs 2>/dev/null | grep hostile
		find /run/godwit /tmp -maxdepth 2 -newer '"$work/started"' -name ".godwit*"' 2>/dev/null
}

movers_of()
{
	on "$1" sh -c 'for p in /proc/[0-9]*; do [ "$(cat $p/comm 2>/dev/null)" = mover ] && echo ${p#/proc/}; done'
}

gone()
{
	[ -z "$(left_on h2)" ] && [ -z "$(movers_of h2)" ]
}

mkdir -m 777 "$work/open"
on h1 sh -c "cd / && exec $as_nobody godwit run -d --name base -- sleep 1000" >/dev/null &&
	on h1 $as_nobody godwit checkpoint base "$work/open/base" >/dev/null
check "a proper image, to be spoiled" [ $? = 0 ]
touch "$work/started"

on h1 "$hostile" messages "$work/open/base" h1 h2 >"$work/messages" 2>&1
while read -r line; do
	case $line in
	"ok - "*) ok 0 "${line#ok - }" ;;
	"not ok - "*) ok 1 "${line#not ok - }" ;;
	*) echo "$line" ;;
	esac
done <"$work/messages"
check "there were many of them" [ "$(grep -c '^ok' "$work/messages")" -ge 60 ]
until_true 10 gone
check "and nothing is left of any" [ $? = 0 ] || left_on h2
# What kills the process that decodes, kills nobody else.
lab restart h2 procd -k -e GODWIT_DIE_AT=decode:destination >/dev/null 2>&1
on h1 $as_nobody timeout 60 godwit migrate base h2 >"$work/err" 2>&1
status=$?
[ $status = 1 ] && grep -q "the process that decodes died of it" "$work/err"
tap_log=$work/err ok $? "the process that decodes dies in the freeze: the job is refused, in words"
is "$(job_host h1 base)" h1 "stays where it was"
is "$(job_field h1 base .state)" running "and goes on"
until_true 10 sh -c "[ -z \"\$('$GODWIT' lab --prefix $LAB exec h2 -- ls /sys/fs/cgroup/godwit 2>/dev/null | grep base)\" ]"
check "nothing of it is left at the destination" [ $? = 0 ]
lab restart h2 procd -k >/dev/null 2>&1
on h1 $as_nobody godwit migrate base h2 >/dev/null
check "the destination is none the worse for it" [ $? = 0 ]

# The images are his who restarts them: what they claim is judged by what he may.
mkdir -m 777 "$work/open/images"
on h1 $as_nobody "$hostile" images "$work/open/base" "$work/open/images"
check "and spoiled images" [ $? = 0 ]
for image in "$work"/open/images/*.words; do
	name=$(basename "$image" .words)
	on h1 $as_nobody timeout 20 godwit restart --host h2 --name "hostile-${name//_/-}" "${image%.words}" >"$work/err" 2>&1
	status=$?
	[ $status != 0 ] && grep -qF -e "$(cat "$image")" "$work/err"
	tap_log=$work/err ok $? "hostile image $name"
	diag "$(head -n 2 "$work/err" | sed "s|$work||" | cut -c 1-200)"
done
until_true 10 gone
check "and nothing is left of them" [ $? = 0 ] || left_on h2
on h1 $as_nobody godwit restart --host h2 --name proper "$work/open/base" >/dev/null
check "while a proper one is restarted" [ $? = 0 ]

finish

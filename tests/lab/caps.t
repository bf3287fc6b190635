#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Capabilities: who has one may do what it says, whoever he is, and no more, wherever the job is.
. "$(dirname "$0")/lab.sh"

psop=$BUILD/tests/lab/tools/psop
owner=$BUILD/tests/lab/tools/owner
lab_begin 2

program='import ctypes, time
b = ctypes.create_string_buffer(b"hello world", 16)
print(hex(ctypes.addressof(b)), flush=True)
i = 0
while True:
    print(i, b.value.decode(), flush=True)
    i += 1
    time.sleep(0.02)'

# A user who owns nothing here, at the other host.
stranger()
{
	on h2 setpriv --reuid 65534 --regid 65534 --clear-groups timeout 30 "$@" 2>&1
}

refused()
{
	local text=$1 status
	shift
	"$@" >"$work/out"
	status=$?
	tap_log=$work/out ok $((status != 1)) "$text"
}

logged()
{
	[ -n "$(on h1 godwit logs job 2>/dev/null)" ]
}

on h1 godwit run -d --name job -- "$python" -c "$program" >/dev/null
until_true 10 logged
address=$(on h1 godwit logs job | head -n 1)
full=$(on h1 godwit cap job)
check "a job has a capability" [ "${full#gwcap:}" != "$full" ]
refused "which a stranger does not get" stranger godwit cap job
refused "nor may he do anything" stranger "$psop" job stun
is "$(stranger "$psop" job info)" "job at h1: state 1, 1 threads, 0 moves" "but look"
is "$(stranger "$psop" h1 load | sed 's/^[0-9]* //')" "cpus, 1 jobs, memory known" "also at the load of a host"

stun=$(on h1 godwit cap --rights stun job)
refused "one to stun cannot move" stranger "$psop" "$stun" migrate h2
grep -q "denied: the capability has not the right" "$work/out"
check "and says why" [ $? = 0 ]
stranger "$psop" "$stun" stun >"$work/out"
check "but stun" [ $? = 0 ]
refused "and not read" stranger "$psop" "$stun" read "$address" 5
refused "nor make itself greater" stranger "$psop" "$stun" restrict-here all
is "$(stranger "$psop" "$stun" restrict all)" "$stun" "not even at the server"

echo "$full" >"$work/full"
chmod 644 "$work/full"
read=$(stranger "$psop" "$full" restrict-here read)
is "$(on h1 godwit cap --rights read job)" "$read" "whoever has all rights restricts by himself"
is "$(stranger "$psop" "$read" read "$address" 5)" "hello" "one to read reads"
refused "and does not write" stranger "$psop" "$read" write "$address" HELLO
refused "or resume" stranger "$psop" "$read" resume
is "$(stranger godwit mem read --cap "$read" job "$address" 5)" "hello" "so does the command"
refused "a capability is one job's" stranger godwit mem ls --cap "$read" other
segment=$(stranger "$psop" "$(stranger "$psop" "$full" restrict read,write)" segment "$address")
is "$(stranger "$psop" "$segment" seg-read 0)" "4 bytes" "a segment has one of its own"
refused "which ends where it ends" stranger "$psop" "$segment" seg-read 0x7fffffff0000
refused "and is no job's" stranger "$psop" "$segment" resume
check "it has a size" [ "$(stranger "$psop" "$segment" seg-size)" -gt 0 ]
stranger "$psop" "$full" write "$address" HELLO >"$work/out"
check "memory is written through it" [ $? = 0 ]
on h1 godwit mem ls --json job | jq -e '[.[] | select(.name == "[stack]" and .protection == "rw-" and (.capability | startswith("gwcap:")))] | length == 1' >/dev/null
check "segments are listed" [ $? = 0 ]
is "$(stranger "$psop" "$segment" std-info | sed 's/0x[0-9a-f]*/X/')" "Stp: segment at X of 0:job" "and say what they are"

stranger "$psop" "$full" migrate h2 >"$work/out"
check "one with all rights moves it" [ $? = 0 ]
is "$(stranger "$psop" "$segment" seg-read 0)" "4 bytes" "which leaves capabilities good, of segments, too"
lab restart h2 procd -k >/dev/null 2>&1
until_true 10 job_is_at h1 job h2
stranger godwit resume --cap "@$work/full" job >"$work/out"
check "and so does a restart of procd" [ $? = 0 ]
refused "a segment's ends with the stun" stranger "$psop" "$segment" seg-size
stranger "$psop" "$stun" stun >/dev/null
refused "also for the next" stranger "$psop" "$segment" seg-size
grep -q "bad capability" "$work/out"
check "which is said" [ $? = 0 ]
stranger "$psop" "$stun" resume >/dev/null
refused "nobody guesses one" stranger "$psop" "${full%????????????????????????????????}00000000000000000000000000000001" touch

stranger "$psop" "$full" touch >/dev/null
check "one with all rights is good" [ $? = 0 ]
on h1 godwit cap --revoke job
refused "until it is revoked" stranger "$psop" "$full" touch
full=$(on h1 godwit cap job)
on h1 godwit setowner job port:00112233445566778899aabbccddeeff
on h1 godwit checkpoint job "$work/image" >/dev/null
grep -q 00112233445566778899aabbccddeeff -r "$work/image"
check "an image says who the owner was" [ $? = 0 ]
kill=$(on h1 godwit cap --rights delete job)
stranger "$psop" "$kill" destroy >/dev/null
check "one to delete destroys the job" [ $? = 0 ]
until_true 10 eval '! job_lives h1 job'
check "which ends" [ $? = 0 ]
stranger "$psop" "$kill" destroy >/dev/null
until_true 10 on h2 sh -c '! test -e /run/godwit/jobs/job'
check "destroyed again, it is forgotten" [ $? = 0 ]
on h1 godwit restart "$work/image" >/dev/null
until_true 10 job_lives h1 job
check "the image becomes a job again" [ $? = 0 ]
refused "to which nobody has rights because he had them to the old one" stranger "$psop" "$full" touch
on h1 sh -c 'grep -q 00112233445566778899aabbccddeeff /run/godwit/jobs/job/job'
check "and which has no owner" [ $? = 1 ]
finish

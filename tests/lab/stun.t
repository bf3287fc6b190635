#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Stun, resume, owners, and the memory of a job that stands still.
. "$(dirname "$0")/lab.sh"

owner=$BUILD/tests/lab/tools/owner
lab_begin 2 --conf owner_patience=3

program='import ctypes, threading, time
threading.Thread(target=threading.Event().wait, daemon=True).start()
b = ctypes.create_string_buffer(b"hello world", 16)
print(hex(ctypes.addressof(b)), flush=True)
i = 0
while True:
    print(i, b.value.decode(), flush=True)
    i += 1
    time.sleep(0.02)'

last()
{
	on h1 godwit logs "$1" | tail -n 1
}

on_sh()
{
	on h1 sh -c "$1"
}

# Until the job's last word is another than $2; 10 seconds.
goes_on()
{
	for _ in $(seq 50); do
		[ "$(last "$1")" != "$2" ] && return 0
		sleep 0.2
	done
	return 1
}

state_becomes()
{
	for _ in $(seq 50); do
		[ "$(job_field h1 "$1" .state)" = "$2" ] && return 0
		sleep 0.2
	done
	return 1
}

on h1 godwit run -d --name job -- "$python" -c "$program" >/dev/null
goes_on job "" && goes_on job "$(last job)"
check "a job runs" [ $? = 0 ]
address=$(on h1 godwit logs job | head -n 1)
on h2 godwit mem read job "$address" 11 >"$work/out" 2>&1
check "its memory is its own" [ $? = 1 ]
on h2 godwit stun job >"$work/out"
check "it is stunned from another host" [ $? = 0 ]
is "$(sed 's/ \+/ /g' "$work/out" | tail -n 1)" " thread 3 python3 in futex" "and is seen to wait for itself in one thread"
is "$(job_field h2 job .state)" stunned "and said to be"
then=$(last job)
on h2 godwit stun job 2>/dev/null
check "it cannot be stunned twice" [ $? = 1 ]
is "$(on h2 godwit mem read job "$address" 11)" "hello world" "its memory is read"
printf HELLO | on h2 godwit mem write job "$address"
check "and written" [ $? = 0 ]
on h2 godwit mem read job 0 4 2>/dev/null
check "but only where there is any" [ $? = 1 ]
on h1 setpriv --reuid 65534 --regid 65534 --clear-groups godwit mem read job "$address" 11 2>/dev/null
check "and not by another user" [ $? = 1 ]
on h1 setpriv --reuid 65534 --regid 65534 --clear-groups godwit resume job 2>/dev/null
check "who cannot resume it either" [ $? = 1 ]
on h1 godwit checkpoint job "$work/image" >/dev/null
check "it can be written into an image" [ $? = 0 ]
lab restart h1 procd -k >/dev/null 2>&1
state_becomes job stunned
check "a restart of procd changes nothing" [ $? = 0 ]
on h1 godwit migrate job h2 >/dev/null
check "and it moves" [ $? = 0 ]
is "$(job_field h2 job .state) $(job_host h2 job)" "stunned h2" "as it is"
is "$(last job)" "$then" "all the while it has stood still"
on h2 sh -c 'test -s /run/godwit/jobs/job/checkpoint'
check "with its checkpoint message" [ $? = 0 ]
on h1 godwit stun --json --show job | jq -e '.[] | select(.call == "futex")' >/dev/null
check "what its threads are in is seen there, too" [ $? = 0 ]
on h2 godwit resume job
check "it is resumed" [ $? = 0 ]
goes_on job "$then"
check "and goes on" [ $? = 0 ]
[[ $(last job) == *"HELLO world" ]]
check "with what was written" [ $? = 0 ]

# --- calls: end, do not end, are broken off ---

calls='import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
class T(ctypes.Structure): _fields_ = [("s", ctypes.c_long), ("n", ctypes.c_long)]
while True:
    r = libc.nanosleep(ctypes.byref(T(0, 700000000)), None)
    print(r, ctypes.get_errno() if r else 0, flush=True)'
on h1 godwit run -d --name calls -- "$python" -c "$calls" >/dev/null
goes_on calls ""
on h1 godwit stun --timeout 0.05 calls 2>"$work/out"
check "a call that does not end in time" [ $? = 1 ]
grep -q "still in system calls: 2 in clock_nanosleep" "$work/out"
check "is named" [ $? = 0 ]
is "$(job_field h1 calls .state)" running "and the job runs on"
then=$(on h1 godwit logs calls | wc -l)
is "$(on h1 godwit stun calls | sed 's/ \+/ /g')" " thread 2 python3 out of clock_nanosleep: 0" "with more time it ends first"
sleep 0.8 # longer than its call takes
on h1 godwit resume calls
until_true 10 on_sh "[ \$(godwit logs calls | wc -l) -ge $((then + 2)) ]"
is "$(on h1 godwit logs calls | sort -u)" "0 0" "and nothing was noticed"
is "$(on h1 godwit stun -e calls | sed 's/ \+/ /g')" " thread 2 python3 out of clock_nanosleep: EINTR" "an emergency breaks it off"
is "$(on h1 godwit logs calls | sort -u)" "0 0" "which it does not see before"
on h1 godwit resume calls
until_true 5 on_sh "godwit logs calls | grep -q '^-1 4$'"
check "it is resumed" [ $? = 0 ]
on h1 godwit kill -KILL calls

mkfifo "$work/in"
exec 8<>"$work/in"
on h1 godwit run --name reader -- sh -c 'while read x; do echo "$x"; done' <&8 >/dev/null 2>&1 &
until_true 10 job_lives h1 reader
on h1 godwit stun --timeout 20 reader >"$work/out" &
stun=$!
until_true 5 on_sh 'grep -q "TracerPid:.[1-9]" /proc/$(pgrep -f "while read x" | head -n 1)/status'
is "$(job_field h1 reader .state)" running "a job that waits for input runs while a stun waits for it"
echo hello >&8
wait $stun
check "and is stunned as soon as it has had some" grep -q "out of read: [1-9]" "$work/out"
on h1 godwit kill -KILL reader
exec 8>&-

# Whoever waits for a call to end may die: the call does not notice.
on h1 godwit run -d --name sleeper -- "$python" -c 'import ctypes, time
libc = ctypes.CDLL(None, use_errno=True)
class T(ctypes.Structure): _fields_ = [("s", ctypes.c_long), ("n", ctypes.c_long)]
print("sleeps", flush=True)
print(libc.nanosleep(ctypes.byref(T(3, 0)), None), ctypes.get_errno(), flush=True)' >/dev/null
until_true 10 on_sh 'godwit logs sleeper | grep -q sleeps'
traced()
{
	on_sh 'grep -q "TracerPid:.[1-9]" /proc/$(pgrep -f "print..sleeps" | head -n 1)/status'
}
untraced()
{
	! traced
}
on h1 godwit stun --timeout 60 sleeper >/dev/null 2>&1 &
stun=$!
until_true 5 traced
on h1 pkill -KILL -x mover
wait $stun
check "a stun whose mover dies fails" [ $? = 1 ]
on h1 godwit stun --timeout 60 sleeper >/dev/null 2>&1 &
stun=$!
until_true 5 traced
lab restart h1 procd -k >/dev/null 2>&1
until_true 5 untraced
check "if procd dies, its mover lets go" [ $? = 0 ]
wait $stun
state_becomes sleeper running
until_true 10 on_sh 'godwit logs sleeper | grep -q "^0 0$"'
check "and the call has not noticed" [ $? = 0 ]

# --- owners ---

mkfifo "$work/words"
exec 9<>"$work/words"
nobody="setpriv --reuid 65534 --regid 65534 --clear-groups"

# own HOST WORD...: an owner with a port of its own, whose name is in $port, and whose process is $owned
own()
{
	local host=$1
	shift
	rm -f "$work/owner"
	on "$host" $nobody "$owner" new "$@" >"$work/owner" 2>&1 <&9 &
	owned=$!
	until_true 10 grep -qs ready "$work/owner"
	port=$(head -n 1 "$work/owner")
}

# heard N TEXT: the owner has heard N such messages.
heard()
{
	[ "$(grep -c "$2" "$work/owner")" = "$1" ]
}

then=$(last job)
on h2 "$owner" test-owner resume >"$work/named" 2>&1 &
owned=$!
until_true 10 grep -qs ready "$work/named"
on h1 godwit setowner job test-owner
check "it gets an owner" [ $? = 0 ]
on h1 godwit stun job >/dev/null
check "is stunned" [ $? = 0 ]
wait $owned
is "$(tail -n 1 "$work/named")" "2308 cause 1 detail 0 of job, 2 threads, seen inside" "the owner gets its checkpoint message, and a capability"
state_becomes job running && goes_on job "$then"
check "and has it go on" [ $? = 0 ]
own h2 no -kill -resume kill no
on h1 godwit setowner job procd@h1 2>/dev/null
check "a process server owns nothing" [ $? = 1 ]
on h1 $nobody godwit setowner job "$port" 2>/dev/null
check "nobody makes himself the owner of another's job" [ $? = 1 ]
on h1 godwit setowner job "$port"
check "any program can own a job" [ $? = 0 ]
on h2 godwit migrate job h1 >/dev/null
check "the job moves, and its owner with it" [ $? = 0 ]
on h1 godwit stun job >/dev/null
until_true 10 heard 1 "cause 1"
until_true 10 grep -q "its owner says nothing of use (denied)" /run/godwit-lab/$LAB/h1/procd.log
is "$(job_field h1 job .state)" stunned "an owner that says neither leaves it stunned"
on h1 godwit resume job
on h1 godwit stun --emergency job >/dev/null
until_true 10 heard 2 "cause 1"
on h1 godwit migrate job h2 2>"$work/out"
grep -q "owner of job job is being asked" "$work/out"
check "while it is being asked the job does not move" [ $? = 0 ]
on h1 godwit checkpoint --force job "$work/image" >/dev/null
check "but can be written into an image" [ $? = 0 ]
until_true 10 grep -q "its owner does not answer; it stays stunned" /run/godwit-lab/$LAB/h1/procd.log
check "an owner may think, but not for ever" [ $? = 0 ]
echo now >&9
on h1 godwit resume job
then=$(last job)
goes_on job "$then"
check "what it says too late does not count" [ $? = 0 ]
on h1 godwit stun job >/dev/null
until_true 10 heard 3 "cause 1"
lab restart h1 procd -k >/dev/null 2>&1
state_becomes job stunned
then=$(last job)
echo now >&9
until_true 10 heard 4 "cause 1"
check "a procd that has died asks again" [ $? = 0 ]
until_true 10 heard 1 "cause 2 detail 9 of job"
check "an owner may have it killed, and hears of its end" [ $? = 0 ]
job_lives h1 job
check "which it was" [ $? != 0 ]

own h2 no
on h1 godwit run -d --owner "$port" --name short -- sh -c 'exit 7' >/dev/null
until_true 10 heard 1 "cause 0 detail 7 of short"
check "and of the status of one that ends by itself" [ $? = 0 ]

on h1 godwit run -d --name socket -- "$python" -c 'import socket, time
s = socket.socket()
time.sleep(1000)' >/dev/null
for _ in $(seq 100); do on h1 godwit check socket >/dev/null 2>&1 || break; sleep 0.1; done
on h1 godwit stun socket 2>/dev/null
check "what cannot be described is not stunned" [ $? = 3 ]
is "$(job_field h1 socket .state)" running "but runs"
on h1 godwit stun --emergency socket >/dev/null
check "except in an emergency" [ $? = 0 ]
is "$(job_field h1 socket .state)" stunned "then it stands still"
until_true 5 on_sh "godwit stun --show socket | grep -q 'in clock_nanosleep'"
check "in a call that is seen" [ $? = 0 ]
on h1 godwit kill -KILL socket
for _ in $(seq 50); do job_lives h1 socket || break; sleep 0.1; done
job_lives h1 socket
check "and can be killed" [ $? != 0 ]
finish

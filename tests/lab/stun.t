#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Stun, resume, owners, and the memory of a job that stands still.
. "$(dirname "$0")/lab.sh"

owner=$BUILD/tests/lab/tools/owner
lab_begin 2

program='import ctypes, threading, time
threading.Thread(target=lambda: time.sleep(1000), daemon=True).start()
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
on h2 godwit stun job
check "it is stunned from another host" [ $? = 0 ]
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
on h1 godwit migrate job h2 2>/dev/null
check "nor does it move" [ $? = 1 ]
lab restart h1 procd -k >/dev/null 2>&1
state_becomes job stunned
check "a restart of procd changes nothing" [ $? = 0 ]
is "$(last job)" "$then" "all the while it has stood still"
on h2 godwit resume job
check "it is resumed" [ $? = 0 ]
goes_on job "$then"
check "and goes on" [ $? = 0 ]
[[ $(last job) == *"HELLO world" ]]
check "with what was written" [ $? = 0 ]

own()
{
	on h2 "$owner" "$@" >"$work/owner" 2>&1 &
	for _ in $(seq 100); do grep -q ready "$work/owner" && return; sleep 0.1; done
}
on h1 godwit setowner job test-owner
check "it gets an owner" [ $? = 0 ]
own test-owner resume
then=$(last job)
on h1 godwit stun job
check "is stunned" [ $? = 0 ]
wait $!
is "$(tail -n 1 "$work/owner")" "2308 job 2" "the owner gets its checkpoint message"
state_becomes job running && goes_on job "$then"
check "and has it go on" [ $? = 0 ]
on h1 godwit migrate job h2 >/dev/null
check "it moves, and its owner with it" [ $? = 0 ]
own test-owner kill
on h1 godwit stun job
wait $!
for _ in $(seq 50); do job_lives h1 job || break; sleep 0.1; done
job_lives h1 job
check "an owner may have it killed" [ $? != 0 ]

on h1 godwit run -d --name socket -- "$python" -c 'import socket, time
s = socket.socket()
time.sleep(1000)' >/dev/null
for _ in $(seq 100); do on h1 godwit check socket >/dev/null 2>&1 || break; sleep 0.1; done
on h1 godwit stun socket 2>/dev/null
check "what cannot be described is not stunned" [ $? = 3 ]
is "$(job_field h1 socket .state)" running "but runs"
on h1 godwit stun --emergency socket
check "except in an emergency" [ $? = 0 ]
is "$(job_field h1 socket .state)" stunned "then it stands still"
on h1 godwit kill -KILL socket
for _ in $(seq 50); do job_lives h1 socket || break; sleep 0.1; done
job_lives h1 socket
check "and can be killed" [ $? != 0 ]
finish

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# flipd on three hosts: calls, endpoints that move, restarts, revocation, and what it may do to its own host.
. "$(dirname "$0")/lab.sh"

tools=$BUILD/tests/lab/tools
rpc=$BUILD/bench/rpc
lab_begin 3

# As seen from outside the lab: the process and the local socket of a host's flipd.
flipd_pid()
{
	lab ls --json | jq -r --arg host "$1" '.[] | select(.name == $host) | .flipd'
}
sock()
{
	# flipd's own root directory is empty
	echo "/proc/$(lab ls --json | jq -r --arg host "$1" '.[] | select(.name == $host) | .procd')/root/run/godwit/flip.sock"
}
serve()
{
	on "$1" "$rpc" serve >"$work/serve.$1" 2>&1 &
	server=$!
}
calls()
{
	on "$1" timeout 20 "$rpc" call "${@:2}" >"$work/call" 2>&1
}
said()
{
	grep -q "$2" "$work/$1"
}

runs()
{
	[ -r "/proc/$(flipd_pid "$1")/status" ]
}

tap_log=$work/call
check "flipd runs" until_true 10 runs h1
status=/proc/$(flipd_pid h1)/status
check "flipd has no capability" grep -q '^CapEff:[[:space:]]*0*$' "$status"
check "nor can it get one" grep -q '^CapBnd:[[:space:]]*0*$' "$status"
check "it has a system call filter" grep -q '^Seccomp:[[:space:]]*2$' "$status"
check "it is not root" sh -c "! grep -q '^Uid:[[:space:]]*0' $status"
is "$(ls -A "/proc/$(flipd_pid h1)/root/")" "" "nor any file"

serve h2
check "a call to another host" until_true 10 calls h1 1
check "a thousand, the same way" calls h1 1000
check "a call within a host" calls h2 1000
check "a megabyte there and back" calls h3 20 1048576
check "the longest message there is" calls h1 1 16777216
is "$(on h1 godwit ping -c 3 -i 0 --json h2 | jq -c '[.host, .answered, .failed]')" '["h2",3,0]' "godwit ping: a host answers"
on h1 godwit ping -c 1 nobody >"$work/ping"
is $? 1 "and what does not exist does not"
on h2 timeout 10 godwit trace --json -c 4 --host h3 >"$work/trace" &
trace=$!
until_true 10 eval 'calls h3 1; ! kill -0 $trace 2>/dev/null'
is "$(jq -rs 'map(select(.rpc == "REQUEST" and .sent == false)) | length > 0' "$work/trace")" true "godwit trace shows requests"
is "$(on h2 godwit flip --json | jq '[.ports[] | select(.here)] | length > 1')" true "godwit flip shows ports that are served"
is "$(on h2 setpriv --reuid=65534 --regid=65534 --clear-groups "$GODWIT" flip --json | jq -c '[.endpoints[].uid] | unique')" \
	'[65534]' "to others than root only what is theirs"
on h2 setpriv --reuid=65534 --regid=65534 --clear-groups timeout 10 "$GODWIT" trace >"$work/trace" 2>&1
is $? 1 "and nobody's messages"
tap_log=$work/move
timeout 60 "$tools/flipmove" "$(sock h1)" "$(sock h2)" "$(sock h3)" 40 >"$work/move" 2>&1
ok $? "an endpoint moves forty times while it is called"
timeout 60 "$tools/flipmove" "$(sock h1)" "$(sock h2)" "$(sock h1)" 40 >"$work/move" 2>&1
ok $? "the same with the client at one of its homes"
tap_log=$work/lease
timeout 60 "$tools/lease" "$(sock h1)" >"$work/lease" 2>&1
ok $? "a program whose connection is in the care of one who goes is called once, sooner or later: $(cat "$work/lease")"
is "$(jq -c '[.leaves < 1000, .undecided > 9900 and .undecided < 11500, .followed > 11900]' "$work/lease")" '[true,true,true]' \
	"at once if nothing was decided, after ten seconds if that is not known, and never before it is revoked if it was"
tap_log=$work/user
on h1 setpriv --reuid=65534 --regid=65534 --clear-groups timeout 5 "$rpc" serve >"$work/user" 2>&1
check "only root serves well-known ports" said user 'may not be served'
cat >"$work/rude.py" <<'END'
import os, socket, struct
for head in (os.urandom(4096), b"\xff" * 64, struct.pack(">IHHIiQ16sQIIQ", 0, 1, 0, 0, 0, 0, b"", 0, 0, 0, 99)):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(5)
    s.connect("/run/godwit/flip.sock")
    try:
        s.sendall(head)
        assert s.recv(1) == b""
    except ConnectionError:
        pass
u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(0, 1400, 7):
    for kind in (0, 1, 2, 3, 4):
        u.sendto(bytes([kind, 1]) + os.urandom(n), ("127.0.0.1", 3547))
END
pid=$(flipd_pid h1)
on h1 "$python" "$work/rude.py" >"$work/user" 2>&1
ok $? "who talks nonsense to flipd is shown the door"
check "and flipd goes on" calls h1 10
is "$(flipd_pid h1)" "$pid" "as the same process"

tap_log=$work/long
on h1 timeout 60 "$rpc" call 100000000 >"$work/long" 2>&1 &
long=$!
sleep 0.5
lab restart h2 flipd --kill 2>"$work/lab.err"
wait $long
check "a call to a host whose flipd is killed fails, and says so" said long 'the server was lost\|no server'
wait $server
check "the server hears of it" said serve.h2 'getreq'
serve h2
tap_log=$work/call
check "another server is found after the restart" until_true 10 calls h1 10

# Host 1 removes host 2's line.
on h1 sed -i '/^h2 /d' /run/godwit-etc/hosts
on h1 pkill -HUP -x flipd
sleep 0.2
calls h1 1
check "a revoked host is not heard" said call 'no server'
check "others still hear it" calls h3 10
kill $server 2>/dev/null
finish

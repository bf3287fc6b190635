#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# One user takes all that flipd and procd give him, in every way there is; another, and root, go on working.
. "$(dirname "$0")/lab.sh"

rpc=$BUILD/bench/rpc
lab_begin 1 --conf user_connections=100 --conf user_bytes=64M --conf user_calls=500 --conf user_endpoints=150 \
	--conf user_jobs=3 --conf user_requests=20 --conf user_operations=5

cat >"$work/flood.py" <<'END'
# flood.py HOW: says how much it got, then holds it until its standard input ends.
import hashlib, select, socket, struct, sys

HELLO, TRANS, OPEN, COUNTERS, SERVE = 1, 2, 4, 13, 6
BODY = 56
MIB = 1 << 20

def frame(kind, endpoint=1, id=0, port=b"", length=0, aux=0):
    return struct.pack(">IHHIiQ16sQIIQ", length, kind, 0, endpoint, 0, id, port, 0, 0, 0, aux)

def connect():
    s = socket.socket(socket.AF_UNIX)
    s.connect("/run/godwit/flip.sock")
    s.sendall(frame(HELLO, aux=1))
    return s

def refused(s):
    """Shown the door, or still there?"""
    s.settimeout(0.5)
    try:
        return s.recv(1) == b""
    except socket.timeout:
        return False
    except ConnectionError:
        return True

def push(s, data):
    """As much as it takes within a second."""
    s.settimeout(1)
    try:
        s.sendall(data)
        return True
    except (socket.timeout, ConnectionError):
        return False

def connections():
    all = []
    for i in range(300):
        try:
            all.append(connect())
        except ConnectionError:
            pass  # shown the door already
    got = 0
    for s in all:
        try:
            s.sendall(frame(COUNTERS))
            got += s.recv(1) != b""
        except ConnectionError:
            pass
    return got, all

def unread():
    s = connect()
    n = 0
    ask = frame(COUNTERS) * 1000
    while push(s, ask) and n < 200000:
        n += 1000
    return n, [s]

def halves():
    all = []
    for i in range(10):
        s = connect()
        push(s, frame(TRANS, id=1, port=b"n" * 16, length=BODY + 16 * MIB) + bytes(MIB))
        all.append(s)
    return len(all), all

def slow():
    """A server that takes nothing, and its port."""
    server = connect()
    server.sendall(frame(SERVE, id=1, port=b"slow slow slow s"))
    put = bytearray(hashlib.blake2b(b"slow slow slow s", digest_size=16, key=b"godwit get-port").digest())
    put[0] &= 0x7f
    return server, bytes(put)

def long():
    """Long requests to a server that takes none of them: how many were refused?"""
    server, port = slow()
    all, no = [server], 0
    for i in range(12):
        s = connect()
        push(s, frame(TRANS, id=1, port=port, length=BODY + 8 * MIB) + bytes(BODY + 8 * MIB))
        all.append(s)
    for s in all[1:]:
        if select.select([s], [], [], 0.2)[0]:
            no += 1
    return no, all

def calls():
    """Calls that are never answered: how many were turned away at once?"""
    server, port = slow()
    s = connect()
    for i in range(2000):
        s.sendall(frame(TRANS, id=i + 1, port=port, length=BODY) + bytes(BODY))
    s.settimeout(1)
    data = b""
    try:
        while len(data) < 2000 * 64:
            data += s.recv(65536)
    except socket.timeout:
        pass
    return sum(struct.unpack(">i", data[i + 12:i + 16])[0] == -5 for i in range(0, len(data), 64)), [s, server]

def endpoints():
    got, all = 0, []
    for i in range(4):
        s = connect()
        for n in range(2, 52):
            push(s, frame(OPEN, endpoint=n, aux=1))
        all.append(s)
    return sum(not refused(s) for s in all), all

def doors():
    """Comes and goes, as fast as it can, until told to stop."""
    print("at it", flush=True)
    n = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            connect().close()
        except OSError:
            pass
        n += 1
    return n, []

def stream():
    """Asks without end, from many connections, and reads the answers."""
    print("at it", flush=True)
    all = [connect() for i in range(50)]
    for s in all:
        s.setblocking(False)
    ask = frame(COUNTERS) * 500
    while sys.stdin not in select.select([sys.stdin] + all, all, [], 1)[0]:
        for s in all:
            try:
                s.send(ask)
                s.recv(1 << 20)
            except BlockingIOError:
                pass
    return 1, []

got, held = globals()[sys.argv[1]]()
print(got, flush=True)
sys.stdin.read()
END

a=1 b=65534
as()
{
	on h1 setpriv --reuid=$1 --regid=$1 --clear-groups "${@:2}"
}
# flood HOW: as user A, until `calm`; what it says goes to $work/said
flood()
{
	rm -f "$work/hold" "$work/said"
	mkfifo "$work/hold"
	as $a "$python" "$work/flood.py" "$1" <"$work/hold" >"$work/said" 2>"$work/err" &
	exec 7>"$work/hold"
	until_true 60 test -s "$work/said"
}
calm()
{
	exec 7>&-
	wait $!
}
said()
{
	head -1 "$work/said"
}
calls()
{
	as $1 timeout 20 "$rpc" call 200 >"$work/call" 2>&1
}
# Two hundred calls of user B and a look at the jobs by root, while A is at it.
others_work()
{
	local what=$1 mean
	tap_log=$work/call
	calls $b
	ok $? "another user calls, $what"
	mean=$(jq .mean_us "$work/call")
	[ "$(jq '.mean_us < 250000' "$work/call")" = true ]
	ok $? "and waits 250 ms at most for each on average ($mean us)"
	on h1 timeout 5 godwit ps >"$work/call" 2>&1
	ok $? "root sees his jobs"
}
on h1 "$rpc" serve >"$work/serve" 2>&1 &
until_true 10 calls $b
pid=$(lab ls --json | jq -r '.[0].flipd')

flood connections
is "$(said)" 100 "a user has his hundred connections"
others_work "while he has them"
calm
flood unread
check "who asks and never reads is cut off" test "$(said)" -lt 200000
others_work "meanwhile"
calm
flood halves
check "half requests" test "$(said)" = 10
others_work "meanwhile"
calm
flood long
is "$(said)" 5 "of twelve long requests that nobody takes seven are kept, in 64 MiB"
others_work "meanwhile"
calm
flood calls
is "$(said)" 1500 "calls beyond five hundred are turned away"
others_work "meanwhile"
calm
flood endpoints
is "$(said)" 3 "three times fifty endpoints are his hundred and fifty; the next is cut off"
calm
flood doors
others_work "while he comes and goes"
calm
flood stream
others_work "while he asks without end"
calm
# Three jobs, and of ended ones what is kept; long polls by the dozen.
for n in 1 2 3; do
	as $a godwit run -d --name a$n -- sleep 1000 >"$work/run" 2>&1
	ok $? "a user's job $n"
done
as $a godwit run -d --name a4 -- true >"$work/run" 2>&1
check "a fourth is refused" grep -q "user $a has 3 jobs on h1 already" "$work/run"
as $b godwit run --name b1 -- true >"$work/run" 2>&1
ok $? "another user has his"
for n in $(seq 25); do
	as $a timeout 60 godwit wait a1 >"$work/wait.$n" 2>&1 &
done
turned_away()
{
	[ "$(cat "$work"/wait.* | grep -c 'requests waiting at h1 already')" = 5 ]
}
until_true 20 turned_away
ok $? "of twenty-five who wait for a job five are turned away"
as $b godwit run --name b2 -- true >"$work/run" 2>&1
ok $? "another user is not"
on h1 godwit kill a1 >"$work/run" 2>&1
tap_log=$work/run
ok $? "nor is root"
as $a timeout 20 sh -c 'until godwit wait a1; do sleep 0.1; done' >"$work/run" 2>&1
rss=$(awk '/^VmHWM:/ { print int($2 / 1024) }' "/proc/$pid/status")
[ "$rss" -lt 300 ]
ok $? "flipd never had more than 300 MiB ($rss)"
is "$(lab ls --json | jq -r '.[0].flipd')" "$pid" "it is the same process"
check "he himself can call again" until_true 10 calls $a
finish

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A stranger on the same wire, who has recorded what two hosts said and has no key: he is not heard. Neither is a host
# whose line was taken away. What flipd, a shepherd and the reader of the hosts file may do on a host is seen here, too.
. "$(dirname "$0")/lab.sh"

rpc=$BUILD/bench/rpc
lab_begin 3

cat >"$work/wire.py" <<'END'
# wire.py record FILE: frames with FLIP's port, until standard input ends.
# wire.py replay FILE: sends them again, twice: as they are, and from this host's own address. Prints what came
#   back to that within two seconds, by type of datagram: BROADCAST is for everybody and does not count.
# wire.py noise ADDRESS: datagrams of all types and lengths; prints likewise.
# wire.py watch SOURCE DESTINATION SECONDS: how many datagrams went from one to the other, by type.
import os, select, socket, struct, sys, time

PORT = 3547
TYPES = {1: "BROADCAST", 2: "HELLO", 3: "DATA"}

def raw():
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    s.bind(("eth0", 0))
    return s

def parse(f):
    """(source, destination, payload) of a FLIP datagram, or None."""
    if len(f) < 42 or f[12:14] != b"\x08\x00" or f[23] != 17:
        return None
    at = 14 + (f[14] & 15) * 4
    if struct.unpack(">H", f[at + 2:at + 4])[0] != PORT:
        return None
    return socket.inet_ntoa(f[26:30]), socket.inet_ntoa(f[30:34]), f[at + 8:]

def record(path):
    s, out = raw(), open(path, "wb")
    print("ready", flush=True)
    while sys.stdin not in (r := select.select([s, sys.stdin], [], [])[0]):
        f = s.recv(65536)
        if parse(f):
            out.write(struct.pack(">I", len(f)) + f)

def frames(path):
    data, at = open(path, "rb").read(), 0
    while at < len(data):
        n = struct.unpack(">I", data[at:at + 4])[0]
        yield data[at + 4:at + 4 + n]
        at += 4 + n

def count(said):
    return " ".join(f"{TYPES.get(t, t)}:{n}" for t, n in sorted(said.items())) or "nothing"

def answers(u, said, seconds):
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0 or select.select([u], [], [], 0)[0]:
        if select.select([u], [], [], max(left, 0))[0]:
            d = u.recv(65536)
            if d[0] != 1:
                said[d[0]] = said.get(d[0], 0) + 1

def replay(path):
    s, said, n = raw(), {}, 0
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for f in frames(path):
        source, destination, payload = parse(f)
        at = 14 + (f[14] & 15) * 4
        try:
            # Not in the name of the one that is to hear it: the switch would look for that here.
            if source != "192.0.2.1":
                s.send(f[:at + 6] + b"\0\0" + f[at + 8:])  # without the checksum, which had not been made yet
            u.sendto(payload, ("192.0.2.1" if destination.startswith("239.") else destination, PORT))
        except OSError as e:
            print(len(f), e, file=sys.stderr)  # longer than a frame may be: what was recorded had not been cut yet
        n += 1
        if n % 64 == 0:
            answers(u, said, 0)
    answers(u, said, 2)
    print(n, count(said))

def noise(address):
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    said = {}
    for kind in range(6):
        for n in range(0, 1400, 23):
            u.sendto(bytes([kind, 1]) + os.urandom(n), (address, PORT))
    answers(u, said, 2)
    print(count(said))

def watch(source, destination, seconds):
    s, said, end = raw(), {}, time.monotonic() + float(seconds)
    print("ready", flush=True)
    while (left := end - time.monotonic()) > 0:
        if not select.select([s], [], [], left)[0]:
            continue
        f, where = s.recvfrom(65536)
        p = parse(f) if where[2] == socket.PACKET_OUTGOING else None
        if p and p[0] == source and p[1] == destination:
            said[p[2][0]] = said.get(p[2][0], 0) + 1
    print(count(said), flush=True)

globals()[sys.argv[1]](*sys.argv[2:])
END

address()
{
	on "$1" ip -4 -o addr show dev eth0 | awk '{ sub("/.*", "", $4); print $4 }'
}
sees()
{
	on "$1" godwit hosts | grep -q "^$2 .* $3\\>"
}
calls()
{
	on h2 timeout 10 "$rpc" call "$@" >"$work/call" 2>&1
}

# --- what runs where, as the kernel says it ---

status_of()
{
	echo "/proc/$1/status"
}
field()
{
	awk -v name="$2:" '$1 == name { print $2 }' "$(status_of "$1")"
}
on h1 godwit run -d --name j -- sleep 1000 >"$work/run" 2>&1
on h1 setpriv --reuid=65534 --regid=65534 --clear-groups godwit run -d --name u -- sleep 1000 >"$work/run" 2>&1
flipd=$(lab ls --json | jq -r '.[0].flipd')
reader=$(pgrep -P "$flipd" | head -1)
for pid in $flipd $reader; do
	what=$(cat "/proc/$pid/comm")
	is "$(field $pid CapEff) $(field $pid CapPrm) $(field $pid CapBnd)" "0000000000000000 0000000000000000 0000000000000000" \
		"$what has no capability and can get none"
	is "$(field $pid Seccomp) $(field $pid NoNewPrivs)" "2 1" "$what has a filter for good"
	[ "$(field $pid Uid)" != 0 ]
	ok $? "$what is not root"
done
[ "$(stat -L -c %d:%i "/proc/$flipd/root")" != "$(stat -L -c %d:%i /proc/self/root)" ] && [ -z "$(ls -A "/proc/$flipd/root/")" ]
ok $? "flipd's root directory is another, and empty"
shepherd=$(on h1 sh -c 'cat /sys/fs/cgroup/godwit/u/shepherd/cgroup.procs' | head -1)
on h1 grep -E '^(CapEff|CapPrm|CapBnd|Uid|NoNewPrivs)' "/proc/$shepherd/status" >"$work/shepherd"
tap_log=$work/shepherd
check "a shepherd has no capability" grep -q '^CapEff:[[:space:]]*0*$' "$work/shepherd"
check "and is its job's user" grep -q "^Uid:[[:space:]]*65534[[:space:]]*65534" "$work/shepherd"
is "$(on h1 stat -c %u "/proc/$shepherd/mem")" 0 "it is not dumpable: its files are root's"
! on h1 setpriv --reuid=65534 --regid=65534 --clear-groups cat "/proc/$shepherd/maps" >"$work/run" 2>&1
ok $? "so that its user cannot look into it"

# --- recorded at h1, while h2 calls it and starts a job there ---

a1=$(address h1) a2=$(address h2)
sed -i "s/192.0.2.1/$a1/" "$work/wire.py"
on h1 "$rpc" serve >"$work/serve" 2>&1 &
mkfifo "$work/hold"
on h1 "$python" "$work/wire.py" record "$work/frames" <"$work/hold" >"$work/said" 2>&1 &
recorder=$!
exec 7>"$work/hold"
until_true 10 test -s "$work/said"
lab restart h2 flipd 2>"$work/lab.err" # its HELLO is to be there
until_true 20 calls 20
on h2 setpriv --reuid=65534 --regid=65534 --clear-groups \
	godwit run --host h1 -- sh -c "echo once >>/tmp/godwit-replay-$$" >"$work/run" 2>&1
tap_log=$work/run
ok $? "h2 starts a job at h1"
calls 3 100000
exec 7>&-
wait $recorder
is "$(cat /tmp/godwit-replay-$$)" once "which leaves a mark"
tap_log=$work/said

# --- the same session ---

for daemon in flipd procd; do
	pid=$(lab ls --json | jq -r ".[2].$daemon")
	kill -STOP "$pid" # h3 is the stranger's now
done
replayed=$(flip_counter h1 seal_replayed)
on h3 "$python" "$work/wire.py" replay "$work/frames" >"$work/said" 2>"$work/errors"
read -r n said <"$work/said"
[ "${n:-0}" -gt 50 ]
ok $? "a stranger plays it back ($n datagrams)"
# A HELLO of this session is answered by an empty DATA, since it may be that the last one was lost.
case $said in nothing | HELLO:? | DATA:? | HELLO:?\ DATA:?) true ;; *) false ;; esac
ok $? "he gets next to nothing for it: $said"
[ "$(flip_counter h1 seal_replayed)" -gt $((replayed + 20)) ]
ok $? "that they were played back is counted"
is "$(cat /tmp/godwit-replay-$$)" once "nothing is done a second time"
check "the hosts go on talking" calls 20

# --- yesterday's ---

lab restart h1 flipd 2>"$work/lab.err"
lab restart h2 flipd 2>"$work/lab.err"
on h1 "$rpc" serve >"$work/serve" 2>&1 &
check "after a restart of both they talk again" until_true 20 calls 20
lab link h2 down
until_true 30 sees h1 h2 down
ok $? "then h2 falls silent"
bad=$(flip_counter h1 seal_bad) sessions=$(flip_counter h1 seal_sessions)
on h3 "$python" "$work/wire.py" replay "$work/frames" >"$work/said" 2>"$work/errors"
said=$(cut -d ' ' -f 2- "$work/said")
case $said in nothing | HELLO:?) true ;; *) false ;; esac
ok $? "a stranger plays back what was recorded before, and is told nothing: $said"
is "$(flip_counter h1 seal_sessions)" "$sessions" "no session comes of it"
[ "$(flip_counter h1 seal_bad)" -gt $((bad + 20)) ]
ok $? "what he sent is counted as bad"
check "h2 is still thought to be away" sees h1 h2 down
is "$(cat /tmp/godwit-replay-$$)" once "nothing is done a second time"
on h3 "$python" "$work/wire.py" noise "$a1" >"$work/said" 2>&1
is "$(cat "$work/said")" nothing "to nonsense there is no answer at all"
rm -f /tmp/godwit-replay-$$

# --- a host whose line was taken away ---

lab link h2 up
check "h2 comes back" until_true 30 calls 20
on h1 sed -i '/^h2 /d' /run/godwit-etc/hosts
on h1 pkill -HUP -x flipd
deaf()
{
	! calls 1
}
until_true 20 deaf
ok $? "its line is taken away and flipd told so: it is not heard any more"
unknown=$(flip_counter h1 seal_unknown)
on h2 "$python" "$work/wire.py" watch "$a1" "$a2" 3 >"$work/watched" &
watcher=$!
until_true 10 test -s "$work/watched"
calls 1
wait $watcher
is "$(tail -1 "$work/watched")" nothing "h1 says nothing to it"
[ "$(flip_counter h1 seal_unknown)" -gt "$unknown" ]
ok $? "and counts what it hears as a stranger's"
finish

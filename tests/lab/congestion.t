#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A link of 10 Mb/s with room for 100 ms in its queue: one sender of long messages fills it, two share it, and who only
# has a short question does not wait for them.
. "$(dirname "$0")/lab.sh"

rpc=$BUILD/bench/rpc
lab_begin 3 --rate 10mbit

on h1 "$rpc" serve >"$work/server" 2>&1 &
until_true 20 on h2 timeout 5 "$rpc" call 1 0 >"$work/small" 2>&1

# mean FILE: of a report, in us
mean()
{
	jq -r '.mean_us | floor' "$1"
}

# A megabyte there, and one back: 2 * 8 Mi bits.
on h2 timeout 120 "$rpc" call 4 1048576 >"$work/one" 2>&1
tap_log=$work/one ok $? "long messages pass"
tenths=$((1677721600 / $(mean "$work/one")))
[ "$tenths" -ge 880 ]
ok $? "and fill the link: $((tenths / 10)).$((tenths % 10)) % of it are data"

on h2 timeout 300 "$rpc" call 5 1048576 >"$work/a" 2>&1 &
a=$!
on h3 timeout 300 "$rpc" call 5 1048576 >"$work/b" 2>&1 &
b=$!
: >"$work/all"
while kill -0 $a 2>/dev/null && kill -0 $b 2>/dev/null; do
	on h2 timeout 60 "$rpc" call 10 0 >>"$work/all" 2>&1 || echo failed >>"$work/all"
done
wait $a
tap_log=$work/a ok $? "one of two bulk senders ends"
wait $b
tap_log=$work/b ok $? "and so does the other"
x=$(mean "$work/a") y=$(mean "$work/b")
[ "$x" -lt $((2 * y)) ] && [ "$y" -lt $((2 * x)) ]
ok $? "neither has starved the other: $((x / 1000)) and $((y / 1000)) ms a call"
! grep -q failed "$work/all"
tap_log=$work/all ok $? "short questions are answered meanwhile"
small=$(jq -s 'map(.median_us) | sort | .[length / 2 | floor]' "$work/all")
[ "$small" -lt 60000 ]
ok $? "after $((small / 1000)) ms, where the queue has room for 100"
is "$(jq -s 'map(select(.p99_us > 1000000)) | length' "$work/all")" 0 "none waited for a second"
finish

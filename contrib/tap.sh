#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# How prove runs one test: *.bats by bats, everything else is a program. Nothing may run for ever.
limit=${TEST_TIMEOUT:-900}
case $1 in
*.bats) exec timeout -k 10 "$limit" bats --tap "$1" ;;
*) exec timeout -k 10 "$limit" "$@" ;;
esac

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every victim after an attempt that is given up just before the commit, and a move. Arguments choose some.
. "$(dirname "$0")/victim_hop.sh"
HOP="-n 2 --cancel" hop_victims "$@"

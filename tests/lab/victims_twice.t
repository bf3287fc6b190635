#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every victim after two moves, pages sealed. Arguments choose some.
. "$(dirname "$0")/victim_hop.sh"
HOP="-n 2 --sealed" hop_victims "$@"

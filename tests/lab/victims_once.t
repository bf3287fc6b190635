#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every victim after one move, over a plain link. Arguments choose some.
. "$(dirname "$0")/victim_hop.sh"
hop_victims "$@"

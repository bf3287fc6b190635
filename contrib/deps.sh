#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the packages that godwit is built, tested and demonstrated with, if any is missing.
set -e
packages="
	build-essential git pkgconf protobuf-c-compiler clang-format cppcheck mandoc
	libuv1-dev libprotobuf-c-dev libsodium-dev libssl-dev libmnl-dev libseccomp-dev libcap-ng-dev libjansson-dev
	libzstd-dev liblz4-dev libcmocka-dev
	iproute2 util-linux procps perl bats iperf3
	spin clang libclang-rt-14-dev gdb
	python3 jq xz-utils zstd gzip sqlite3 bc
"
if ! command -v dpkg-query >/dev/null; then
	echo "deps: this is not Debian; these are needed, by their Debian names:" $packages >&2
	exit 0
fi
missing=
for p in $packages; do
	case $(dpkg-query -W -f '${Status}' "$p" 2>/dev/null) in
	"install ok installed") ;;
	*) missing="$missing $p" ;;
	esac
done
[ -z "$missing" ] && exit 0
echo "deps: installing$missing"
sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get -q update
$sudo apt-get -q install -y --no-install-recommends $missing

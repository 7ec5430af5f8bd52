#!/usr/bin/env bash
# Checks that this machine has what Baliza is built and tested with: Go, a C
# compiler (for the race detector) and a few Debian packages (for the lab).
# As root on Debian or Ubuntu it installs the missing packages; otherwise it
# says what is missing and how to get it. "deps.sh go" checks Go alone: no more is
# needed to build images and chart.
set -euo pipefail
cd "$(dirname "$0")/.."

go_minimum=1.26

# What the lab and its witnesses run: command or file, Debian package.
needed=(
	"ip       iproute2"
	"nft      nftables"
	"tcpdump  tcpdump"
	"arping   arping"
	"ndisc6   ndisc6"
	"curl     curl"
	"ping     iputils-ping"
	"ps       procps"
	"vtysh    frr"
	"birdc    bird2"
	"nsenter  util-linux"
	"ctr      containerd"
	"runc     runc"
	"/usr/lib/cni/ptp containernetworking-plugins"
	"bgpctl   openbgpd"
	"exabgp   exabgp"
	"promtool prometheus"
)

fail() {
	echo "deps: $*" >&2
	exit 1
}

check_go() {
	command -v go >/dev/null ||
		fail "Go is not installed. Install Go $go_minimum or newer from https://go.dev/dl/ and put it on the PATH."
	local version
	version=$(go env GOVERSION 2>&1) ||
		fail "the installed Go cannot build this module (Go $go_minimum or newer is needed): $version"
	local oldest
	oldest=$(printf '%s\n' "$go_minimum" "${version#go}" | sort -V | head -n 1)
	[[ $oldest == "$go_minimum" ]] ||
		fail "$version is too old. Install Go $go_minimum or newer from https://go.dev/dl/."
}

# The race detector needs a C compiler and the C library's headers. The answer
# is remembered in bin/, which "make clean" removes.
check_c() {
	local cc
	cc=$(go env CC)
	[[ -e bin/.c-compiler-works ]] && command -v "${cc%% *}" >/dev/null && return
	# shellcheck disable=SC2086 # CC may hold options
	echo '#include <stdlib.h>
int main(void) { return EXIT_SUCCESS; }' | $cc -x c -o /dev/null - 2>/dev/null ||
		fail "no working C compiler ($cc), which the race detector needs. On Debian or Ubuntu: apt-get install gcc libc6-dev"
	mkdir -p bin
	touch bin/.c-compiler-works
}

missing_packages() {
	local command package
	for line in "${needed[@]}"; do
		read -r command package <<<"$line"
		# Two Debian packages have an arping; the tests read the output of this one.
		if [[ $command == arping ]] && command -v arping >/dev/null; then
			{ arping --help 2>&1 || true; } | grep -qi habets || echo "$package"
		elif ! command -v "$command" >/dev/null; then
			echo "$package"
		fi
	done
	# Without it nothing can be downloaded over https.
	if [[ -e /etc/debian_version && ! -e /etc/ssl/certs/ca-certificates.crt ]]; then
		echo ca-certificates
	fi
}

install_packages() {
	export DEBIAN_FRONTEND=noninteractive
	local options=(-y -q --no-install-recommends)
	echo "deps: installing $*"
	# The lab starts the routers itself: none may start on this machine now.
	if [[ ! -e /usr/sbin/policy-rc.d ]]; then
		printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
		chmod +x /usr/sbin/policy-rc.d
		trap 'rm -f /usr/sbin/policy-rc.d' EXIT
	fi
	# The package lists of a fresh machine are absent or stale.
	apt-get install "${options[@]}" "$@" >/dev/null 2>&1 && return
	echo "deps: refreshing the package lists"
	apt-get update -q >/dev/null || fail "apt-get update failed; see above."
	apt-get install "${options[@]}" "$@" >/dev/null ||
		fail "apt-get could not install: $*"
}

# Programs of the administrator are not on every user's PATH.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
[[ $(uname -s) == Linux ]] || fail "the lab needs Linux; this is $(uname -s)."
check_go
[[ ${1:-} != go ]] || exit 0
check_c
mapfile -t missing < <(missing_packages)
[[ ${#missing[@]} -eq 0 ]] && exit 0
if [[ $(id -u) -eq 0 ]] && command -v apt-get >/dev/null; then
	install_packages "${missing[@]}"
	mapfile -t missing < <(missing_packages)
	[[ ${#missing[@]} -eq 0 ]] || fail "still missing after the installation: ${missing[*]}"
	exit 0
fi
echo "deps: missing: ${missing[*]}" >&2
if command -v apt-get >/dev/null; then
	fail "install them with: sudo apt-get install ${missing[*]}"
fi
fail "these are the names of Debian packages; install what provides them on your system."

#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Installs what a local cluster needs of Debian, and nothing that is there already: hack/prepare.sh
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin

# package: how to tell that what it brings is there, from whatever source.
missing=()
need() {
  local package=$1
  shift
  "$@" >/dev/null 2>&1 || missing+=("$package")
}
need ca-certificates test -s /etc/ssl/certs/ca-certificates.crt
need containerd command -v containerd
need runc command -v runc
need containernetworking-plugins test -x /usr/lib/cni/bridge
need nftables command -v nft
need iptables command -v iptables
need conntrack command -v conntrack
need iproute2 command -v ip
need procps command -v ps
need util-linux command -v nsenter

if ((${#missing[@]} == 0)); then
  exit 0
fi
if ! command -v apt-get >/dev/null; then
  echo "hack/prepare.sh: install what brings these Debian packages' programs: ${missing[*]}" >&2
  exit 1
fi
if ((EUID != 0)); then
  echo "hack/prepare.sh: needs root to install: ${missing[*]}" >&2
  exit 1
fi

echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp -t fairlead.XXXXXX)
trap 'rm -f "$log"' EXIT
# Nothing that is installed goes away for it: a machine may have Docker with a containerd of its own.
if ! { apt-get update -q && apt-get install -y -q --no-install-recommends --no-remove "${missing[@]}"; } >"$log" 2>&1 </dev/null; then
  tail -n 40 "$log" >&2
  echo "hack/prepare.sh: apt-get failed" >&2
  exit 1
fi
# The cluster starts a containerd of its own; the service that the package starts is not wanted.
if [[ " ${missing[*]} " == *" containerd "* && -d /run/systemd/system ]]; then
  systemctl disable --now --quiet containerd.service || true
fi

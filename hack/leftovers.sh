#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Tells what a run left on the machine:
#   hack/leftovers.sh record DIR   writes down what there is now
#   hack/leftovers.sh check DIR    lists what has been added since, and fails if there is anything
# Looked at are namespaces, links, mounts, nftables tables, control groups, processes and files. Caches of Go, npm and
# Fairlead may grow, what .gitignore names may stay in the checkout, and other programs of the machine may write files:
# those count whose path tells that they are ours, of a cluster's programs, of MCP clients or of a test.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}

usage="usage: hack/leftovers.sh record|check DIR"
action=${1:?$usage}
record=${2:?$usage}
mkdir -p "$record"
record=$(cd "$record" && pwd)

namespaces() { ip netns list | awk '{print $1}'; }
links() { ip -o link | awk -F': ' '{print $2}'; }
mounts() { awk '{print $5}' /proc/self/mountinfo; }
tables() { if command -v nft >/dev/null; then nft list tables; fi; }
groups() { find /sys/fs/cgroup -mindepth 1 -type d \( -name '*fairlead*' -o -name 'kubepods*' \) -prune 2>/dev/null || true; }

# Processes of ours: they run in another network or mount namespace, or their program, folder or arguments lie in
# the cache, the checkout or the cluster's folder. This script and what started it do not count.
processes() {
  local own_net own_mnt ours=" " pid=$$ entry text
  own_net=$(readlink /proc/self/ns/net)
  own_mnt=$(readlink /proc/self/ns/mnt)
  while ((pid > 1)); do
    ours+="$pid "
    pid=$(awk '/^PPid:/ {print $2}' "/proc/$pid/status")
  done
  for entry in /proc/[0-9]*; do
    pid=${entry#/proc/}
    # A kernel thread has no program; a process may end while it is looked at.
    text=$(readlink "$entry/exe" 2>/dev/null) || continue
    if [[ $ours == *" $pid "* || $(awk '/^PPid:/ {print $2}' "$entry/status" 2>/dev/null) == "$$" || $pid == "$BASHPID" ]]; then
      continue
    fi
    text+=" $(readlink "$entry/cwd" 2>/dev/null || true) $(tr '\0' ' ' <"$entry/cmdline" 2>/dev/null || true)"
    if [[ $text == *"$cache"* || $text == *"$root"* || $text == */var/lib/fairlead* ||
      $(readlink "$entry/ns/net" 2>/dev/null) != "$own_net" || $(readlink "$entry/ns/mnt" 2>/dev/null) != "$own_mnt" ]]; then
      # The time of the start tells apart two processes of one number.
      printf '%s %s %s\n' "$pid" "$(awk '{print $22}' "$entry/stat" 2>/dev/null)" "${text:0:160}"
    fi
  done
}

files() {
  local skip=() path
  for path in "$cache" "$root" "$record" "$(go env GOCACHE)" "$(go env GOMODCACHE)" "$(go env GOTMPDIR)" "${npm_config_cache:-$HOME/.npm}" \
    "${XDG_CACHE_HOME:-$HOME/.cache}" "$HOME/.config/go" /tmp/node-compile-cache '/tmp/go-build*' '/tmp/go-link*' \
    /var/log /var/cache /var/lib/apt /var/lib/dpkg /run/systemd /run/udev /run/log /var/lib/systemd; do
    if [[ -n $path ]]; then
      skip+=(-path "$path" -o)
    fi
  done
  find /etc /var /run /tmp /opt /srv /usr/local "$HOME" -xdev \( "${skip[@]}" -false \) -prune -o \( -type f -o -type d -o -type s -o -type l \) -print 2>/dev/null |
    grep -E 'fairlead|kube|cni|containerd|coredns|etcd|mcp|/Test[A-Z]' || true
  git -C "$root" status --porcelain
}

found=0
for what in namespaces links mounts tables groups processes files; do
  if [[ $action == record ]]; then
    "$what" | sort >"$record/$what"
    continue
  fi
  "$what" | sort >"$record/$what.now"
  added=$(comm -13 "$record/$what" "$record/$what.now")
  if [[ -n $added ]]; then
    found=1
    echo "left behind, $what:"
    head -n 40 <<<"$added" | sed 's/^/  /'
  fi
done
if [[ $action == check ]]; then
  if ((found)); then
    exit 1
  fi
  echo "nothing is left behind"
fi

#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Builds a tool of hack/tools once and runs it: hack/tool.sh NAME [ARGUMENT...]
#
# Each tool is a module of its own, so that its dependencies never meet the product's. The binary lies in the
# cache under a name that holds the sums of its module files and the Go version: a new version is a new file,
# and a build that was interrupted never leaves a half one under the final name.
# `hack/tool.sh --path NAME` prints where the binary is, after building it when needed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=${FAIRLEAD_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fairlead}

print=false
if [[ ${1:-} == --path ]]; then
  print=true
  shift
fi
name=${1:?usage: hack/tool.sh [--path] NAME [ARGUMENT...]}
shift
module=$root/hack/tools/$name
if [[ ! -f $module/go.mod ]]; then
  echo "hack/tool.sh: no tool is named \"$name\"; there are: $(ls "$root/hack/tools" | tr '\n' ' ')" >&2
  exit 2
fi

package=$(sed -n 's/^tool //p' "$module/go.mod")
key=$(cat "$module/go.mod" "$module/go.sum" <(go env GOVERSION GOOS GOARCH) | sha256sum | cut -c1-16)
binary=$cache/bin/$name-$key

if [[ ! -x $binary ]]; then
  mkdir -p "$cache/bin"
  # One builder at a time; the others wait and find the binary.
  exec 9>"$cache/bin/.$name.lock"
  flock 9
  if [[ ! -x $binary ]]; then
    echo "Building $name (once; golangci-lint and helm take a minute or two, the others seconds)" >&2
    temporary=$(mktemp "$cache/bin/.$name.XXXXXX")
    trap 'rm -f "$temporary"' EXIT
    (cd "$module" && CGO_ENABLED=0 GOWORK=off go build -trimpath -buildvcs=false -ldflags='-s -w' -o "$temporary" "$package")
    chmod 0755 "$temporary"
    mv "$temporary" "$binary"
    trap - EXIT
  fi
  exec 9>&-
fi

if $print; then
  echo "$binary"
  exit 0
fi
exec "$binary" "$@"

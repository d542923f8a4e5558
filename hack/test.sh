#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Runs the tests of all modules, or only those of the named packages: hack/test.sh [-FLAG=VALUE...] [PACKAGE...]
# Flags go to `go test`.
#
# Tests that start a real API server wait for its binaries; those are built once, in the background, while the
# others run. The last line counts: N passed, N failed.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

flags=()
tags=()
while [[ ${1:-} == -* ]]; do
  flags+=("$1")
  if [[ $1 == -tags=* ]]; then
    tags+=("$1")
  fi
  shift
done
if (($# == 0)); then
  set -- ./...
fi

work=$(mktemp -d -t fairlead.XXXXXX)
assets_pid=
cleanup() {
  if [[ -n $assets_pid ]]; then
    # The builder gives up at a signal; its cache stays whole.
    kill "$assets_pid" 2>/dev/null || true
    wait "$assets_pid" 2>/dev/null || true
  fi
  rm -rf "$work"
}
trap cleanup EXIT

# Packages whose tests need a running API server: those that reach envtest.
go list "${tags[@]}" -f '{{.ImportPath}}' "$@" | sort -u >"$work/all"
go list "${tags[@]}" -test -f '{{$p := .ImportPath}}{{range .Deps}}{{if eq . "sigs.k8s.io/controller-runtime/pkg/envtest"}}{{$p}}{{"\n"}}{{end}}{{end}}' "$@" |
  sed -n 's/\.test$//p' | sort -u >"$work/api-server"
comm -23 "$work/all" "$work/api-server" >"$work/others"

if [[ -s $work/api-server && -z ${KUBEBUILDER_ASSETS:-} ]]; then
  nice -n 10 go -C hack/cluster run . assets >"$work/assets" 2>"$work/assets.log" &
  assets_pid=$!
fi

if grep -qE '/test/(clients|conformance)$' "$work/all"; then
  hack/npm.sh
fi

go build -o "$work/testsum" ./hack/testsum
failed=0
# Streams the results of the tests of one module, and adds their counts to the summary.
run() {
  local module=$1
  shift
  (cd "$module" && go test -json "${flags[@]}" "$@") | "$work/testsum" -summary "$work/summary" -digest "$work/digest" || failed=1
}

if [[ -s $work/others ]]; then
  mapfile -t others <"$work/others"
  run . "${others[@]}"
fi
# The workshop has tests too; only a run of everything includes them.
if [[ $* == ./... ]]; then
  for module in $(hack/modules.sh); do
    if [[ $module != . && -n $(cd "$module" && go list -f '{{if .TestGoFiles}}x{{end}}{{if .XTestGoFiles}}x{{end}}' ./... 2>/dev/null) ]]; then
      # Results are not taken from Go's cache: it does not see the files that they read outside of their module.
      run "$module" -count=1 ./...
    fi
  done
fi
if [[ -s $work/api-server ]]; then
  if [[ -n $assets_pid ]]; then
    echo "Waiting for kube-apiserver and etcd (built once)" >&2
    built=0
    wait "$assets_pid" || built=$?
    assets_pid=
    if ((built != 0)); then
      cat "$work/assets.log" >&2
      echo "hack/test.sh: failed to build what the API server's tests need" >&2
      exit 1
    fi
    KUBEBUILDER_ASSETS=$(tail -n 1 "$work/assets")
    export KUBEBUILDER_ASSETS
  fi
  mapfile -t with_api_server <"$work/api-server"
  run . "${with_api_server[@]}"
fi

# What failed is told once more where one looks first.
if [[ -s $work/digest ]]; then
  printf '\nWhat failed:\n'
  cat "$work/digest"
fi
"$work/testsum" -total "$work/summary" || failed=1
exit "$failed"

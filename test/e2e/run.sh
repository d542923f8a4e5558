#!/usr/bin/env bash
# Copyright The Fairlead Authors.
# SPDX-License-Identifier: Apache-2.0

# Runs the tests of a real cluster: test/e2e/run.sh [--soak TIME] [-FLAG=VALUE...]
# Brings the local cluster up, installs the operator from config/default and runs the tests inside of the cluster's
# network, as a client in the cluster would see it. Flags go to the test program, such as -test.run=TestClients.
# Beside them a runtime outside of the cluster is kept busy for TIME (test/soak). Without flags that is 3m, and the test
# that kills, deletes and replaces pods under clients of every era goes on for 4m.
# The cluster stays up for the next run; `make cluster-down` removes it.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

soak=
if [[ ${1:-} == --soak ]]; then
  soak=$2
  shift 2
elif (($# == 0)); then
  soak=3m
  set -- -chaos-for=4m
fi

cluster() { "$root/bin/cluster" "$@"; }
step() { printf '==> %s (%ds)\n' "$*" "$SECONDS" >&2; }

# Builds the images that only these tests need: their clients, and the runtime under the two tags that an upgrade goes
# between. A version of its own makes the second another program.
build_images() {
  local images=bin/e2e-images
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o bin/fairlead-e2e-streams ./test/e2e/streams
  rm -rf "$images"
  mkdir -p "$images/binaries"
  CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w -X main.version=next' -o "$images/binaries/fairlead-runtime" ./runtime
  bin/image-builder -binaries bin -output "$images" -specs test/e2e/images.json
  bin/image-builder -binaries "$images/binaries" -output "$images" -only fairlead-runtime -tag next -version next
}

step "Building images and tests"
hack/demo/demo.sh build
build_images
CGO_ENABLED=0 go test -c -tags e2e -o bin/e2e.test ./test/e2e
go test -c -tags e2e -o bin/soak.test ./test/soak
go build -o bin/testsum ./hack/testsum
hack/npm.sh

helm=$(hack/tool.sh --path helm)

step "Starting the cluster"
cluster up --with metrics-server --with traefik
cluster load "$root"/bin/images/*.tar "$root"/bin/e2e-images/*.tar

step "Installing the operator"
cluster kubectl -- apply --server-side --force-conflicts -k "$root/config/default"
# Images keep their names: what ran an earlier build is replaced.
cluster kubectl -- -n fairlead-system rollout restart deployment
cluster kubectl -- -n fairlead-system rollout status deployment --timeout=180s

# Prints what a test program says, and counts at the end.
rm -f bin/e2e-digest.txt bin/soak-digest.txt
summed() { go tool test2json -t -p "fairlead.dev/fairlead/test/$1" "${@:2}" | bin/testsum -verbose -digest "bin/$1-digest.txt"; }

step "Testing"
KUBECONFIG=$(cluster kubeconfig --inside)
export KUBECONFIG FAIRLEAD_ROOT=$root
soaking=
if [[ -n $soak ]]; then
  # Both take minutes, and neither needs much of the machine. In a group of its own it is found when this script ends early.
  set -m
  summed soak "$root/bin/soak.test" -test.v=test2json -test.timeout=2h -soak-for="$soak" >bin/soak.txt 2>&1 &
  soaking=$!
  set +m
  trap 'kill -- "-$soaking" 2>/dev/null || true' EXIT
fi
failed=0
cluster exec -- env KUBECONFIG="$KUBECONFIG" FAIRLEAD_ROOT="$root" FAIRLEAD_HELM="$helm" \
  go tool test2json -t -p fairlead.dev/fairlead/test/e2e "$root/bin/e2e.test" -test.v=test2json -test.timeout=30m -test.parallel=6 "$@" |
  bin/testsum -verbose -digest bin/e2e-digest.txt || failed=1
if [[ -n $soaking ]]; then
  step "Waiting for the soak"
  wait "$soaking" || failed=1
  cat bin/soak.txt
fi
if ((failed)); then
  # Of a long output one sees the end.
  step "What failed"
  cat bin/*-digest.txt
fi
exit "$failed"

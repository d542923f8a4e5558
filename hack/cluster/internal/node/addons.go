// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"path/filepath"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/pki"
)

// MetricsServerPort is where the metrics server listens, at the node's address: the API server goes there for
// metrics.k8s.io.
const MetricsServerPort = "4443"

// Addon returns the program of an addon, and false for a name that is none. bin is the folder of the built programs.
func Addon(l layout.Layout, bin, name string) (Program, bool) {
	if name != binaries.MetricsServer {
		return Program{}, false
	}
	address := layout.NodeIP + ":" + MetricsServerPort
	return Program{name, filepath.Join(bin, name), metricsServerArgs(l), dialReady("tcp", address)}, true
}

func metricsServerArgs(l layout.Layout) []string {
	kubeconfig := pki.KubeconfigOf(l, pki.MetricsServer)
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=" + layout.NodeIP,
		"--secure-port=" + MetricsServerPort,
		"--cert-dir=" + l.Path("pki", "metrics-server"),
		"--kubelet-preferred-address-types=InternalIP",
		// The shortest that it takes, if no question to the kubelet may last as long; the kubelet measures no more often.
		"--kubelet-request-timeout=5s",
		"--metric-resolution=10s",
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"path/filepath"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/pki"
)

// Where addons listen, at the node's address.
const (
	// MetricsServerPort is where the API server goes for metrics.k8s.io.
	MetricsServerPort = "4443"
	// TraefikPort takes the requests for all Ingresses.
	TraefikPort = "8000"
)

// Addon returns the program of an addon, and false for a name that is none. bin is the folder of the built programs.
func Addon(l layout.Layout, bin, name string) (Program, bool) {
	program := Program{Name: name, Path: filepath.Join(bin, name)}
	switch name {
	case binaries.MetricsServer:
		program.Args = metricsServerArgs(l)
	case binaries.Traefik:
		program.Args = traefikArgs()
		program.Env = []string{"KUBECONFIG=" + pki.KubeconfigOf(l, pki.Traefik)}
	default:
		return Program{}, false
	}
	return program, true
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

// traefikArgs leave Traefik's settings as they are wherever a stream or a retry is concerned: what passes here passes
// what most people run.
func traefikArgs() []string {
	return []string{
		"--global.checknewversion=false",
		"--global.sendanonymoususage=false",
		"--entrypoints.web.address=" + layout.NodeIP + ":" + TraefikPort,
		"--ping=true",
		"--ping.entrypoint=web",
		"--providers.kubernetesingress=true",
		"--providers.kubernetesingress.ingressendpoint.ip=" + layout.NodeIP,
		"--log.level=INFO",
		"--log.nocolor=true",
		// One line for each request that Traefik or a server refused.
		"--accesslog=true",
		"--accesslog.filters.statuscodes=400-599",
		// The supervisor waits for five seconds.
		"--entrypoints.web.transport.lifecycle.gracetimeout=1s",
	}
}

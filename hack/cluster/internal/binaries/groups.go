// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import "time"

// Names of the programs that other packages start.
const (
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
	Kubelet           = "kubelet"
	Proxy             = "kube-proxy"
	Kubectl           = "kubectl"
	Etcd              = "etcd"
	CoreDNS           = "coredns"
	MetricsServer     = "metrics-server"
	Traefik           = "traefik"
	Pause             = "pause"
	Probe             = "probe"
)

// group is one Go module and the programs that are built in it. Modules are separate because their dependencies exclude
// each other.
type group struct {
	// dir is the module's folder below hack/cluster.
	dir string
	// versionOf is the module whose version names the release; empty for programs of this repository.
	versionOf string
	// stamp is the variable prefix that takes the version at link time; empty if the program finds its version itself.
	stamp string
	// packages maps a program's name to its package path.
	packages map[string]string
	// cold is what building the whole group took on two idle cores with empty caches.
	cold time.Duration
}

// groups returns every module that the cluster is built from. To add an addon, put its module below build/ and add it here.
func groups() []group {
	const kubernetes = "k8s.io/kubernetes/cmd/"
	return []group{
		{
			dir: "build/etcd", versionOf: "go.etcd.io/etcd/server/v3",
			packages: map[string]string{Etcd: "go.etcd.io/etcd/server/v3"},
			cold:     45 * time.Second,
		},
		{
			dir: "build/kubernetes", versionOf: "k8s.io/kubernetes", stamp: "k8s.io/component-base/version",
			packages: map[string]string{
				APIServer:         kubernetes + APIServer,
				ControllerManager: kubernetes + ControllerManager,
				Scheduler:         kubernetes + Scheduler,
				Kubelet:           kubernetes + Kubelet,
				Proxy:             kubernetes + Proxy,
				Kubectl:           kubernetes + Kubectl,
			},
			cold: 5 * time.Minute,
		},
		{
			dir: "build/coredns", versionOf: "github.com/coredns/coredns",
			packages: map[string]string{CoreDNS: "."},
			cold:     75 * time.Second,
		},
		{
			dir: "build/metrics-server", versionOf: "sigs.k8s.io/metrics-server",
			packages: map[string]string{MetricsServer: "sigs.k8s.io/metrics-server/cmd/metrics-server"},
			cold:     2 * time.Minute,
		},
		{
			dir: "build/traefik", versionOf: "github.com/traefik/traefik/v3",
			packages: map[string]string{Traefik: "github.com/traefik/traefik/v3/cmd/traefik"},
			cold:     5 * time.Minute,
		},
		{
			dir:      "pods",
			packages: map[string]string{Pause: "./pause", Probe: "./probe"},
			cold:     5 * time.Second,
		},
	}
}

// Assets are the programs that envtest needs.
func Assets() []string { return []string{Etcd, APIServer, Kubectl} }

// Addons are the programs that a cluster runs only when asked to, by the name that `up --with` takes.
func Addons() []string { return []string{MetricsServer, Traefik} }

// All are the programs that a cluster needs.
func All() []string {
	return []string{
		Etcd, APIServer, Kubectl, ControllerManager, Scheduler, Kubelet, Proxy, CoreDNS, Pause,
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package layout names everything that the local cluster occupies on a machine: one folder, one network namespace, one
// cgroup, and the addresses inside. A machine holds at most one such cluster.
package layout

import "path/filepath"

// Names and addresses of the cluster. All addresses exist only inside its network namespace.
const (
	// DefaultRoot holds everything that lives as long as one cluster. It is short because unix socket paths are
	// limited to 107 bytes.
	DefaultRoot = "/var/lib/fairlead-cluster"
	// Netns is the name of the network namespace, as `ip netns` shows it.
	Netns = "fairlead"
	// NetnsPath is the file that keeps the network namespace alive.
	NetnsPath = "/run/netns/" + Netns
	// Cgroup is the name of the control group, in every hierarchy, that holds each process of the cluster.
	Cgroup = "fairlead-cluster"
	// NodeName is the name of the only node.
	NodeName = "fairlead"
	// NodeIP is the address of the node and of the API server.
	NodeIP = "10.245.0.1"
	// NodePrefix is NodeIP with the length of its network.
	NodePrefix = NodeIP + "/24"
	// ServiceCIDR is the range of ClusterIPs.
	ServiceCIDR = "10.96.0.0/16"
	// APIServiceIP is the ClusterIP of the Service kubernetes.default.
	APIServiceIP = "10.96.0.1"
	// DNSServiceIP is the ClusterIP of the cluster's name server.
	DNSServiceIP = "10.96.0.10"
	// PodCIDR is the range of pod addresses.
	PodCIDR = "10.244.0.0/16"
	// NodePodCIDR is the part of PodCIDR that the only node hands out.
	NodePodCIDR = "10.244.0.0/24"
	// Domain is the cluster's DNS domain.
	Domain = "cluster.local"
	// APIPort is where the API server listens inside the namespace.
	APIPort = "6443"
	// DefaultAPIListen is where the API server is reached from outside the namespace.
	DefaultAPIListen = "127.0.0.1:16443"
	// PauseImage is the image of every pod's sandbox.
	PauseImage = "docker.io/local/pause:1"
)

// APIInside is the API server's address inside the namespace.
func APIInside() string { return NodeIP + ":" + APIPort }

// Layout answers where the files of a cluster are. The zero value is unusable: set Root.
type Layout struct {
	// Root is the folder that holds all files, DefaultRoot outside of tests.
	Root string
}

// Path joins elem to the root.
func (l Layout) Path(elem ...string) string {
	return filepath.Join(append([]string{l.Root}, elem...)...)
}

// PKI is a file below the folder of certificates and keys.
func (l Layout) PKI(name string) string { return l.Path("pki", name) }

// Config is a file below the folder of the programs' settings.
func (l Layout) Config(name string) string { return l.Path("config", name) }

// Log is the log file of one program.
func (l Layout) Log(program string) string { return l.Path("logs", program+".log") }

// Record is the file that says which process runs a program.
func (l Layout) Record(program string) string { return l.Path("processes", program+".json") }

// Containerd is the socket of the cluster's containerd.
func (l Layout) Containerd() string { return l.Path("containerd.sock") }

// Self is the copy of this program that the supervisor runs; `go run` deletes the original.
func (l Layout) Self() string { return l.Path("fairlead-cluster") }

// KubeconfigOutside is the administrator's kubeconfig for the machine's own network.
func (l Layout) KubeconfigOutside() string { return l.Path("admin.kubeconfig") }

// KubeconfigInside is the administrator's kubeconfig for programs inside the namespace.
func (l Layout) KubeconfigInside() string { return l.Path("admin-inside.kubeconfig") }

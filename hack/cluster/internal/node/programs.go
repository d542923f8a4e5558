// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"context"
	"path/filepath"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/pki"
)

// Program is one long-running part of the cluster.
type Program struct {
	Name string
	// Path is the executable file.
	Path string
	Args []string
	// Env is added to the environment of whoever starts it.
	Env []string
	// Ready returns nil once the program answers; a nil Ready means that nothing waits for it.
	Ready func(ctx context.Context) error
}

// Programs returns every program in the order of its start. The reverse is the order of stopping: the kubelet first, so
// that it restarts no container that is being stopped. bin is the folder of the built programs.
func Programs(l layout.Layout, bin string) []Program {
	at := func(name string) string { return filepath.Join(bin, name) }
	return []Program{
		{Name: binaries.Etcd, Path: at(binaries.Etcd), Args: etcdArgs(l), Ready: dialReady("tcp", "127.0.0.1:2379")},
		{Name: binaries.APIServer, Path: at(binaries.APIServer), Args: apiServerArgs(l), Ready: apiReady(l)},
		{Name: "containerd", Path: "containerd", Args: []string{"--config", l.Config(containerdFile)}, Ready: dialReady("unix", l.Containerd())},
		{Name: binaries.ControllerManager, Path: at(binaries.ControllerManager), Args: controllerManagerArgs(l)},
		{Name: binaries.Scheduler, Path: at(binaries.Scheduler), Args: schedulerArgs(l)},
		{Name: binaries.CoreDNS, Path: at(binaries.CoreDNS), Args: []string{"-conf", l.Config(corefile)}},
		{Name: binaries.Proxy, Path: at(binaries.Proxy), Args: proxyArgs(l)},
		{Name: binaries.Kubelet, Path: at(binaries.Kubelet), Args: kubeletArgs(l)},
	}
}

func etcdArgs(l layout.Layout) []string {
	return []string{
		"--name=fairlead",
		"--data-dir=" + l.Path("etcd"),
		"--listen-client-urls=http://127.0.0.1:2379",
		"--advertise-client-urls=http://127.0.0.1:2379",
		"--listen-peer-urls=http://127.0.0.1:2380",
		"--initial-advertise-peer-urls=http://127.0.0.1:2380",
		"--initial-cluster=fairlead=http://127.0.0.1:2380",
		// The data need not survive a crash of the machine: `up` starts anew then.
		"--unsafe-no-fsync",
		"--log-level=warn",
	}
}

func apiServerArgs(l layout.Layout) []string {
	cert := func(name string) string { return l.PKI(name + ".crt") }
	key := func(name string) string { return l.PKI(name + ".key") }
	return []string{
		"--advertise-address=" + layout.NodeIP,
		"--bind-address=0.0.0.0",
		"--secure-port=" + layout.APIPort,
		"--cert-dir=" + l.Path("pki"),
		"--etcd-servers=http://127.0.0.1:2379",
		"--service-cluster-ip-range=" + layout.ServiceCIDR,
		"--authorization-mode=Node,RBAC",
		"--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--client-ca-file=" + cert(pki.CA),
		"--tls-cert-file=" + cert(pki.APIServer),
		"--tls-private-key-file=" + key(pki.APIServer),
		"--service-account-issuer=https://kubernetes.default.svc." + layout.Domain,
		"--service-account-key-file=" + cert(pki.ServiceAccount),
		"--service-account-signing-key-file=" + key(pki.ServiceAccount),
		"--kubelet-certificate-authority=" + cert(pki.CA),
		"--kubelet-client-certificate=" + cert(pki.KubeletClient),
		"--kubelet-client-key=" + key(pki.KubeletClient),
		"--kubelet-preferred-address-types=InternalIP",
		// For aggregated APIs such as metrics-server; without these they answer 403.
		"--requestheader-client-ca-file=" + cert(pki.CA),
		"--requestheader-allowed-names=" + pki.FrontProxyName,
		"--requestheader-username-headers=X-Remote-User",
		"--requestheader-group-headers=X-Remote-Group",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-",
		"--proxy-client-cert-file=" + cert(pki.FrontProxy),
		"--proxy-client-key-file=" + key(pki.FrontProxy),
		"--enable-aggregator-routing=true",
	}
}

func controllerManagerArgs(l layout.Layout) []string {
	kubeconfig := pki.KubeconfigOf(l, pki.ControllerManager)
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--cert-dir=" + l.Path("pki", "controller-manager"),
		"--leader-elect=false",
		"--use-service-account-credentials=true",
		// The usual 20 requests per second make the first start wait for seconds.
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--allocate-node-cidrs=true",
		"--cluster-cidr=" + layout.PodCIDR,
		"--service-cluster-ip-range=" + layout.ServiceCIDR,
		"--root-ca-file=" + l.PKI(pki.CA+".crt"),
		"--service-account-private-key-file=" + l.PKI(pki.ServiceAccount+".key"),
		"--cluster-signing-cert-file=" + l.PKI(pki.CA+".crt"),
		"--cluster-signing-key-file=" + l.PKI(pki.CA+".key"),
		// An autoscaler that looks every few seconds and trusts young pods: a test need not wait for minutes.
		"--horizontal-pod-autoscaler-sync-period=5s",
		"--horizontal-pod-autoscaler-cpu-initialization-period=20s",
		"--horizontal-pod-autoscaler-initial-readiness-delay=5s",
	}
}

func schedulerArgs(l layout.Layout) []string {
	kubeconfig := pki.KubeconfigOf(l, pki.Scheduler)
	return []string{
		"--kubeconfig=" + kubeconfig,
		"--authentication-kubeconfig=" + kubeconfig,
		"--authorization-kubeconfig=" + kubeconfig,
		"--bind-address=127.0.0.1",
		"--cert-dir=" + l.Path("pki", "scheduler"),
		"--kube-api-qps=200",
		"--kube-api-burst=400",
		"--leader-elect=false",
	}
}

func proxyArgs(l layout.Layout) []string {
	return []string{
		"--kubeconfig=" + pki.KubeconfigOf(l, pki.Proxy),
		"--proxy-mode=nftables",
		"--hostname-override=" + layout.NodeName,
		"--cluster-cidr=" + layout.PodCIDR,
		"--healthz-bind-address=127.0.0.1:10256",
		"--metrics-bind-address=127.0.0.1:10249",
		"--oom-score-adj=0",
		// The connection table belongs to the whole machine: leave its size and times as they are.
		"--conntrack-max-per-core=0",
		"--conntrack-min=0",
		"--conntrack-tcp-timeout-established=0",
		"--conntrack-tcp-timeout-close-wait=0",
	}
}

func kubeletArgs(l layout.Layout) []string {
	return []string{
		"--config=" + l.Config(kubeletFile),
		"--kubeconfig=" + pki.KubeconfigOf(l, pki.Kubelet),
		"--hostname-override=" + layout.NodeName,
		"--node-ip=" + layout.NodeIP,
		"--root-dir=" + l.Path("kubelet"),
		"--cert-dir=" + l.Path("pki", "kubelet"),
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package pki

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

// Names of certificates; the files are PKI(name+".crt") and PKI(name+".key").
const (
	CA                = "ca"
	APIServer         = "apiserver"
	KubeletServer     = "kubelet-server"
	KubeletClient     = "kubelet-client"
	FrontProxy        = "front-proxy"
	ServiceAccount    = "service-account"
	Admin             = "admin"
	ControllerManager = "controller-manager"
	Scheduler         = "scheduler"
	Proxy             = "proxy"
	Kubelet           = "kubelet"
	DNS               = "dns"
	MetricsServer     = "metrics-server"
	Traefik           = "traefik"
)

// FrontProxyName is the only client that may pass on another user's name to an aggregated API.
const FrontProxyName = "front-proxy-client"

// DNSUser is the user of the cluster's name server.
const DNSUser = "system:coredns"

// MetricsServerUser is the user of the addon that measures pods.
const MetricsServerUser = "system:metrics-server"

// TraefikUser is the user of the addon that carries what Ingresses name.
const TraefikUser = "system:traefik"

// requests returns what each certificate is for. Kubernetes takes a client's user from CN and its groups from O.
func requests() map[string]Request {
	return map[string]Request{
		APIServer: {
			CommonName: "kube-apiserver",
			Server:     true,
			DNSNames: []string{
				"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
				"kubernetes.default.svc." + layout.Domain, layout.NodeName,
			},
			IPs: []string{"127.0.0.1", layout.NodeIP, layout.APIServiceIP},
		},
		KubeletServer: {
			CommonName: "system:node:" + layout.NodeName, Organizations: []string{"system:nodes"}, Server: true,
			DNSNames: []string{layout.NodeName}, IPs: []string{layout.NodeIP},
		},
		KubeletClient:     {CommonName: "kube-apiserver-kubelet-client", Organizations: []string{"system:masters"}},
		FrontProxy:        {CommonName: FrontProxyName},
		Admin:             {CommonName: "admin", Organizations: []string{"system:masters"}},
		ControllerManager: {CommonName: "system:kube-controller-manager"},
		Scheduler:         {CommonName: "system:kube-scheduler"},
		Proxy:             {CommonName: "system:kube-proxy"},
		Kubelet:           {CommonName: "system:node:" + layout.NodeName, Organizations: []string{"system:nodes"}},
		DNS:               {CommonName: DNSUser},
		MetricsServer:     {CommonName: MetricsServerUser},
		Traefik:           {CommonName: TraefikUser},
	}
}

// WriteAll makes a new authority and every certificate, key and kubeconfig of the cluster. outside is the address at
// which the API server is reached from the machine's own network.
func WriteAll(l layout.Layout, outside string, now time.Time) error {
	authority, err := NewAuthority(now)
	if err != nil {
		return err
	}
	pairs := map[string]Pair{CA: authority.Pair()}
	if pairs[ServiceAccount], err = NewSigningKey(); err != nil {
		return err
	}
	for name, request := range requests() {
		if pairs[name], err = authority.Issue(request); err != nil {
			return err
		}
	}
	for name, pair := range pairs {
		if err := write(l.PKI(name+".crt"), pair.Cert); err != nil {
			return err
		}
		if err := write(l.PKI(name+".key"), pair.Key); err != nil {
			return err
		}
	}
	return writeKubeconfigs(l, pairs, outside)
}

// writeKubeconfigs writes one kubeconfig per client.
func writeKubeconfigs(l layout.Layout, pairs map[string]Pair, outside string) error {
	inside := layout.APIInside()
	files := map[string]struct{ client, server string }{
		l.KubeconfigOutside():              {Admin, outside},
		l.KubeconfigInside():               {Admin, inside},
		KubeconfigOf(l, Kubelet):           {Kubelet, inside},
		KubeconfigOf(l, ControllerManager): {ControllerManager, inside},
		KubeconfigOf(l, Scheduler):         {Scheduler, inside},
		KubeconfigOf(l, Proxy):             {Proxy, inside},
		KubeconfigOf(l, DNS):               {DNS, inside},
		KubeconfigOf(l, MetricsServer):     {MetricsServer, inside},
		KubeconfigOf(l, Traefik):           {Traefik, inside},
	}
	for path, f := range files {
		content, err := Kubeconfig("https://"+f.server, f.client, pairs[CA].Cert, pairs[f.client])
		if err != nil {
			return err
		}
		if err := write(path, content); err != nil {
			return err
		}
	}
	return nil
}

// KubeconfigOf is the kubeconfig file of one of the cluster's programs.
func KubeconfigOf(l layout.Layout, client string) string { return l.Config(client + ".kubeconfig") }

// Kubeconfig returns a kubeconfig that holds everything itself, in JSON, which is YAML too.
func Kubeconfig(server, user string, ca []byte, pair Pair) ([]byte, error) {
	type named map[string]any
	config := map[string]any{
		"apiVersion": "v1",
		"kind":       "Config",
		"clusters": []named{{"name": "fairlead", "cluster": named{
			"server": server, "certificate-authority-data": ca,
		}}},
		"users": []named{{"name": user, "user": named{
			"client-certificate-data": pair.Cert, "client-key-data": pair.Key,
		}}},
		"contexts":        []named{{"name": "fairlead", "context": named{"cluster": "fairlead", "user": user}}},
		"current-context": "fairlead",
	}
	content, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("failed to render the kubeconfig of %q: %w", user, err)
	}
	return append(content, '\n'), nil
}

// write stores a file that only root reads.
func write(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("failed to create the folder of %q: %w", path, err)
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return fmt.Errorf("failed to write %q: %w", path, err)
	}
	return nil
}

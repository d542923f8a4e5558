// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package node renders the settings of the cluster's programs and says how each of them is started.
package node

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"text/template"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/pki"
)

// CNIPlugins is where Debian puts the plugins of containernetworking-plugins.
const CNIPlugins = "/usr/lib/cni"

// Files of settings, below the layout's config folder.
const (
	containerdFile = "containerd.toml"
	kubeletFile    = "kubelet.json"
	corefile       = "Corefile"
	resolvFile     = "resolv.conf"
	cniFolder      = "cni"
)

// WriteConfig writes the settings of every program.
func WriteConfig(l layout.Layout) error {
	kubelet, err := Kubelet(l)
	if err != nil {
		return err
	}
	containerd, err := Containerd(l)
	if err != nil {
		return err
	}
	network, err := CNI(l)
	if err != nil {
		return err
	}
	files := map[string][]byte{
		kubeletFile:    kubelet,
		containerdFile: containerd,
		filepath.Join(cniFolder, "10-fairlead.conflist"): network,
		corefile:   []byte(Corefile(l)),
		resolvFile: []byte(ResolvConf()),
	}
	for name, content := range files {
		path := l.Config(name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return fmt.Errorf("failed to create the folder of %q: %w", path, err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return fmt.Errorf("failed to write %q: %w", path, err)
		}
	}
	return nil
}

// ResolvConf is what commands inside the namespace resolve names with. The search list is that of a pod in the namespace
// default, so that the same short names work.
func ResolvConf() string {
	const domain = layout.Domain
	return "nameserver " + layout.DNSServiceIP + "\n" +
		"search default.svc." + domain + " svc." + domain + " " + domain + "\n" +
		"options ndots:5\n"
}

// ResolvConfFile is the file of ResolvConf.
func ResolvConfFile(l layout.Layout) string { return l.Config(resolvFile) }

// Corefile is the setting of the name server. Nothing leads out of the cluster, so other names do not exist; saying so at
// once beats a client's timeout.
func Corefile(l layout.Layout) string {
	return `.:53 {
    errors
    health 127.0.0.1:8053
    ready 127.0.0.1:8054
    kubernetes ` + layout.Domain + ` in-addr.arpa ip6.arpa {
        kubeconfig ` + pki.KubeconfigOf(l, pki.DNS) + `
        pods insecure
        ttl 5
    }
    template IN ANY . {
        rcode NXDOMAIN
    }
}
`
}

// CNI is the pod network: a veth pair and a route per pod. Unlike a bridge, every packet between two pods of the node is
// routed, so that Service addresses work without the kernel's br_netfilter.
func CNI(l layout.Layout) ([]byte, error) {
	return render("the pod network", map[string]any{
		"cniVersion": "1.0.0",
		"name":       "fairlead",
		"plugins": []any{map[string]any{
			"type": "ptp",
			"mtu":  1500,
			"ipam": map[string]any{
				"type":    "host-local",
				"dataDir": l.Path("ipam"),
				"ranges":  []any{[]any{map[string]string{"subnet": layout.NodePodCIDR}}},
				"routes":  []any{map[string]string{"dst": "0.0.0.0/0"}},
			},
		}},
	})
}

// Kubelet is the kubelet's configuration.
func Kubelet(l layout.Layout) ([]byte, error) {
	return render("the kubelet's configuration", map[string]any{
		"apiVersion":               "kubelet.config.k8s.io/v1beta1",
		"kind":                     "KubeletConfiguration",
		"address":                  layout.NodeIP,
		"clusterDNS":               []string{layout.DNSServiceIP},
		"clusterDomain":            layout.Domain,
		"containerRuntimeEndpoint": "unix://" + l.Containerd(),
		"resolvConf":               l.Config(resolvFile),
		"podLogsDir":               l.Path("pod-logs"),
		"volumePluginDir":          l.Path("volume-plugins"),
		"tlsCertFile":              l.PKI(pki.KubeletServer + ".crt"),
		"tlsPrivateKeyFile":        l.PKI(pki.KubeletServer + ".key"),
		"authentication": map[string]any{
			"anonymous": map[string]bool{"enabled": false},
			"webhook":   map[string]bool{"enabled": true},
			"x509":      map[string]string{"clientCAFile": l.PKI(pki.CA + ".crt")},
		},
		"authorization": map[string]string{"mode": "Webhook"},
		// All pods below one control group: whatever a killed cluster leaves is found there.
		"cgroupRoot":    "/" + layout.Cgroup,
		"cgroupDriver":  "cgroupfs",
		"failCgroupV1":  false,
		"failSwapOn":    false,
		"oomScoreAdj":   0, // a lower score needs CAP_SYS_RESOURCE
		"readOnlyPort":  0,
		"syncFrequency": "1m",
		// The default of 110 leaves no room for a test of many servers while they roll; there are 253 addresses.
		"maxPods": 200,
		// A developer's disk is often nearly full; that must not evict pods or delete loaded images.
		"evictionHard": map[string]string{
			"memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%", "nodefs.inodesFree": "1%",
		},
		"imageGCHighThresholdPercent": 100,
		"imageGCLowThresholdPercent":  99,
		"makeIPTablesUtilChains":      false,
	})
}

// containerdTemplate keeps everything below one folder and leaves the machine's own containerd alone.
var containerdTemplate = template.Must(template.New("containerd").Parse(`version = 2
root = "{{.Path "containerd"}}"
state = "{{.Path "containerd-state"}}"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]

[grpc]
  address = "{{.Containerd}}"

[plugins."io.containerd.internal.v1.opt"]
  path = "{{.Path "containerd-opt"}}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "` + layout.PauseImage + `"
  # A process without CAP_SYS_RESOURCE cannot lower an OOM score; without this runc dies in its first child.
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  stream_server_address = "127.0.0.1"

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "` + CNIPlugins + `"
  conf_dir = "{{.Config "cni"}}"

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
`))

// Containerd is the setting of the container runtime.
func Containerd(l layout.Layout) ([]byte, error) {
	var out bytes.Buffer
	if err := containerdTemplate.Execute(&out, l); err != nil {
		return nil, fmt.Errorf("failed to render containerd's settings: %w", err)
	}
	return out.Bytes(), nil
}

// render returns value as indented JSON.
func render(what string, value any) ([]byte, error) {
	content, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("failed to render %s: %w", what, err)
	}
	return append(content, '\n'), nil
}

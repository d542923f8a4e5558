// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package node

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/hack/cluster/internal/binaries"
	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

// update rewrites the golden files: go test ./internal/node -update.
var update = flag.Bool("update", false, "rewrite the golden files")

// cluster is where the golden files' cluster lives.
var cluster = layout.Layout{Root: "/var/lib/fairlead-cluster"}

func TestGolden(t *testing.T) {
	t.Parallel()
	must := func(content []byte, err error) string {
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	var arguments strings.Builder
	programs := Programs(cluster, "/bin-folder")
	for _, name := range binaries.Addons() {
		addon, ok := Addon(cluster, "/bin-folder", name)
		if !ok {
			t.Fatalf("there is no %s", name)
		}
		programs = append(programs, addon)
	}
	for _, p := range programs {
		arguments.WriteString(strings.Join(append(p.Env, p.Path), " ") + "\n")
		for _, arg := range p.Args {
			arguments.WriteString("  " + arg + "\n")
		}
	}
	tests := []struct{ name, got string }{
		{"kubelet.json", must(Kubelet(cluster))},
		{"containerd.toml", must(Containerd(cluster))},
		{"network.conflist", must(CNI(cluster))},
		{"Corefile", Corefile(cluster)},
		{"resolv.conf", ResolvConf()},
		{"programs", arguments.String()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join("testdata", test.name+".golden")
			if *update {
				if err := os.WriteFile(path, []byte(test.got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), test.got); diff != "" {
				t.Errorf("%s (-want +got), rewrite it with -update:\n%s", test.name, diff)
			}
		})
	}
}

func TestOrderOfPrograms(t *testing.T) {
	t.Parallel()
	var names []string
	for _, p := range Programs(cluster, "") {
		names = append(names, p.Name)
	}
	tests := []struct{ name, before, after string }{
		{"the API server stores in etcd", "etcd", "kube-apiserver"},
		{"the name server asks the API server", "kube-apiserver", "coredns"},
		{"the kubelet is stopped before its runtime", "containerd", "kubelet"},
		{"the kubelet is stopped before the API server", "kube-apiserver", "kubelet"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			before, after := slices.Index(names, test.before), slices.Index(names, test.after)
			if before < 0 || after < 0 || before >= after {
				t.Errorf("got the order %v, want %s before %s", names, test.before, test.after)
			}
		})
	}
	if names[len(names)-1] != "kubelet" {
		t.Errorf("got %s as the first to stop, want the kubelet", names[len(names)-1])
	}
}

func TestSocketPathsAreShortEnough(t *testing.T) {
	t.Parallel()
	const longest = 107 // sun_path in unix(7), without its final zero
	for _, path := range []string{cluster.Containerd() + ".ttrpc", cluster.Path("kubelet", "pod-resources", "kubelet.sock")} {
		if len(path) > longest {
			t.Errorf("%s has %d bytes, want at most %d", path, len(path), longest)
		}
	}
}

func TestWriteConfigWritesWhatProgramsRead(t *testing.T) {
	t.Parallel()
	l := layout.Layout{Root: t.TempDir()}
	if err := WriteConfig(l); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{kubeletFile, containerdFile, corefile, resolvFile, filepath.Join(cniFolder, "10-fairlead.conflist")} {
		if info, err := os.Stat(l.Config(name)); err != nil || info.Size() == 0 {
			t.Errorf("%s is missing or empty (error %v)", name, err)
		}
	}
}

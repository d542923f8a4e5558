// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"errors"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

func parse(t *testing.T, args ...string) Options {
	t.Helper()
	var o Options
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.BindFlags(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return o
}

func TestOptions(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		args []string
		want string
	}{
		{name: "defaults"},
		{name: "no metrics", args: []string{"--metrics-bind-address=0"}},
		{name: "no image", args: []string{"--runtime-image="}, want: "--runtime-image must not be empty"},
		{name: "no replicas", args: []string{"--default-replicas=0"}, want: "--default-replicas must be from 1 to 100, not 0"},
		{name: "no worker", args: []string{"--max-concurrent-reconciles=0"}, want: "--max-concurrent-reconciles must be from 1 to 100, not 0"},
		{name: "domain", args: []string{"--cluster-domain=Cluster_Local"}, want: `--cluster-domain "Cluster_Local"`},
		{name: "metrics", args: []string{"--metrics-bind-address=8443"}, want: "--metrics-bind-address must be host:port"},
		{name: "health", args: []string{"--health-probe-bind-address=x"}, want: "--health-probe-bind-address must be host:port"},
		{name: "no roll-out", args: []string{"--max-concurrent-rollouts=101"}, want: "--max-concurrent-rollouts must be from 1 to 100, not 101"},
		{name: "verification", args: []string{"--verification=off"}, want: `--verification must be Required or Off, not "off"`},
		{name: "verification off", args: []string{"--verification=Off"}},
		{name: "namespaces", args: []string{"--watch-namespaces=shop,tools", "--monitoring-namespaces=monitoring"}},
		{name: "namespace", args: []string{"--namespace=Fairlead"}, want: `--namespace "Fairlead"`},
		{name: "not a namespace", args: []string{"--watch-namespaces=shop,a/b"}, want: `--watch-namespaces "a/b"`},
		{name: "a namespace twice", args: []string{"--watch-namespaces=shop,shop"}, want: `--watch-namespaces names "shop" twice`},
		{name: "an empty namespace", args: []string{"--watch-namespaces=shop,"}, want: `--watch-namespaces ""`},
		{name: "too many", args: []string{"--monitoring-namespaces=" + strings.Trim(strings.Repeat("a,", 17), ",")}, want: "--monitoring-namespaces may have at most 16 entries, not 17"},
		{name: "limits", args: []string{
			"--allowed-ingress-classes=public,internal", "--allowed-host-suffixes=.apps.example.com,example.net",
			"--allowed-annotation-prefixes=cert-manager.io/", "--allowed-image-prefixes=registry.example.com/mcp/",
		}},
		{name: "class", args: []string{"--allowed-ingress-classes=Public"}, want: `--allowed-ingress-classes "Public"`},
		{name: "suffix", args: []string{"--allowed-host-suffixes=*.example.com"}, want: `--allowed-host-suffixes "*.example.com"`},
		{name: "empty prefix", args: []string{"--allowed-image-prefixes=a/,"}, want: `--allowed-image-prefixes "": must not be empty or hold spaces`},
		{name: "all at once", args: []string{"--runtime-image=", "--default-replicas=101"}, want: "--default-replicas must be from 1 to 100, not 101"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := parse(t, tt.args...)
			switch err := o.Validate(); {
			case tt.want == "" && err != nil:
				t.Errorf("Validate() = %v", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("Validate() = %v, want %q", err, tt.want)
			}
		})
	}
}

// The log at the start shows every option.
func TestLogValueHasEveryOption(t *testing.T) {
	t.Parallel()
	o := parse(t)
	logged := map[string]bool{}
	for _, attr := range o.LogValue().Group() {
		logged[strings.ToLower(attr.Key)] = true
	}
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	o.BindFlags(flags)
	flags.VisitAll(func(flag *pflag.Flag) {
		if !logged[strings.ReplaceAll(flag.Name, "-", "")] {
			t.Errorf("--%s is not in the log", flag.Name)
		}
	})
}

func TestCheckCRD(t *testing.T) {
	t.Parallel()
	mapper := meta.NewDefaultRESTMapper(nil)
	if err := checkCRD(mapper); !errors.Is(err, ErrCRDMissing) {
		t.Errorf("without the CRD: %v, want ErrCRDMissing", err)
	}
	mapper.Add(schema.GroupVersionKind{Group: "fairlead.dev", Version: "v1alpha1", Kind: "MCPServer"}, meta.RESTScopeNamespace)
	if err := checkCRD(mapper); err != nil {
		t.Errorf("with the CRD of %s: %v", fairleadv1alpha1.GroupVersion, err)
	}
}

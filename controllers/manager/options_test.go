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

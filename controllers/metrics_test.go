// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// cached answers List with its servers, or with an error when there are none.
type cached struct {
	client.Reader
	servers []fairleadv1alpha1.MCPServer
}

func (c cached) List(_ context.Context, into client.ObjectList, _ ...client.ListOption) error {
	list, ok := into.(*fairleadv1alpha1.MCPServerList)
	if !ok || c.servers == nil {
		return errors.New("the cache is not filled")
	}
	list.Items = c.servers
	return nil
}

// conditioned is a server with conditions of the form type=status/reason.
func conditioned(name string, conditions ...string) fairleadv1alpha1.MCPServer {
	server := fairleadv1alpha1.MCPServer{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}}
	for _, text := range conditions {
		kind, rest, _ := strings.Cut(text, "=")
		status, reason, _ := strings.Cut(rest, "/")
		server.Status.Conditions = append(server.Status.Conditions, metav1.Condition{Type: kind, Status: metav1.ConditionStatus(status), Reason: reason})
	}
	return server
}

func TestMetricsOfServers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		servers []fairleadv1alpha1.MCPServer
		want    string
	}{
		{name: "an empty cache yields no series"},
		{
			name: "what is well has no series of its own",
			servers: []fairleadv1alpha1.MCPServer{
				conditioned("a", "Accepted=True/Accepted", "Ready=True/Serving"), conditioned("b", "Ready=True/Serving"),
			},
			want: `
fairlead_operator_mcpservers{ready="True",reason="Serving"} 2
`,
		},
		{
			name: "what is not is named",
			servers: []fairleadv1alpha1.MCPServer{
				conditioned("new"),
				conditioned("broken", "Ready=False/PodFailure", "Degraded=True/SecretMissing"),
				conditioned("waiting", "Ready=True/Serving", "UpgradePending=True/WaveStopped", "Degraded=False/SecretMissing"),
			},
			want: `
fairlead_operator_mcpserver_unhealthy{condition="Degraded",namespace="shop",reason="SecretMissing",server="broken"} 1
fairlead_operator_mcpserver_unhealthy{condition="Ready",namespace="shop",reason="",server="new"} 1
fairlead_operator_mcpserver_unhealthy{condition="Ready",namespace="shop",reason="PodFailure",server="broken"} 1
fairlead_operator_mcpserver_unhealthy{condition="UpgradePending",namespace="shop",reason="WaveStopped",server="waiting"} 1
fairlead_operator_mcpservers{ready="False",reason="PodFailure"} 1
fairlead_operator_mcpservers{ready="True",reason="Serving"} 1
fairlead_operator_mcpservers{ready="Unknown",reason=""} 1
`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			reg := prometheus.NewPedanticRegistry()
			if _, err := NewMetrics(reg, cached{servers: tt.servers}); err != nil {
				t.Fatal(err)
			}
			want := ""
			for _, family := range []struct{ name, help string }{
				{"fairlead_operator_mcpserver_unhealthy", "1 for each server and condition that is not as it should be: Ready other than True, Degraded or UpgradePending True."},
				{"fairlead_operator_mcpservers", "MCPServers by the status and reason of their Ready condition."},
			} {
				var lines []string
				for line := range strings.Lines(tt.want) {
					if strings.HasPrefix(line, family.name+"{") {
						lines = append(lines, line)
					}
				}
				if len(lines) > 0 {
					want += "# HELP " + family.name + " " + family.help + "\n# TYPE " + family.name + " gauge\n" + strings.Join(lines, "")
				}
			}
			if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "fairlead_operator_mcpservers", "fairlead_operator_mcpserver_unhealthy"); err != nil {
				t.Error(err)
			}
		})
	}
}

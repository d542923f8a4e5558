// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package monitoring

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/storage"
)

// Each alert fires for what it is about and for nothing else. Series are in
// promtool's notation, a sample a minute; an alert fires when its expression
// had a result in each minute of its time, up to the 45th.
func TestAlertsFire(t *testing.T) {
	t.Parallel()
	const operator = `{job="fairlead-operator", namespace="fairlead-system", name="fairlead-operator", pod="a"}`
	tests := []struct {
		name  string
		alert string
		load  string
		want  []string
	}{
		{name: "nothing is scraped", alert: "FairleadOperatorDown", load: `up 1x45`, want: []string{`{name="fairlead-operator", namespace="fairlead-system"}`}},
		{name: "an operator answers", alert: "FairleadOperatorDown", load: `leader_election_master_status` + operator + ` 0x45`},
		{name: "nobody leads", alert: "FairleadOperatorNoLeader", load: `leader_election_master_status` + operator + ` 1x30 0x15`, want: []string{`{namespace="fairlead-system"}`}},
		{name: "a short change of leaders", alert: "FairleadOperatorNoLeader", load: `leader_election_master_status` + operator + ` 1x41 0 0 1`},
		{
			name: "errors go on", alert: "FairleadReconcileErrors",
			load: `controller_runtime_reconcile_errors_total{controller="mcpserver", namespace="fairlead-system"} 0+10x45`, want: []string{`{namespace="fairlead-system"}`},
		},
		{name: "a burst of errors", alert: "FairleadReconcileErrors", load: `controller_runtime_reconcile_errors_total{controller="mcpserver", namespace="fairlead-system"} 0+0x20 100+0x24`},
		{
			name: "a wave stopped", alert: "FairleadUpgradeStopped",
			load: `fairlead_operator_mcpserver_unhealthy{namespace="shop", server="a", condition="UpgradePending", reason="WaveStopped"} 1x45`, want: []string{`{}`},
		},
		{name: "a wave goes on", alert: "FairleadUpgradeStopped", load: `fairlead_operator_mcpserver_unhealthy{namespace="shop", server="a", condition="UpgradePending", reason="Queued"} 1x45`},
		{
			name: "not ready, by changing reasons", alert: "FairleadServerNotReady",
			load: "fairlead_operator_mcpserver_unhealthy{namespace=\"shop\", server=\"a\", condition=\"Ready\", reason=\"PodsNotReady\"} 1x38 stale\n" +
				`fairlead_operator_mcpserver_unhealthy{namespace="shop", server="a", condition="Ready", reason="PodFailure"} _x38 1x7`,
			want: []string{`{namespace="shop", server="a"}`},
		},
		{
			name: "paused, asleep, and ready again", alert: "FairleadServerNotReady",
			load: "fairlead_operator_mcpserver_unhealthy{namespace=\"shop\", server=\"a\", condition=\"Ready\", reason=\"Paused\"} 1x45\n" +
				"fairlead_operator_mcpserver_unhealthy{namespace=\"shop\", server=\"b\", condition=\"Ready\", reason=\"ScaledToZero\"} 1x45\n" +
				`fairlead_operator_mcpserver_unhealthy{namespace="shop", server="c", condition="Ready", reason="RollingOut"} 1x40 stale`,
		},
		{
			name: "one pod of two refuses", alert: "FairleadConfigurationRefused",
			load: "fairlead_config_refused{namespace=\"shop\", server=\"a\", pod=\"1\"} 0x45\n" + `fairlead_config_refused{namespace="shop", server="a", pod="2"} 1x45`,
			want: []string{`{namespace="shop", server="a"}`},
		},
		{name: "none refuses", alert: "FairleadConfigurationRefused", load: `fairlead_config_refused{namespace="shop", server="a", pod="1"} 0x45`},
		{
			name: "a Secret is missing", alert: "FairleadSecretMissing",
			load: `fairlead_operator_mcpserver_unhealthy{namespace="shop", server="a", condition="Degraded", reason="SecretMissing"} 1x45`,
			want: []string{`{namespace="shop", reason="SecretMissing", server="a"}`},
		},
		{name: "it came soon", alert: "FairleadSecretMissing", load: `fairlead_operator_mcpserver_unhealthy{namespace="shop", server="a", condition="Degraded", reason="SecretMissing"} 1x41 stale`},
		{
			name: "clients are turned away", alert: "FairleadServerOverloaded",
			load: `fairlead_rejections_total{namespace="shop", server="a", pod="1", reason="streams_per_replica"} 0+60x45`,
			want: []string{`{namespace="shop", reason="streams_per_replica", server="a"}`},
		},
		{name: "wrong keys are no overload", alert: "FairleadServerOverloaded", load: `fairlead_rejections_total{namespace="shop", server="a", pod="1", reason="unauthorized"} 0+60x45`},
		{
			name: "one replica is nearly full", alert: "FairleadStreamsNearLimit",
			load: "fairlead_sse_active_connections{namespace=\"shop\", server=\"a\", pod=\"1\", transport=\"sse\"} 50x45\n" +
				"fairlead_sse_active_connections{namespace=\"shop\", server=\"a\", pod=\"1\", transport=\"streamable\"} 45x45\n" +
				"fairlead_sse_active_connections{namespace=\"shop\", server=\"a\", pod=\"2\", transport=\"sse\"} 5x45\n" +
				"fairlead_sse_max_connections{namespace=\"shop\", server=\"a\", pod=\"1\"} 100x45\n" + `fairlead_sse_max_connections{namespace="shop", server="a", pod="2"} 100x45`,
			want: []string{`{namespace="shop", server="a"}`},
		},
		{
			name: "replicas are half full", alert: "FairleadStreamsNearLimit",
			load: "fairlead_sse_active_connections{namespace=\"shop\", server=\"a\", pod=\"1\", transport=\"sse\"} 50x45\n" + `fairlead_sse_max_connections{namespace="shop", server="a", pod="1"} 100x45`,
		},
		{
			name: "a third of the calls time out", alert: "FairleadToolErrors",
			load: "fairlead_tool_calls_total{namespace=\"shop\", server=\"a\", tool=\"get\", outcome=\"ok\"} 0+20x45\n" + `fairlead_tool_calls_total{namespace="shop", server="a", tool="get", outcome="timeout"} 0+10x45`,
			want: []string{`{namespace="shop", server="a", tool="get"}`},
		},
		{
			name: "the tool's own errors, callers' errors and a single call", alert: "FairleadToolErrors",
			load: "fairlead_tool_calls_total{namespace=\"shop\", server=\"a\", tool=\"get\", outcome=\"tool_error\"} 0+20x45\n" +
				"fairlead_tool_calls_total{namespace=\"shop\", server=\"a\", tool=\"get\", outcome=\"invalid_arguments\"} 0+20x45\n" +
				`fairlead_tool_calls_total{namespace="shop", server="b", tool="get", outcome="error"} 0x40 1x4`,
		},
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, tt := range tests {
		if len(tt.want) > 0 {
			fires[tt.alert] = true
		} else {
			quiet[tt.alert] = true
		}
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			loaded := promqltest.LoadedStorage(t, "load 1m\n"+indent(tt.load))
			engine := promqltest.NewTestEngine(t, false, 0, promqltest.DefaultMaxSamplesPerQuery)
			if diff := cmp.Diff(tt.want, firing(t, engine, loaded, tt.alert)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tt.alert, diff)
			}
		})
	}
	for _, rule := range rules(t) {
		if !fires[rule.Alert] || !quiet[rule.Alert] {
			t.Errorf("%s needs a case that fires and one that does not", rule.Alert)
		}
	}
}

func indent(text string) string {
	var out string
	for line := range strings.Lines(text) {
		out += "  " + strings.TrimSuffix(line, "\n") + "\n"
	}
	return out
}

// firing returns the labels for which an alert fires in the 45th minute.
func firing(t *testing.T, engine *promql.Engine, series storage.Queryable, alert string) []string {
	t.Helper()
	all := rules(t)
	at := slices.IndexFunc(all, func(rule rulefmt.Rule) bool { return rule.Alert == alert })
	if at < 0 {
		t.Fatalf("there is no alert %s", alert)
	}
	end := time.Unix(0, 0).Add(45 * time.Minute)
	held := time.Duration(all[at].For)
	query, err := engine.NewRangeQuery(t.Context(), series, nil, all[at].Expr, end.Add(-held), end, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer query.Close()
	matrix, err := query.Exec(t.Context()).Matrix()
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, one := range matrix {
		if len(one.Floats) == int(held/time.Minute)+1 {
			found = append(found, one.Metric.String())
		}
	}
	slices.Sort(found)
	return found
}

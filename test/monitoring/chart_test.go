// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package monitoring holds the chart's alerts and dashboard against the real
// PromQL parser and engine, and against the metrics that exist. It is a module
// of its own, so that Prometheus is no dependency of the product.
package monitoring

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	// The API server's tests of test/install read its CRDs.
	_ "github.com/prometheus-operator/prometheus-operator/example"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"
)

const root = "../.."

// manifest is what helm template renders with all of the monitoring switched on.
var manifest = sync.OnceValues(func() ([]byte, error) {
	home, err := os.MkdirTemp("", "fairlead-helm-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(home) }()
	command := exec.Command("hack/tool.sh", "helm", "template", "fairlead", "charts/fairlead", "--namespace", "fairlead-system",
		"--values", "test/install/testdata/values/monitoring.yaml")
	command.Dir = root
	command.Stderr = os.Stderr
	command.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	return command.Output()
})

// object decodes the rendered object of a kind into a map.
func object(t *testing.T, kind string) map[string]any {
	t.Helper()
	data, err := manifest()
	if err != nil {
		t.Fatalf("failed to render the chart: %v", err)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var o map[string]any
		if err := decoder.Decode(&o); err != nil {
			t.Fatalf("no %s is rendered: %v", kind, err)
		}
		metadata, _ := o["metadata"].(map[string]any)
		if name, _ := metadata["name"].(string); o["kind"] == kind && (kind != "ConfigMap" || name == "fairlead-dashboard") {
			return o
		}
	}
}

// rules are the alerts, read as Prometheus reads a file of rules.
func rules(t *testing.T) []rulefmt.Rule {
	t.Helper()
	data, err := yaml.Marshal(object(t, "PrometheusRule")["spec"])
	if err != nil {
		t.Fatal(err)
	}
	groups, errs := rulefmt.Parse(data, false, model.UTF8Validation, parser.NewParser(parser.Options{}), slog.New(slog.DiscardHandler))
	if len(errs) > 0 {
		t.Fatalf("Prometheus refuses the rules: %v", errs)
	}
	var all []rulefmt.Rule
	for _, group := range groups.Groups {
		all = append(all, group.Rules...)
	}
	return all
}

// dashboard is what the tests look at of Grafana's model.
type dashboard struct {
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []struct {
		ID                 int
		Type               string
		Title, Description string
		GridPos            struct{ H, W, X, Y int }
		Datasource         struct{ UID string }
		Targets            []struct{ Expr, LegendFormat string }
	}
}

func grafana(t *testing.T) dashboard {
	t.Helper()
	data, _ := object(t, "ConfigMap")["data"].(map[string]any)
	text, _ := data["fairlead.json"].(string)
	var d dashboard
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Panels) < 20 {
		t.Fatalf("the dashboard has %d panels", len(d.Panels))
	}
	return d
}

var (
	// targetLabels come from the scrape: server from the PodMonitor's relabeling.
	targetLabels = []string{"namespace", "pod", "job", "instance", "container", "server"}
	// foreign metrics are of client_golang, in every program.
	foreign = map[string][]string{"process_resident_memory_bytes": nil, "process_cpu_seconds_total": nil}
	row     = regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\| ([^|]*) \\|")
	word    = regexp.MustCompile("`([a-z_]+)`")
)

// known returns the labels of every metric that exists, by its name as it is
// queried. Both pages are generated from the programs.
func known(t *testing.T) map[string][]string {
	t.Helper()
	all := maps.Clone(foreign)
	for _, page := range []string{"metrics.md", "operator-metrics.md"} {
		text, err := os.ReadFile(filepath.Join(root, "docs", "reference", page))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range row.FindAllStringSubmatch(string(text), -1) {
			var labels []string
			for _, l := range word.FindAllStringSubmatch(m[3], -1) {
				labels = append(labels, l[1])
			}
			if m[2] != "histogram" {
				all[m[1]] = labels
				continue
			}
			all[m[1]+"_bucket"] = append(slices.Clone(labels), "le")
			all[m[1]+"_sum"], all[m[1]+"_count"] = labels, labels
		}
	}
	if len(all) < 25 {
		t.Fatalf("only %d metrics are known", len(all))
	}
	return all
}

// judge parses an expression and checks each metric and label in it. It returns
// the labels of the result, as far as aggregations name them.
func judge(t *testing.T, where, expr string, metrics map[string][]string) (grouped []string) {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v\n%s", where, err, expr)
		return nil
	}
	var labels []string
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			own, exists := metrics[selector.Name]
			if !exists {
				t.Errorf("%s: no program has the metric %q", where, selector.Name)
			}
			own = append(slices.Clone(own), targetLabels...)
			labels = append(labels, own...)
			for _, matcher := range selector.LabelMatchers {
				if matcher.Name != "__name__" && !slices.Contains(own, matcher.Name) {
					t.Errorf("%s: %s has no label %q", where, selector.Name, matcher.Name)
				}
			}
		}
		return nil
	})
	parser.Inspect(parsed, func(node parser.Node, _ []parser.Node) error {
		if aggregate, ok := node.(*parser.AggregateExpr); ok {
			for _, label := range aggregate.Grouping {
				if !slices.Contains(labels, label) {
					t.Errorf("%s: groups by %q, which no metric in it has", where, label)
				}
			}
			grouped = append(grouped, aggregate.Grouping...)
		}
		return nil
	})
	if len(grouped) == 0 {
		return labels
	}
	return grouped
}

var (
	alertLabel  = regexp.MustCompile(`\$labels\.([a-z_]+)`)
	legendLabel = regexp.MustCompile(`\{\{([a-z_]+)\}\}`)
)

func TestAlertsAskForWhatExists(t *testing.T) {
	t.Parallel()
	metrics := known(t)
	for _, rule := range rules(t) {
		labels := judge(t, rule.Alert, rule.Expr, metrics)
		for _, text := range rule.Annotations {
			for _, m := range alertLabel.FindAllStringSubmatch(text, -1) {
				if !slices.Contains(labels, m[1]) {
					t.Errorf("%s says $labels.%s, which its expression does not have", rule.Alert, m[1])
				}
			}
		}
		if rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" || rule.Labels["severity"] == "" || rule.For == 0 {
			t.Errorf("%s lacks a summary, description, severity or time", rule.Alert)
		}
		page := strings.TrimPrefix(rule.Annotations["runbook_url"], "https://fairlead.dev/docs/runbooks/")
		if _, err := os.Stat(filepath.Join(root, "docs", "runbooks", page)); err != nil || page != rule.Alert+".md" {
			t.Errorf("%s: the runbook %q: %v", rule.Alert, page, err)
		}
	}
}

func TestDashboardAsksForWhatExists(t *testing.T) {
	t.Parallel()
	metrics := known(t)
	variables := strings.NewReplacer("$__rate_interval", "5m")
	board := grafana(t)
	for _, panel := range board.Panels {
		if panel.Type == "row" {
			continue
		}
		if panel.Title == "" || panel.Description == "" || panel.Datasource.UID != "${datasource}" || len(panel.Targets) == 0 {
			t.Errorf("panel %d (%s) lacks a title, description, query or the data source of the variable", panel.ID, panel.Title)
		}
		for _, target := range panel.Targets {
			labels := judge(t, panel.Title, variables.Replace(target.Expr), metrics)
			for _, m := range legendLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !slices.Contains(labels, m[1]) {
					t.Errorf("panel %s: the legend says %s, which the query does not have", panel.Title, m[1])
				}
			}
		}
	}
	query := regexp.MustCompile(`^label_values\((.+), ([a-z]+)\)$`)
	for _, variable := range board.Templating.List {
		if variable.Type != "query" {
			continue
		}
		m := query.FindStringSubmatch(variable.Definition)
		if m == nil {
			t.Errorf("variable %s: %q is no query of labels", variable.Name, variable.Definition)
			continue
		}
		if labels := judge(t, variable.Name, m[1], metrics); !slices.Contains(labels, m[2]) {
			t.Errorf("variable %s: no label %q", variable.Name, m[2])
		}
	}
}

// Panels have ids of their own and do not overlap.
func TestDashboardIsLaidOut(t *testing.T) {
	t.Parallel()
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, panel := range grafana(t).Panels {
		if ids[panel.ID] {
			t.Errorf("two panels have the id %d", panel.ID)
		}
		ids[panel.ID] = true
		at := panel.GridPos
		if at.X+at.W > 24 {
			t.Errorf("%s is beyond the right edge", panel.Title)
		}
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" {
					t.Fatalf("%s lies over %s", panel.Title, other)
				}
				taken[[2]int{x, y}] = panel.Title
			}
		}
	}
}

// The labels that the alerts count on come from the monitors.
func TestMonitorsAddTheLabels(t *testing.T) {
	t.Parallel()
	pods, err := yaml.Marshal(object(t, "PodMonitor")["spec"])
	if err != nil {
		t.Fatal(err)
	}
	operator, err := yaml.Marshal(object(t, "ServiceMonitor")["spec"])
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(pods), "targetLabel: server") || !strings.Contains(string(pods), "__meta_kubernetes_pod_label_fairlead_dev_server") {
		t.Errorf("the PodMonitor does not name the server:\n%s", pods)
	}
	if !strings.Contains(string(operator), "honorLabels: true") {
		t.Errorf("the operator's series would lose the namespace of their server:\n%s", operator)
	}
}

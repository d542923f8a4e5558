// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package install

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	_ "sigs.k8s.io/controller-runtime/pkg/controller" // Registers its metrics.
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/test/apiserver"
)

// metric is one line of the reference.
type metric struct {
	name, kind, help string
	labels           []string
}

// borrowed are those of controller-runtime's metrics that the alerts and the
// dashboard read.
var borrowed = []metric{
	{"controller_runtime_reconcile_errors_total", "counter", "Total number of reconciliation errors per controller", []string{"controller"}},
	{"controller_runtime_reconcile_time_seconds", "histogram", "Length of time per reconciliation per controller", []string{"controller"}},
	{"controller_runtime_reconcile_total", "counter", "Total number of reconciliations per controller", []string{"controller", "result"}},
	{"leader_election_master_status", "gauge", "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates master. 'name' is the string used to identify the lease. Please make sure to group by name.", []string{"name"}},
	{"rest_client_requests_total", "counter", "Number of HTTP requests, partitioned by status code, method, and host.", []string{"code", "method", "host"}},
	{"workqueue_depth", "gauge", "Current depth of workqueue by workqueue and priority", []string{"name", "controller", "priority"}},
}

const referenceHead = `# Metrics of the operator

Served at ` + "`/metrics`" + ` on port 8443, over TLS and to callers that may ` + "`get`" + ` that path, beside all metrics of controller-runtime, of
the Go runtime (` + "`go_*`" + `) and of the process (` + "`process_*`" + `). Of controller-runtime's, those stand here that the alerts and the dashboard read.

| name | type | labels | what |
| --- | --- | --- | --- |
`

// The reference of the operator's metrics is generated from them.
func TestReferenceOfTheOperatorsMetrics(t *testing.T) {
	t.Parallel()
	all := append(own(t), borrowed...)
	text := referenceHead
	for _, m := range all {
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		text += "| `" + m.name + "` | " + m.kind + " | " + labels + " | " + m.help + " |\n"
	}
	path := filepath.Join(apiserver.Root(), "docs", "reference", "operator-metrics.md")
	if *update {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got, err := os.ReadFile(path); err != nil || string(got) != text {
		t.Errorf("docs/reference/operator-metrics.md is not current (%v): run `go test ./test/install -run Reference -update`", err)
	}
}

// collectors keeps what is registered.
type collectors []prometheus.Collector

func (c *collectors) Register(one prometheus.Collector) error {
	*c = append(*c, one)
	return nil
}

func (c *collectors) MustRegister(all ...prometheus.Collector) { *c = append(*c, all...) }

func (*collectors) Unregister(prometheus.Collector) bool { return false }

var description = regexp.MustCompile(`^Desc\{fqName: "([^"]+)", help: "([^"]*)",(?: unit: "[^"]*",)? constLabels: \{\}, variableLabels: \{([^}]*)\}`)

// own are the metrics that the operator adds to controller-runtime's.
func own(t *testing.T) []metric {
	t.Helper()
	var registered collectors
	if _, err := controllers.NewMetrics(&registered, nil); err != nil {
		t.Fatal(err)
	}
	var all []metric
	for _, collector := range registered {
		described := make(chan *prometheus.Desc, 16)
		collector.Describe(described)
		close(described)
		for desc := range described {
			m := description.FindStringSubmatch(desc.String())
			if m == nil {
				t.Fatalf("failed to read %s", desc)
			}
			kind := "gauge"
			if strings.HasSuffix(m[1], "_total") {
				kind = "counter"
			}
			all = append(all, metric{name: m[1], kind: kind, help: m[2], labels: strings.Split(m[3], ",")})
		}
	}
	if len(all) < 3 {
		t.Fatalf("only %d metrics are registered", len(all))
	}
	return all
}

// A metric of the same name, help and labels cannot be registered again: that
// is how to see that controller-runtime has it.
func TestBorrowedMetricsExist(t *testing.T) {
	t.Parallel()
	for _, m := range borrowed {
		again := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.name, Help: m.help}, m.labels)
		err := metrics.Registry.Register(again)
		if exists := (prometheus.AlreadyRegisteredError{}); !errors.As(err, &exists) {
			t.Errorf("%s with %v: %v, want that it is registered already", m.name, m.labels, err)
		}
	}
}

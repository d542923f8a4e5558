// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package telemetry_test

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/telemetry"
)

var update = flag.Bool("update", false, "write docs/reference/metrics.md")

var (
	_ engine.Observer = (*telemetry.Metrics)(nil)
	_ stream.Observer = (*telemetry.Metrics)(nil)
)

// touch makes at least one series of each metric.
func touch(m *telemetry.Metrics) {
	m.SetTools([]string{"get_order"})
	m.ToolCall("get_order", "ok", 20*time.Millisecond)
	m.Client("stateless", "inspector")
	m.Rejected("unauthorized")
	m.StreamOpened("sse")
	m.StreamClosed("sse", stream.ClientGone, time.Minute)
	m.MessageWritten("response", time.Millisecond)
	m.Error("write_failed")
	m.Sessions("sse", 1)
	m.Refused("sse", "parse_error")
	m.InFlight(1)
	m.OutboxBytes(1)
	m.MaxStreams(10_000)
	m.ConfigApplied("5f2c5f2c5f2c5f2c")
}

// expect compares the metrics of one name with lines "label=value,... number"; a
// histogram's number is its count.
func expect(t *testing.T, reg prometheus.Gatherer, name string, want ...string) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range families {
		if f.GetName() == name {
			for _, metric := range f.GetMetric() {
				var labels []string
				for _, l := range metric.GetLabel() {
					labels = append(labels, l.GetName()+"="+l.GetValue())
				}
				value := metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
				got = append(got, strings.TrimSpace(fmt.Sprintf("%s %v", strings.Join(labels, ","), value)))
			}
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewPedanticRegistry()
	touch(telemetry.New(reg, "v1"))
	problems, err := testutil.GatherAndLint(reg)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		// The collectors of the Go runtime are not ours.
		if strings.HasPrefix(p.Metric, "fairlead_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}

func TestToolCalls(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := telemetry.New(reg, "v1")
	m.SetTools([]string{"kept", "removed"})
	m.ToolCall("kept", "ok", time.Second)
	m.ToolCall("kept", "tool_error", time.Second)
	m.ToolCall("kept", "a made-up outcome", time.Second)
	m.ToolCall("removed", "timeout", time.Second)
	m.ToolCall("a name from a client", "ok", time.Second)
	expect(t, reg, "fairlead_tool_calls_total",
		"outcome=ok,tool=kept 1", "outcome=tool_error,tool=kept 1", "outcome=other,tool=kept 1",
		"outcome=ok,tool=removed 0", "outcome=timeout,tool=removed 1", "outcome=ok,tool=other 1")
	m.SetTools([]string{"kept", "added"})
	m.ToolCall("removed", "ok", time.Second)
	expect(t, reg, "fairlead_tool_calls_total",
		"outcome=ok,tool=kept 1", "outcome=tool_error,tool=kept 1", "outcome=other,tool=kept 1",
		"outcome=ok,tool=added 0", "outcome=ok,tool=other 2")
	expect(t, reg, "fairlead_tool_duration_seconds", "tool=added 0", "tool=kept 3", "tool=other 2")
}

func TestClientsAreBounded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := telemetry.New(reg, "v1")
	for _, odd := range []string{"", "a\nb", "ü", strings.Repeat("x", 65)} {
		m.Client("sse", odd)
	}
	m.Client("an era from a client", "known")
	expect(t, reg, "fairlead_clients_total", "client=other,era=sse 4", "client=known,era=other 1")
	for i := range 200 {
		m.Client("streamable", fmt.Sprint("client-", i))
	}
	m.Client("streamable", "known")
	if n, err := testutil.GatherAndCount(reg, "fairlead_clients_total"); err != nil || n > 54 {
		t.Errorf("%d series, %v, want at most 54", n, err)
	}
}

func TestReasonsAreBounded(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := telemetry.New(reg, "v1")
	m.Rejected("host_denied")
	m.Refused("sse", "parse_error")
	m.Refused("an era from a client", "Not A Word")
	m.Rejected("Not A Word")
	m.Rejected("")
	m.Rejected(strings.Repeat("a", 41))
	expect(t, reg, "fairlead_rejections_total", "reason=host_denied 1", "reason=other 3")
	expect(t, reg, "fairlead_message_errors_total", "era=sse,kind=parse_error 1", "era=other,kind=other 1")
	var group sync.WaitGroup
	for worker := range 4 {
		group.Go(func() {
			for i := range 100 {
				m.Error(fmt.Sprintf("type_%d_%d", worker, i))
			}
		})
	}
	group.Wait()
	if n, err := testutil.GatherAndCount(reg, "fairlead_sse_errors_total"); err != nil || n > 41 {
		t.Errorf("%d error types, %v, want at most 41", n, err)
	}
}

func TestStreams(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := telemetry.New(reg, "v1")
	m.StreamOpened("sse")
	m.StreamOpened("sse")
	m.StreamClosed("sse", stream.WriteTimeout, time.Minute)
	m.MessageWritten("progress", 0)
	m.MessageWritten("progress", time.Second)
	m.OutboxBytes(100)
	m.OutboxBytes(-40)
	expect(t, reg, "fairlead_outbox_bytes", "60")
	expect(t, reg, "fairlead_parked_connections", "0")
	m.ReadParked(func() int { return 3 })
	expect(t, reg, "fairlead_parked_connections", "3")
	m.ReadMemory(func() float64 { return 0.5 })
	expect(t, reg, "fairlead_memory_pressure_ratio", "0.5")
	expect(t, reg, "fairlead_sse_active_connections", "transport=sse 1", "transport=streamable 0", "transport=stateless 0")
	expect(t, reg, "fairlead_sse_connection_duration_seconds", "reason=write_timeout 1")
	expect(t, reg, "fairlead_sse_errors_total", "error_type=write_timeout 1")
	expect(t, reg, "fairlead_sse_messages_total", "event_type=progress 2")
	expect(t, reg, "fairlead_sse_message_latency_seconds", "2")
}

func TestConfig(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	m := telemetry.New(reg, "v1")
	m.ConfigApplied("aaaa")
	m.ConfigRefused()
	expect(t, reg, "fairlead_config_refused", "1")
	expect(t, reg, "fairlead_config_revision_info", "revision=aaaa 1")
	m.ConfigApplied("bbbb")
	m.MaxStreams(7)
	expect(t, reg, "fairlead_sse_max_connections", "7")
	expect(t, reg, "fairlead_config_refused", "0")
	expect(t, reg, "fairlead_config_revision_info", "revision=bbbb 1")
	expect(t, reg, "fairlead_config_reloads_total", "result=applied 2", "result=refused 1")
}

func TestKnownLabelsAllocateNothing(t *testing.T) {
	m := telemetry.New(prometheus.NewRegistry(), "v1")
	m.SetTools([]string{"echo"})
	observe := func() {
		m.ToolCall("echo", "ok", time.Millisecond)
		m.MessageWritten("response", time.Millisecond)
		m.Rejected("unauthorized")
		m.InFlight(1)
	}
	observe()
	if n := testing.AllocsPerRun(100, observe); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

// TestReference keeps docs/reference/metrics.md current; -update writes it.
func TestReference(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	touch(telemetry.New(reg, "v1"))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var page strings.Builder
	page.WriteString(`# Metrics of the runtime

Served at ` + "`/metrics`" + ` on port 8081, beside the metrics of the Go runtime (` + "`go_*`" + `) and of the process (` + "`process_*`" + `).
Every label has a bounded set of values: tools come from the catalog, client names are kept up to 50 distinct ones, and what is unknown or
odd counts as ` + "`other`" + `.

| name | type | labels | what |
| --- | --- | --- | --- |
`)
	for _, f := range families {
		if strings.HasPrefix(f.GetName(), "fairlead_") {
			var labels []string
			for _, l := range f.GetMetric()[0].GetLabel() {
				labels = append(labels, "`"+l.GetName()+"`")
			}
			fmt.Fprintf(&page, "| `%s` | %s | %s | %s |\n", f.GetName(), strings.ToLower(f.GetType().String()), strings.Join(labels, ", "), f.GetHelp())
		}
	}
	page.WriteString("\nHistograms of calls and messages have buckets from 1 ms to 10 s, those of connections from 10 s to 1 h.\n")
	const path = "../../../docs/reference/metrics.md"
	if *update {
		if err := os.WriteFile(path, []byte(page.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(page.String(), string(got)); diff != "" {
		t.Errorf("%s is not current, run go test ./runtime/internal/telemetry -update (-want +got):\n%s", path, diff)
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package telemetry holds the metrics and the logger of a runtime. Rooms below
// it declare small interfaces for what they observe; Metrics implements them.
package telemetry

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Other is the label of values outside a bounded set.
const Other = "other"

// maxClients bounds the distinct client names of one process.
const maxClients = 50

// maxClientName bounds a client's name in bytes; a longer one is folded.
const maxClientName = 64

var (
	// callBuckets are seconds from 1 ms to 10 s.
	callBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	// connectionBuckets are seconds from 10 s to 1 h.
	connectionBuckets = []float64{10, 30, 60, 120, 300, 600, 1200, 1800, 3600}
)

// Metrics are all metrics of one runtime. Its methods are safe for concurrent
// use and allocate nothing for labels that were seen before.
type Metrics struct {
	streams     *prometheus.GaugeVec
	messages    *prometheus.CounterVec
	latency     prometheus.Histogram
	durations   *prometheus.HistogramVec
	errors      *prometheus.CounterVec
	toolCalls   *prometheus.CounterVec
	toolSeconds *prometheus.HistogramVec
	sessions    *prometheus.GaugeVec
	clients     *prometheus.CounterVec
	revision    *prometheus.GaugeVec
	configError prometheus.Gauge
	reloads     *prometheus.CounterVec
	rejections  *prometheus.CounterVec
	outbox      prometheus.Gauge
	inFlight    prometheus.Gauge
	tools       atomic.Pointer[map[string]*toolMetrics]
	settingUp   sync.Mutex
	clientsMu   sync.RWMutex
	clientNames map[string]struct{}
	folded      labelSet
}

// toolMetrics are one tool's handles, resolved when the tool is loaded.
type toolMetrics struct {
	outcomes map[string]prometheus.Counter
	seconds  prometheus.Observer
}

// The label values that are known ahead. Whatever else comes is folded into
// Other, so that no caller can grow a metric.
var (
	transports  = []string{"sse", "streamable", "stateless"}
	eventTypes  = []string{"response", "progress", "log", "list_changed", "endpoint", "notification", "request", "acknowledged", "heartbeat", "error"}
	eras        = []string{"sse", "streamable", "stateless"}
	outcomes    = []string{"ok", "tool_error", "error", "timeout", "cancelled", "busy", "invalid_output", "invalid_arguments", "disabled", "panic"}
	reloadKinds = []string{"applied", "unchanged", "refused"}
)

// New registers all metrics, and those of the Go runtime and the process, on
// reg. It panics when one is registered already: that is a programming error.
func New(reg prometheus.Registerer, version string) *Metrics {
	m := &Metrics{
		streams:     gauges("fairlead_sse_active_connections", "Event streams that are open now.", "transport"),
		messages:    counters("fairlead_sse_messages_total", "Messages that were sent on event streams.", "event_type"),
		latency:     histogram("fairlead_sse_message_latency_seconds", "Time from handing a message to its stream until it was written.", callBuckets),
		durations:   histograms("fairlead_sse_connection_duration_seconds", "How long event streams were open, by why they ended.", connectionBuckets, "reason"),
		errors:      counters("fairlead_sse_errors_total", "Errors on event streams.", "error_type"),
		toolCalls:   counters("fairlead_tool_calls_total", "Calls of tools that ended.", "tool", "outcome"),
		toolSeconds: histograms("fairlead_tool_duration_seconds", "How long calls of tools took, the wait for a free slot included.", callBuckets, "tool"),
		sessions:    gauges("fairlead_sessions", "Sessions that exist now.", "era"),
		clients:     counters("fairlead_clients_total", "Clients that introduced themselves, by the era of the protocol and their name.", "era", "client"),
		revision:    gauges("fairlead_config_revision_info", "The configuration revision that is served; the value is 1.", "revision"),
		configError: gauge("fairlead_config_refused", "1 while the newest configuration file is refused and an older revision is served."),
		reloads:     counters("fairlead_config_reloads_total", "Configuration files that were read after a change.", "result"),
		rejections:  counters("fairlead_rejections_total", "Requests that were refused before a tool ran.", "reason"),
		outbox:      gauge("fairlead_outbox_bytes", "Bytes that wait in the outboxes of all streams."),
		inFlight:    gauge("fairlead_requests_in_flight", "HTTP requests that are being answered, event streams included."),
		clientNames: make(map[string]struct{}),
		folded:      newLabelSet(),
	}
	build := gauges("fairlead_build_info", "The version of the runtime and of Go; the value is 1.", "version", "go_version")
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.tools.Store(&map[string]*toolMetrics{})
	reg.MustRegister(
		m.streams, m.messages, m.latency, m.durations, m.errors, m.toolCalls, m.toolSeconds, m.sessions,
		m.clients, m.revision, m.configError, m.reloads, m.rejections, m.outbox, m.inFlight, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	m.SetTools(nil)
	// A gauge or counter that exists from the start makes rates and absent() work.
	for _, t := range transports {
		m.streams.WithLabelValues(t)
	}
	for _, era := range eras {
		m.sessions.WithLabelValues(era)
	}
	for _, kind := range reloadKinds {
		m.reloads.WithLabelValues(kind)
	}
	return m
}

// SetTools makes the handles of the tools of a revision and drops the series of
// tools that are gone; a call of those that ends later counts as Other.
func (m *Metrics) SetTools(names []string) {
	m.settingUp.Lock()
	defer m.settingUp.Unlock()
	prev := *m.tools.Load()
	next := make(map[string]*toolMetrics, len(names)+1)
	for _, name := range append([]string{Other}, names...) {
		if t, ok := prev[name]; ok {
			next[name] = t
			continue
		}
		t := &toolMetrics{outcomes: make(map[string]prometheus.Counter, len(outcomes)+1), seconds: m.toolSeconds.WithLabelValues(name)}
		for _, outcome := range append([]string{Other}, outcomes...) {
			t.outcomes[outcome] = m.toolCalls.WithLabelValues(name, outcome)
		}
		next[name] = t
	}
	m.tools.Store(&next)
	for name := range prev {
		if _, ok := next[name]; !ok {
			m.toolCalls.DeletePartialMatch(prometheus.Labels{"tool": name})
			m.toolSeconds.DeleteLabelValues(name)
		}
	}
}

// ToolCall counts a call that ended. A tool outside the catalog and an unknown
// outcome count as Other.
func (m *Metrics) ToolCall(tool, outcome string, d time.Duration) {
	tools := *m.tools.Load()
	t, ok := tools[tool]
	if !ok {
		t = tools[Other]
	}
	counter, ok := t.outcomes[outcome]
	if !ok {
		counter = t.outcomes[Other]
	}
	counter.Inc()
	t.seconds.Observe(d.Seconds())
}

// ClientSeen counts a client that introduced itself. At most 50 distinct names
// are kept, others and odd ones count as Other.
func (m *Metrics) ClientSeen(era, name string) {
	m.clients.WithLabelValues(fold(era, eras), m.clientLabel(name)).Inc()
}

// clientLabel folds a client's name.
func (m *Metrics) clientLabel(name string) string {
	if name == "" || len(name) > maxClientName || strings.ContainsFunc(name, oddRune) {
		return Other
	}
	m.clientsMu.RLock()
	_, known := m.clientNames[name]
	m.clientsMu.RUnlock()
	if known {
		return name
	}
	m.clientsMu.Lock()
	defer m.clientsMu.Unlock()
	if _, known := m.clientNames[name]; !known && len(m.clientNames) >= maxClients {
		return Other
	}
	// The name is a part of a request; a clone lets the rest be freed.
	name = strings.Clone(name)
	m.clientNames[name] = struct{}{}
	return name
}

// oddRune reports what a well-behaved client's name does not have.
func oddRune(r rune) bool { return r < ' ' || r > '~' }

// StreamOpened counts an event stream. The returned function must be called
// once, with the reason when the stream ended.
func (m *Metrics) StreamOpened(transport string) (closed func(reason string)) {
	open := m.streams.WithLabelValues(fold(transport, transports))
	open.Inc()
	began := time.Now()
	return func(reason string) {
		open.Dec()
		m.durations.WithLabelValues(m.folded.label("close", reason)).Observe(time.Since(began).Seconds())
	}
}

// MessageSent counts n messages of one type that were written to a stream.
func (m *Metrics) MessageSent(eventType string, n int) {
	m.messages.WithLabelValues(fold(eventType, eventTypes)).Add(float64(n))
}

// MessageLatency observes the time from handing a message to its stream until
// it was written.
func (m *Metrics) MessageLatency(d time.Duration) { m.latency.Observe(d.Seconds()) }

// Error counts an error on an event stream. Types are words of the code.
func (m *Metrics) Error(errorType string) {
	m.errors.WithLabelValues(m.folded.label("error", errorType)).Inc()
}

// Rejected counts a request that was refused. Reasons are words of the code.
func (m *Metrics) Rejected(reason string) {
	m.rejections.WithLabelValues(m.folded.label("reject", reason)).Inc()
}

// Sessions adds n, which may be negative, to the sessions of an era.
func (m *Metrics) Sessions(era string, n int) {
	m.sessions.WithLabelValues(fold(era, eras)).Add(float64(n))
}

// OutboxBytes adds n, which may be negative, to the bytes that wait in
// outboxes.
func (m *Metrics) OutboxBytes(n int) { m.outbox.Add(float64(n)) }

// InFlight adds n, which may be negative, to the requests that are being
// answered.
func (m *Metrics) InFlight(n int) { m.inFlight.Add(float64(n)) }

// ConfigApplied says which revision is served from now on.
func (m *Metrics) ConfigApplied(revision string) {
	m.settingUp.Lock()
	defer m.settingUp.Unlock()
	m.revision.Reset()
	m.revision.WithLabelValues(revision).Set(1)
	m.configError.Set(0)
	m.reloads.WithLabelValues("applied").Inc()
}

// ConfigRefused says that the newest configuration file is not served.
func (m *Metrics) ConfigRefused() {
	m.configError.Set(1)
	m.reloads.WithLabelValues("refused").Inc()
}

// ConfigUnchanged says that a file was read that has the served revision; one
// that was refused before is mended by it.
func (m *Metrics) ConfigUnchanged() {
	m.configError.Set(0)
	m.reloads.WithLabelValues("unchanged").Inc()
}

// fold returns value if it is known, else Other.
func fold(value string, known []string) string {
	if slices.Contains(known, value) {
		return value
	}
	return Other
}

// gauge, gauges, counters, histogram and histograms shorten New.
func gauge(name, help string) prometheus.Gauge {
	return prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
}

func gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
}

func counters(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

func histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

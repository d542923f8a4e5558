// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package telemetry holds the metrics and the logger of a runtime. Rooms below
// it declare small interfaces for what they observe; Metrics implements them.
package telemetry

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"fairlead.dev/fairlead/runtime/internal/engine"
	"fairlead.dev/fairlead/runtime/internal/peer"
	"fairlead.dev/fairlead/runtime/internal/stream"
	"fairlead.dev/fairlead/runtime/internal/tool"
)

var (
	// callBuckets are seconds from 1 ms to 10 s.
	callBuckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
	// connectionBuckets are seconds from 10 s to 1 h.
	connectionBuckets = []float64{10, 30, 60, 120, 300, 600, 1200, 1800, 3600}
)

var (
	// eras are the labels of engine.Era.
	eras = []string{engine.EraSSE.String(), engine.EraStreamable.String(), engine.EraStateless.String()}
	// forwardOutcomes are the labels of requests that were forwarded.
	forwardOutcomes = []string{
		peer.OutcomeAnswered, peer.OutcomeGone, peer.OutcomeUnreachable, peer.OutcomeBusy, peer.OutcomeLost, peer.OutcomeCancelled,
	}
	// outcomes are the labels of calls that ended.
	outcomes = []string{
		tool.OutcomeOK, tool.OutcomeToolError, tool.OutcomeError, tool.OutcomeTimeout, tool.OutcomeCancelled, tool.OutcomeBusy,
		tool.OutcomeInvalidOutput, engine.OutcomeInvalidArguments, engine.OutcomeDisabled,
	}
)

// Metrics are all metrics of one runtime. Its methods are safe for concurrent
// use, do not block, and allocate nothing for labels that were seen before. A
// nil *Metrics is not usable.
type Metrics struct {
	streams    *family[prometheus.Gauge]
	maxStreams prometheus.Gauge
	messages   *family[prometheus.Counter]
	latency    prometheus.Histogram
	durations  *family[prometheus.Observer]
	errors     *family[prometheus.Counter]
	sessions   *family[prometheus.Gauge]
	clients    *family[string]
	clientsVec *prometheus.CounterVec
	rejections *family[prometheus.Counter]
	refusals   map[string]*family[prometheus.Counter]
	inFlight   prometheus.Gauge
	forwarded  *family[prometheus.Counter]
	peers      prometheus.Gauge
	outbox     prometheus.Gauge
	parked     *reading
	memory     *reading

	// settingUp serializes what a new configuration changes.
	settingUp   sync.Mutex
	toolCalls   *prometheus.CounterVec
	toolSeconds *prometheus.HistogramVec
	tools       atomic.Pointer[map[string]*toolMetrics]
	revision    *prometheus.GaugeVec
	refused     prometheus.Gauge
	reloads     *prometheus.CounterVec
	resumed     prometheus.Counter
	notResumed  prometheus.Counter
	eventLog    prometheus.Gauge
	problems    prometheus.Gauge
}

// toolMetrics are one tool's metrics, made when the tool is loaded.
type toolMetrics struct {
	outcomes *family[prometheus.Counter]
	seconds  prometheus.Observer
}

// New registers all metrics, and those of the Go runtime and the process, on
// reg. version is the runtime's. It panics when one of them is registered
// already: that is a programming error.
func New(reg prometheus.Registerer, version string) *Metrics {
	r := registrar{Registerer: reg}
	streams := r.gauges("fairlead_sse_active_connections", "Event streams that are open now, by transport.", "transport")
	messages := r.counters("fairlead_sse_messages_total", "Messages that were written to event streams, by kind.", "event_type")
	durations := r.histograms("fairlead_sse_connection_duration_seconds", "How long event streams were open, by why they ended.", connectionBuckets, "reason")
	errs := r.counters("fairlead_sse_errors_total", "Errors on event streams, by kind.", "error_type")
	sessions := r.gauges("fairlead_sessions", "Sessions that exist now, by the era of the protocol.", "era")
	rejections := r.counters("fairlead_rejections_total", "HTTP requests that were refused, by the code in the answer's body; for want of memory by memory or buffers.", "reason")
	forwarded := r.counters("fairlead_forwarded_requests_total", "Requests of sessions on other replicas, by what came of forwarding them.", "outcome")
	refusals := r.counters("fairlead_message_errors_total", "MCP messages that were answered with an error instead of being run, by the era of the protocol and the kind of error.", "era", "kind")
	resumptions := r.counters("fairlead_resumptions_total", "Clients that came back with the id of the last event that they had seen, by result: resumed or gone.", "result")
	m := &Metrics{
		resumed:     resumptions.WithLabelValues("resumed"),
		notResumed:  resumptions.WithLabelValues("gone"),
		eventLog:    r.gauge("fairlead_event_log_bytes", "Bytes that are kept for clients that lose an event stream."),
		streams:     newFamily(maxWords, isWord, vec1(streams.WithLabelValues), eras...),
		maxStreams:  r.gauge("fairlead_sse_max_connections", "Event streams that this replica takes at most."),
		messages:    newFamily(maxWords, isWord, vec1(messages.WithLabelValues)),
		latency:     r.histogram("fairlead_sse_message_latency_seconds", "Time from handing a message to its stream until it was written.", callBuckets),
		durations:   newFamily(maxWords, isWord, vec1(durations.WithLabelValues)),
		errors:      newFamily(maxWords, isWord, vec1(errs.WithLabelValues)),
		sessions:    newFamily(maxWords, isWord, vec1(sessions.WithLabelValues), eras[:2]...),
		clients:     newFamily(maxClients, isClientName, func(name string) string { return name }),
		clientsVec:  r.counters("fairlead_clients_total", "Clients that introduced themselves, by the era of the protocol and the name that they gave.", "era", "client"),
		rejections:  newFamily(maxWords, isWord, vec1(rejections.WithLabelValues)),
		inFlight:    r.gauge("fairlead_requests_in_flight", "HTTP requests that are being answered, without the event streams that they opened."),
		forwarded:   newFamily(maxWords, isWord, vec1(forwarded.WithLabelValues), forwardOutcomes...),
		peers:       r.gauge("fairlead_peers", "Other replicas of the server that are ready, as this one knows them."),
		outbox:      r.gauge("fairlead_outbox_bytes", "Bytes that wait in the outboxes of all event streams."),
		parked:      r.reading("fairlead_parked_connections", "Connections of clients that wait for their next request without a goroutine and buffers."),
		memory:      r.reading("fairlead_memory_pressure_ratio", "Memory in use as a part of the pod's memory limit, 0 without one; from 0.9 on nothing new is taken."),
		toolCalls:   r.counters("fairlead_tool_calls_total", "Calls of tools that ended, by outcome.", "tool", "outcome"),
		toolSeconds: r.histograms("fairlead_tool_duration_seconds", "How long calls of tools took, the wait for a free slot included.", callBuckets, "tool"),
		revision:    r.gauges("fairlead_config_revision_info", "The configuration's revision that is served; the value is 1.", "revision"),
		refused:     r.gauge("fairlead_config_refused", "1 while the newest configuration file is refused and an older revision is served, else 0."),
		problems:    r.gauge("fairlead_secret_problems", "Secrets, and keys in them, that the configuration refers to and that cannot be used now."),
		reloads:     r.counters("fairlead_config_reloads_total", "Configuration files that were read, by result: applied or refused.", "result"),
	}
	m.refusals = make(map[string]*family[prometheus.Counter], len(eras)+1)
	for _, era := range append([]string{Other}, eras...) {
		m.refusals[era] = newFamily(maxWords, isWord, func(kind string) prometheus.Counter { return refusals.WithLabelValues(era, kind) })
	}
	r.gauges("fairlead_build_info", "The versions of the runtime and of Go; the value is 1.", "version", "go_version").
		WithLabelValues(version, runtime.Version()).Set(1)
	reg.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	m.tools.Store(&map[string]*toolMetrics{})
	m.SetTools(nil)
	// Counters that exist before they count let rate() see their first step.
	for _, result := range []string{"applied", "refused"} {
		m.reloads.WithLabelValues(result)
	}
	return m
}

// SetTools makes the metrics of the tools of a new revision and drops those of
// tools that are gone; a call of these that ends later counts as Other.
func (m *Metrics) SetTools(names []string) {
	m.settingUp.Lock()
	defer m.settingUp.Unlock()
	prev := *m.tools.Load()
	next := make(map[string]*toolMetrics, len(names)+1)
	for _, name := range append([]string{Other}, names...) {
		if next[name] = prev[name]; next[name] == nil {
			next[name] = m.newToolMetrics(name)
		}
	}
	m.tools.Store(&next)
	for name := range prev {
		if next[name] == nil {
			m.toolCalls.DeletePartialMatch(prometheus.Labels{"tool": name})
			m.toolSeconds.DeleteLabelValues(name)
		}
	}
}

// newToolMetrics makes the metrics of one tool. Outcomes that never happen get
// no series.
func (m *Metrics) newToolMetrics(name string) *toolMetrics {
	return &toolMetrics{
		outcomes: newFamily(len(outcomes), isOutcome, func(outcome string) prometheus.Counter {
			return m.toolCalls.WithLabelValues(name, outcome)
		}, tool.OutcomeOK),
		seconds: m.toolSeconds.WithLabelValues(name),
	}
}

// isOutcome accepts the outcomes that there are.
func isOutcome(s string) bool { return slices.Contains(outcomes, s) }

// ToolCall implements engine.Observer: it counts a call that ended. A tool
// outside the catalog and an unknown outcome count as Other.
func (m *Metrics) ToolCall(name, outcome string, took time.Duration) {
	tools := *m.tools.Load()
	t := tools[name]
	if t == nil {
		t = tools[Other]
	}
	t.outcomes.get(outcome).Inc()
	t.seconds.Observe(took.Seconds())
}

// Client implements engine.Observer: it counts a client that introduced itself.
// At most 50 distinct names are kept; others, and those that are not printable
// ASCII of at most 64 bytes, count as Other.
func (m *Metrics) Client(era, name string) {
	if !slices.Contains(eras, era) {
		era = Other
	}
	m.clientsVec.WithLabelValues(era, m.clients.get(name)).Inc()
}

// Refused implements engine.Observer: it counts a message that the engine did
// not run. Where the era answers it with an HTTP status, Rejected counts too.
func (m *Metrics) Refused(era, kind string) {
	kinds := m.refusals[era]
	if kinds == nil {
		kinds = m.refusals[Other]
	}
	kinds.get(kind).Inc()
}

// Rejected counts a request that was answered with an error status. Reasons are
// words of the code in snake_case.
func (m *Metrics) Rejected(reason string) { m.rejections.get(reason).Inc() }

// StreamOpened implements stream.Observer.
func (m *Metrics) StreamOpened(transport string) { m.streams.get(transport).Inc() }

// StreamClosed implements stream.Observer. Streams that broke while writing
// count as errors too.
func (m *Metrics) StreamClosed(transport string, reason stream.CloseReason, lived time.Duration) {
	m.streams.get(transport).Dec()
	m.durations.get(string(reason)).Observe(lived.Seconds())
	if reason == stream.WriteTimeout || reason == stream.WriteFailed {
		m.Error(string(reason))
	}
}

// MessageWritten implements stream.Observer.
func (m *Metrics) MessageWritten(kind string, queued time.Duration) {
	m.messages.get(kind).Inc()
	m.latency.Observe(queued.Seconds())
}

// Error counts an error on an event stream. Types are words of the code in
// snake_case.
func (m *Metrics) Error(errorType string) { m.errors.get(errorType).Inc() }

// Resumed counts a client that came back with the id of an event.
func (m *Metrics) Resumed(ok bool) {
	if ok {
		m.resumed.Inc()
	} else {
		m.notResumed.Inc()
	}
}

// EventLogBytes adds n, which may be negative, to what is kept for clients that
// lose a stream.
func (m *Metrics) EventLogBytes(n int) { m.eventLog.Add(float64(n)) }

// Sessions adds n, which may be negative, to the sessions of an era.
func (m *Metrics) Sessions(era string, n int) { m.sessions.get(era).Add(float64(n)) }

// InFlight adds n, which may be negative, to the requests that are being
// answered.
func (m *Metrics) InFlight(n int) { m.inFlight.Add(float64(n)) }

// Forwarded implements peer.Observer.
func (m *Metrics) Forwarded(outcome string) { m.forwarded.get(outcome).Inc() }

// Peers implements peer.Observer.
func (m *Metrics) Peers(n int) { m.peers.Set(float64(n)) }

// OutboxBytes adds n, which may be negative, to the bytes that wait in the
// outboxes of all event streams.
func (m *Metrics) OutboxBytes(n int) { m.outbox.Add(float64(n)) }

// ReadParked says where the number of parked connections is read, once for each
// scrape.
func (m *Metrics) ReadParked(parked func() int) {
	read := func() float64 { return float64(parked()) }
	m.parked.source.Store(&read)
}

// ReadMemory says where the part of the memory limit in use is read, once for
// each scrape.
func (m *Metrics) ReadMemory(ratio func() float64) { m.memory.source.Store(&ratio) }

// ConfigApplied says which revision is served from now on.
func (m *Metrics) ConfigApplied(revision string) {
	m.settingUp.Lock()
	defer m.settingUp.Unlock()
	m.revision.Reset()
	m.revision.WithLabelValues(revision).Set(1)
	m.refused.Set(0)
	m.reloads.WithLabelValues("applied").Inc()
}

// MaxStreams says how many event streams are taken at most, by the
// configuration that is served.
func (m *Metrics) MaxStreams(n int) { m.maxStreams.Set(float64(n)) }

// ConfigRefused says that the newest configuration file is not served.
func (m *Metrics) ConfigRefused() {
	m.refused.Set(1)
	m.reloads.WithLabelValues("refused").Inc()
}

// SetProblems says how many Secrets, and keys in them, cannot be used now.
func (m *Metrics) SetProblems(n int) { m.problems.Set(float64(n)) }

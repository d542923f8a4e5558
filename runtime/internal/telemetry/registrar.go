// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package telemetry

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// registrar makes metrics and registers them.
type registrar struct{ prometheus.Registerer }

func (r registrar) gauge(name, help string) prometheus.Gauge {
	return register(r, prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help}))
}

func (r registrar) gauges(name, help string, labels ...string) *prometheus.GaugeVec {
	return register(r, prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels))
}

func (r registrar) counters(name, help string, labels ...string) *prometheus.CounterVec {
	return register(r, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
}

func (r registrar) histogram(name, help string, buckets []float64) prometheus.Histogram {
	return register(r, prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}))
}

func (r registrar) histograms(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return register(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels))
}

// reading is a gauge that is read when it is asked for; 0 until its source is
// known.
type reading struct {
	source atomic.Pointer[func() float64]
}

func (r registrar) reading(name, help string) *reading {
	m := &reading{}
	register(r, prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
		if source := m.source.Load(); source != nil {
			return (*source)()
		}
		return 0
	}))
	return m
}

// register registers one metric.
func register[C prometheus.Collector](r registrar, c C) C {
	r.MustRegister(c)
	return c
}

// vec1 adapts a vector with one label.
func vec1[T any](with func(...string) T) func(string) T {
	return func(value string) T { return with(value) }
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package app

import "github.com/prometheus/client_golang/prometheus"

// outboxGauge registers the sum of all outboxes and returns how to change it.
func outboxGauge(reg prometheus.Registerer) func(delta int) {
	gauge := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "fairlead_outbox_bytes", Help: "Bytes that wait in the outboxes of all event streams.",
	})
	reg.MustRegister(gauge)
	return func(delta int) { gauge.Add(float64(delta)) }
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// collectTimeout bounds how long a scrape waits for the cache.
const collectTimeout = 5 * time.Second

// Metrics are the operator's own, beside those of controller-runtime.
type Metrics struct{ writes, reads *prometheus.CounterVec }

// NewMetrics registers the operator's metrics. Servers are counted from reader,
// the cache, whenever somebody scrapes.
func NewMetrics(reg prometheus.Registerer, reader client.Reader) (*Metrics, error) {
	m := &Metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_operator_writes_total",
			Help: "Writes to the API server by the kind of object and what was done: apply, scale, annotate, handover, create, delete, status.",
		}, []string{"kind", "verb"}),
		reads: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "fairlead_operator_uncached_reads_total",
			Help: "Reads from the API server that the cache could not answer, by the kind of object: before the first apply of a child, and before a changed configuration.",
		}, []string{"kind"}),
	}
	for _, collector := range []prometheus.Collector{m.writes, m.reads} {
		if err := reg.Register(collector); err != nil {
			return nil, err
		}
	}
	return m, reg.Register(&serverCollector{reader: reader})
}

func (m *Metrics) wrote(kind, verb string) { m.writes.WithLabelValues(kind, verb).Inc() }

func (m *Metrics) read(kind string) { m.reads.WithLabelValues(kind).Inc() }

var serversDesc = prometheus.NewDesc("fairlead_operator_mcpservers",
	"MCPServers by the status and reason of their Ready condition.", []string{"ready", "reason"}, nil)

// unhealthyDesc has a series only for what is not as it should be: what an
// alert names, at the price of what is broken and not of what exists.
var unhealthyDesc = prometheus.NewDesc("fairlead_operator_mcpserver_unhealthy",
	"1 for each server and condition that is not as it should be: Ready other than True, Degraded or UpgradePending True.",
	[]string{"namespace", "server", "condition", "reason"}, nil)

// serverCollector counts servers in the cache: no state of its own to go stale.
type serverCollector struct{ reader client.Reader }

// Describe sends both descriptions.
func (*serverCollector) Describe(out chan<- *prometheus.Desc) {
	out <- serversDesc
	out <- unhealthyDesc
}

// Collect counts; a cache that does not answer yields no series rather than
// zeros.
func (c *serverCollector) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectTimeout)
	defer cancel()
	var servers fairleadv1alpha1.MCPServerList
	if err := c.reader.List(ctx, &servers, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	counts := map[[2]string]float64{}
	for i := range servers.Items {
		server := &servers.Items[i]
		key := [2]string{"Unknown", ""}
		if ready := meta.FindStatusCondition(server.Status.Conditions, fairleadv1alpha1.ConditionReady); ready != nil {
			key = [2]string{string(ready.Status), ready.Reason}
		}
		counts[key]++
		if key[0] != string(metav1.ConditionTrue) {
			out <- unhealthy(server, fairleadv1alpha1.ConditionReady, key[1])
		}
		for _, negative := range []string{fairleadv1alpha1.ConditionDegraded, fairleadv1alpha1.ConditionUpgradePending} {
			if c := meta.FindStatusCondition(server.Status.Conditions, negative); c != nil && c.Status == metav1.ConditionTrue {
				out <- unhealthy(server, negative, c.Reason)
			}
		}
	}
	for key, count := range counts {
		out <- prometheus.MustNewConstMetric(serversDesc, prometheus.GaugeValue, count, key[0], key[1])
	}
}

func unhealthy(server *fairleadv1alpha1.MCPServer, condition, reason string) prometheus.Metric {
	return prometheus.MustNewConstMetric(unhealthyDesc, prometheus.GaugeValue, 1, server.Namespace, server.Name, condition, reason)
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package admin answers what a cluster asks of a runtime: health, readiness,
// status and metrics. It belongs on a port of its own that clients do not
// reach.
package admin

import (
	"io"
	"net/http"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const (
	// maxScrapes bounds the metric requests that run at once.
	maxScrapes = 4
	// scrapeTimeout bounds one metric request.
	scrapeTimeout = 10 * time.Second
)

// Status is the body of /status.
type Status struct {
	// Revision is the one that is served; empty before the first.
	Revision string `json:"revision"`
	// ConfigError says why the newest configuration file is not served, with
	// the field's path; empty when it is.
	ConfigError string `json:"configError"`
	// Tools, Sessions, Streams and InFlight (calls) count what there is now.
	Tools    int `json:"tools"`
	Sessions int `json:"sessions"`
	Streams  int `json:"streams"`
	InFlight int `json:"inFlight"`
	// Draining is true from SIGTERM on.
	Draining bool `json:"draining"`
	// StartedAt is when the process began to serve.
	StartedAt time.Time `json:"startedAt"`
	// KeyIDs are the ids of the session keys that this replica holds, the current
	// one first; empty without keys.
	KeyIDs []string `json:"keyIDs"`
	// Version is this program's.
	Version string `json:"version"`
	// Contracts are the versions of server.yaml that this program reads,
	// ascending.
	Contracts []int `json:"contracts"`
	// Problems are what is wrong beside the configuration, at most MaxProblems;
	// empty when all is well.
	Problems []Problem `json:"problems"`
}

// MaxProblems bounds Status.Problems.
const MaxProblems = 16

// The codes of Problem.
const (
	// SecretMissing means that a Secret, or a key of it, does not exist.
	SecretMissing = "SecretMissing"
	// SecretInvalid means that it exists and cannot be used.
	SecretInvalid = "SecretInvalid"
)

// Problem is one thing that is wrong with what the configuration refers to. Only
// what needs it fails.
type Problem struct {
	// Code is SecretMissing or SecretInvalid, or keyring.ProblemCode for the
	// session keys, which the operator mends.
	Code string `json:"code"`
	// Secret is the name of the Secret and Key that of the entry in it, empty when
	// the whole Secret is concerned. A pod does not know the name of the Secret
	// with its session keys: both are empty for them.
	Secret string `json:"secret"`
	Key    string `json:"key"`
	// Message says what is wrong, what fails, and what to do; it never holds a
	// value.
	Message string `json:"message"`
}

// Options are what the handler asks.
type Options struct {
	// Status returns the state now; it does not block.
	Status func() Status
	// Gatherer is what /metrics shows.
	Gatherer prometheus.Gatherer
}

// Handler serves /healthz, /readyz, /status and /metrics, for GET and HEAD
// only. /readyz is 503 before the first configuration and while draining;
// /healthz answers as long as the process can.
func Handler(o Options) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok\n") })
	mux.HandleFunc("/readyz", func(w http.ResponseWriter, _ *http.Request) {
		switch status := o.Status(); {
		case status.Draining:
			text(w, http.StatusServiceUnavailable, "draining\n")
		case status.Revision == "":
			text(w, http.StatusServiceUnavailable, "no configuration is served yet\n")
		default:
			text(w, http.StatusOK, "ok\n")
		}
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) { writeStatus(w, o.Status()) })
	mux.Handle("/metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	}))
	return readOnly(mux)
}

// readOnly refuses other methods and bodies.
func readOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			text(w, http.StatusMethodNotAllowed, "use GET\n")
			return
		}
		r.Body = http.MaxBytesReader(w, r.Body, 0)
		next.ServeHTTP(w, r)
	})
}

// writeStatus writes a Status as one line of JSON.
func writeStatus(w http.ResponseWriter, status Status) {
	body, err := json.Marshal(status)
	if err != nil {
		text(w, http.StatusInternalServerError, "failed to encode the status\n")
		return
	}
	header(w, "application/json")
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(append(body, '\n')) // Who asked has gone away, if it fails.
}

// text writes a short plain answer.
func text(w http.ResponseWriter, status int, body string) {
	header(w, "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, body) // Who asked has gone away, if it fails.
}

// header sets what every answer of a person-written handler has.
func header(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
}

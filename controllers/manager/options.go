// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package manager wires the operator together: its options, its cache and
// client, its servers for metrics and health, and the election of a leader.
package manager

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Defaults of Options.
const (
	// DefaultRuntimeImage is the image of servers' pods.
	DefaultRuntimeImage = "docker.io/local/fairlead-runtime:dev"
	// DefaultHealthProbeBindAddress is where /healthz and /readyz are.
	DefaultHealthProbeBindAddress = ":8081"
)

// Options are the operator's configuration.
type Options struct {
	// RuntimeImage is the image of servers' pods where spec.pod.image is not
	// set; required.
	RuntimeImage string
	// DefaultReplicas is the number of pods of servers that do not set
	// spec.replicas, 1 to 100.
	DefaultReplicas int32
	// ClusterDomain ends the full names of Services, under which clients come:
	// a name of at most 253 characters.
	ClusterDomain string
	// MetricsBindAddress serves /metrics over TLS to callers that may get it;
	// "0" serves none.
	MetricsBindAddress string
	// MetricsCertDir holds tls.crt and tls.key for it; empty: self-signed.
	MetricsCertDir string
	// HealthProbeBindAddress serves /healthz and /readyz.
	HealthProbeBindAddress string
	// LeaderElect makes replicas of the operator take turns.
	LeaderElect bool
	// LeaderElectionNamespace holds the Lease; empty: the operator's own
	// namespace.
	LeaderElectionNamespace string
	// MaxConcurrentReconciles is the number of servers worked on at once, 1 to 100.
	MaxConcurrentReconciles int
	// LogLevel is the least level that is logged: DEBUG, INFO, WARN or ERROR.
	LogLevel slog.Level
}

// BindFlags adds a flag for every option to fs, with the defaults.
func (o *Options) BindFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.RuntimeImage, "runtime-image", DefaultRuntimeImage, "image of servers' pods where spec.pod.image is not set")
	fs.Int32Var(&o.DefaultReplicas, "default-replicas", 2, "pods of servers that do not set spec.replicas, 1 to 100")
	fs.StringVar(&o.ClusterDomain, "cluster-domain", "cluster.local", "domain of the cluster's DNS")
	fs.StringVar(&o.MetricsBindAddress, "metrics-bind-address", ":8443", "address of /metrics, over TLS and behind authentication and authorization; 0 for none")
	fs.StringVar(&o.MetricsCertDir, "metrics-cert-dir", "", "folder with tls.crt and tls.key for /metrics; self-signed without it")
	fs.StringVar(&o.HealthProbeBindAddress, "health-probe-bind-address", DefaultHealthProbeBindAddress, "address of /healthz and /readyz")
	fs.BoolVar(&o.LeaderElect, "leader-elect", false, "let replicas of the operator take turns")
	fs.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", "", "namespace of the Lease; the operator's own without it")
	fs.IntVar(&o.MaxConcurrentReconciles, "max-concurrent-reconciles", 8, "servers worked on at once, 1 to 100")
	fs.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "least level that is logged: debug, info, warn or error")
}

// Validate returns every option that is out of its bounds.
func (o *Options) Validate() error {
	var errs []error
	if o.RuntimeImage == "" {
		errs = append(errs, errors.New("--runtime-image must not be empty"))
	}
	if o.DefaultReplicas < 1 || o.DefaultReplicas > 100 {
		errs = append(errs, fmt.Errorf("--default-replicas must be from 1 to 100, not %d", o.DefaultReplicas))
	}
	if problems := validation.IsDNS1123Subdomain(o.ClusterDomain); len(problems) > 0 {
		errs = append(errs, fmt.Errorf("--cluster-domain %q: %s", o.ClusterDomain, strings.Join(problems, "; ")))
	}
	if o.MaxConcurrentReconciles < 1 || o.MaxConcurrentReconciles > 100 {
		errs = append(errs, fmt.Errorf("--max-concurrent-reconciles must be from 1 to 100, not %d", o.MaxConcurrentReconciles))
	}
	if o.MetricsBindAddress != "0" {
		if _, _, err := net.SplitHostPort(o.MetricsBindAddress); err != nil {
			errs = append(errs, fmt.Errorf("--metrics-bind-address must be host:port, :port or 0: %w", err))
		}
	}
	if _, _, err := net.SplitHostPort(o.HealthProbeBindAddress); err != nil {
		errs = append(errs, fmt.Errorf("--health-probe-bind-address must be host:port or :port: %w", err))
	}
	return errors.Join(errs...)
}

// LogValue is the effective configuration, for the log.
func (o *Options) LogValue() slog.Value {
	return slog.GroupValue(
		slog.String("runtimeImage", o.RuntimeImage),
		slog.Int("defaultReplicas", int(o.DefaultReplicas)),
		slog.String("clusterDomain", o.ClusterDomain),
		slog.String("metricsBindAddress", o.MetricsBindAddress),
		slog.String("metricsCertDir", o.MetricsCertDir),
		slog.String("healthProbeBindAddress", o.HealthProbeBindAddress),
		slog.Bool("leaderElect", o.LeaderElect),
		slog.String("leaderElectionNamespace", o.LeaderElectionNamespace),
		slog.Int("maxConcurrentReconciles", o.MaxConcurrentReconciles),
		slog.String("logLevel", o.LogLevel.String()),
	)
}

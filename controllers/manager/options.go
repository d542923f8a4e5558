// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package manager wires the operator together: its options, its cache and
// client, its servers for metrics and health, and the election of a leader.
package manager

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"
)

// Defaults of Options.
const (
	// DefaultNamespace is the operator's own namespace where no service account
	// tells of another.
	DefaultNamespace = "fairlead-system"
	// defaultRollouts is how many servers an upgrade of the operator touches at
	// once.
	defaultRollouts = 5
	// DefaultRuntimeImage is the image of servers' pods.
	DefaultRuntimeImage = "fairlead.invalid/fairlead-runtime:dev"
	// DefaultHealthProbeBindAddress is where /healthz and /readyz are.
	DefaultHealthProbeBindAddress = ":8081"
)

// Bounds of lists.
const (
	maxNamespaces           = 64
	maxMonitoringNamespaces = 16
	maxAllowed              = 64
)

// namespaceFile is where a pod finds its own namespace.
const namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

// Verification says whether a server is Ready only when a client was served.
type Verification string

const (
	// VerificationRequired asks each server for its tools, through its Service,
	// before it is Ready.
	VerificationRequired Verification = "Required"
	// VerificationOff is for an operator that cannot reach Services.
	VerificationOff Verification = "Off"
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
	// LeaderElectionNamespace holds the Lease; empty: Namespace.
	LeaderElectionNamespace string
	// Namespace is the operator's own, which holds its master key; empty: that
	// of its service account, else DefaultNamespace.
	Namespace string
	// WatchNamespaces are the namespaces whose servers are served, at most 64;
	// empty: all of the cluster.
	WatchNamespaces []string
	// MonitoringNamespaces may scrape port 8081 of servers' pods, at most 16.
	MonitoringNamespaces []string
	// MaxConcurrentReconciles is the number of servers worked on at once, 1 to
	// 100; with WatchNamespaces, of each namespace.
	MaxConcurrentReconciles int
	// MaxConcurrentRollouts is the number of servers whose pods are replaced at
	// once because the operator changed, 1 to 100. A user's own edit never waits.
	MaxConcurrentRollouts int
	// Verification says whether Ready needs a client that was served.
	Verification Verification
	// AllowedIngressClasses are the classes that spec.exposure may name, at most
	// 64; empty: any.
	AllowedIngressClasses []string
	// AllowedHostSuffixes end the hosts that spec.exposure may name, at most 64,
	// such as .apps.example.com; empty: any.
	AllowedHostSuffixes []string
	// AllowedAnnotationPrefixes begin the annotations that users may set, at
	// most 64; empty: any but snippets and authentication, which no server may.
	AllowedAnnotationPrefixes []string
	// AllowedImagePrefixes begin the images that users may set, at most 64, such
	// as registry.example.com/mcp/; empty: any.
	AllowedImagePrefixes []string
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
	fs.StringVar(&o.LeaderElectionNamespace, "leader-election-namespace", "", "namespace of the Lease; --namespace without it")
	fs.IntVar(&o.MaxConcurrentReconciles, "max-concurrent-reconciles", 8, "servers worked on at once, 1 to 100; with --watch-namespaces, of each namespace")
	o.bindScope(fs)
	o.bindLimits(fs)
	fs.TextVar(&o.LogLevel, "log-level", slog.LevelInfo, "least level that is logged: debug, info, warn or error")
}

func (o *Options) bindScope(fs *pflag.FlagSet) {
	fs.StringVar(&o.Namespace, "namespace", "", "the operator's own namespace; that of its service account without it, else "+DefaultNamespace)
	fs.StringSliceVar(&o.WatchNamespaces, "watch-namespaces", nil, "namespaces whose servers are served, comma-separated, at most 64; all of the cluster without it")
	fs.StringSliceVar(&o.MonitoringNamespaces, "monitoring-namespaces", nil, "namespaces that may scrape servers' metrics, comma-separated, at most 16")
	fs.IntVar(&o.MaxConcurrentRollouts, "max-concurrent-rollouts", defaultRollouts, "servers whose pods are replaced at once because the operator changed, 1 to 100")
	fs.StringVar((*string)(&o.Verification), "verification", string(VerificationRequired), "Required: a server is Ready when a client was served through its Service; Off: for an operator that cannot reach Services")
}

func (o *Options) bindLimits(fs *pflag.FlagSet) {
	fs.StringSliceVar(&o.AllowedIngressClasses, "allowed-ingress-classes", nil, "classes that an exposure may name, comma-separated; any without it")
	fs.StringSliceVar(&o.AllowedHostSuffixes, "allowed-host-suffixes", nil, "ends of the hosts that an exposure may name, comma-separated, such as .apps.example.com; any without it")
	fs.StringSliceVar(&o.AllowedAnnotationPrefixes, "allowed-annotation-prefixes", nil, "beginnings of the keys of spec.exposure.ingress.annotations, comma-separated; any without it but snippets and authentication, which none may")
	fs.StringSliceVar(&o.AllowedImagePrefixes, "allowed-image-prefixes", nil, "beginnings of the images that an MCPServer may name, comma-separated, such as registry.example.com/mcp/; any without it")
}

// OwnNamespace returns Namespace or what stands in for it.
func (o *Options) OwnNamespace() string {
	if o.Namespace != "" {
		return o.Namespace
	}
	// Only a pod has the file, and its kubelet wrote it.
	if data, err := os.ReadFile(namespaceFile); err == nil && len(bytes.TrimSpace(data)) > 0 {
		return string(bytes.TrimSpace(data))
	}
	return DefaultNamespace
}

// Validate returns every option that is out of its bounds.
func (o *Options) Validate() error {
	var errs []error
	if o.RuntimeImage == "" {
		errs = append(errs, errors.New("--runtime-image must not be empty"))
	}
	if problems := validation.IsDNS1123Subdomain(o.ClusterDomain); len(problems) > 0 {
		errs = append(errs, fmt.Errorf("--cluster-domain %q: %s", o.ClusterDomain, strings.Join(problems, "; ")))
	}
	if o.Verification != VerificationRequired && o.Verification != VerificationOff {
		errs = append(errs, fmt.Errorf("--verification must be %s or %s, not %q", VerificationRequired, VerificationOff, o.Verification))
	}
	errs = append(errs,
		inRange("--default-replicas", int(o.DefaultReplicas)),
		inRange("--max-concurrent-reconciles", o.MaxConcurrentReconciles),
		inRange("--max-concurrent-rollouts", o.MaxConcurrentRollouts),
	)
	return errors.Join(append(errs, append(o.validateAddresses(), o.validateLists()...)...)...)
}

func inRange(flag string, value int) error {
	if value < 1 || value > 100 {
		return fmt.Errorf("%s must be from 1 to 100, not %d", flag, value)
	}
	return nil
}

func (o *Options) validateAddresses() []error {
	var errs []error
	if o.MetricsBindAddress != "0" {
		if _, _, err := net.SplitHostPort(o.MetricsBindAddress); err != nil {
			errs = append(errs, fmt.Errorf("--metrics-bind-address must be host:port, :port or 0: %w", err))
		}
	}
	if _, _, err := net.SplitHostPort(o.HealthProbeBindAddress); err != nil {
		errs = append(errs, fmt.Errorf("--health-probe-bind-address must be host:port or :port: %w", err))
	}
	return errs
}

func (o *Options) validateLists() []error {
	var errs []error
	for flag, name := range map[string]string{"--namespace": o.Namespace, "--leader-election-namespace": o.LeaderElectionNamespace} {
		if name != "" {
			errs = append(errs, validList(flag, []string{name}, 1, validation.IsDNS1123Label))
		}
	}
	return append(errs,
		validList("--watch-namespaces", o.WatchNamespaces, maxNamespaces, validation.IsDNS1123Label),
		validList("--monitoring-namespaces", o.MonitoringNamespaces, maxMonitoringNamespaces, validation.IsDNS1123Label),
		validList("--allowed-ingress-classes", o.AllowedIngressClasses, maxAllowed, validation.IsDNS1123Subdomain),
		validList("--allowed-host-suffixes", o.AllowedHostSuffixes, maxAllowed, func(suffix string) []string {
			return validation.IsDNS1123Subdomain(strings.TrimPrefix(suffix, "."))
		}),
		validList("--allowed-annotation-prefixes", o.AllowedAnnotationPrefixes, maxAllowed, notBlank),
		validList("--allowed-image-prefixes", o.AllowedImagePrefixes, maxAllowed, notBlank),
	)
}

// notBlank refuses what would allow everything by accident.
func notBlank(prefix string) []string {
	if strings.TrimSpace(prefix) == "" || strings.ContainsAny(prefix, " \t\n") {
		return []string{"must not be empty or hold spaces"}
	}
	return nil
}

func validList(flag string, values []string, most int, check func(string) []string) error {
	var errs []error
	if len(values) > most {
		errs = append(errs, fmt.Errorf("%s may have at most %d entries, not %d", flag, most, len(values)))
	}
	seen := map[string]bool{}
	for _, value := range values {
		if problems := check(value); len(problems) > 0 {
			errs = append(errs, fmt.Errorf("%s %q: %s", flag, value, strings.Join(problems, "; ")))
		}
		if seen[value] {
			errs = append(errs, fmt.Errorf("%s names %q twice", flag, value))
		}
		seen[value] = true
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
		slog.String("namespace", o.OwnNamespace()),
		slog.Any("watchNamespaces", o.WatchNamespaces),
		slog.Any("monitoringNamespaces", o.MonitoringNamespaces),
		slog.Int("maxConcurrentRollouts", o.MaxConcurrentRollouts),
		slog.String("verification", string(o.Verification)),
		slog.Any("allowedIngressClasses", o.AllowedIngressClasses),
		slog.Any("allowedHostSuffixes", o.AllowedHostSuffixes),
		slog.Any("allowedAnnotationPrefixes", o.AllowedAnnotationPrefixes),
		slog.Any("allowedImagePrefixes", o.AllowedImagePrefixes),
		slog.String("logLevel", o.LogLevel.String()),
	)
}

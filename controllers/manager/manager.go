// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
	"fairlead.dev/fairlead/controllers/resources"
)

// leaseName is the Lease of the operator's replicas.
const leaseName = "fairlead-operator"

// syncProbe bounds how long a readiness probe waits for the cache.
const syncProbe = 500 * time.Millisecond

// ErrCRDMissing says that the cluster does not serve MCPServers.
var ErrCRDMissing = errors.New("the cluster does not serve fairlead.dev/v1alpha1 MCPServer: install the CustomResourceDefinition with `kubectl apply --server-side -k config/crd`, then start the operator again")

// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=fairlead-system,resources=leases,verbs=create
// +kubebuilder:rbac:groups=coordination.k8s.io,namespace=fairlead-system,resources=leases,resourceNames=fairlead-operator,verbs=get;update;patch
// +kubebuilder:rbac:groups="",namespace=fairlead-system,resources=events,verbs=create;patch
// +kubebuilder:rbac:groups="",namespace=fairlead-system,resources=secrets,verbs=create
// +kubebuilder:rbac:groups="",namespace=fairlead-system,resources=secrets,resourceNames=fairlead-master-key,verbs=get
// +kubebuilder:rbac:groups="",resources=secrets,verbs=create;patch
// +kubebuilder:rbac:groups="",resources=pods/status,verbs=patch
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,resourceNames=mcpservers.fairlead.dev,verbs=get

// Run runs the operator until ctx ends.
func Run(ctx context.Context, cfg *rest.Config, o Options, log *slog.Logger) error {
	if err := o.Validate(); err != nil {
		return err
	}
	logger := logr.FromSlogHandler(log.Handler())
	ctrl.SetLogger(logger)
	klog.SetLogger(logger)
	log.InfoContext(ctx, "Starting", slog.Any("options", o.LogValue()))
	mgr, err := New(ctx, cfg, o, logger, metrics.Registry)
	if err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("failed to run the operator: %w", err)
	}
	return nil
}

// New returns a manager with the operator's controller, whose metrics it adds
// to reg. It fails with ErrCRDMissing on a cluster without the CRD.
func New(ctx context.Context, cfg *rest.Config, o Options, logger logr.Logger, reg prometheus.Registerer) (ctrl.Manager, error) {
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(unlimited(cfg), managerOptions(o, scheme, logger))
	if err != nil {
		return nil, fmt.Errorf("failed to set up the operator: %w", err)
	}
	if err := checkCRD(mgr.GetRESTMapper()); err != nil {
		return nil, err
	}
	if err := addHealth(mgr); err != nil {
		return nil, err
	}
	counts, err := controllers.NewMetrics(reg, mgr.GetCache())
	if err != nil {
		return nil, fmt.Errorf("failed to register metrics: %w", err)
	}
	reconciler := &controllers.Reconciler{
		Client:   mgr.GetClient(),
		Live:     mgr.GetAPIReader(),
		Recorder: mgr.GetEventRecorder(controllers.FieldOwner),
		Defaults: resources.Defaults{RuntimeImage: o.RuntimeImage, Replicas: o.DefaultReplicas, ClusterDomain: o.ClusterDomain},
		Metrics:  counts,
	}
	return mgr, reconciler.SetupWithManager(ctx, mgr)
}

// Scheme returns the types that the operator reads and writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(
		fairleadv1alpha1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, metav1.AddMetaToScheme,
	)
	if err := builder.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("failed to register types: %w", err)
	}
	return scheme, nil
}

// unlimited leaves pacing to the API server's priority and fairness: the
// client's own default of 20 requests a second would make a start with many
// servers take minutes.
func unlimited(cfg *rest.Config) *rest.Config {
	cfg = rest.CopyConfig(cfg)
	cfg.QPS = -1
	cfg.UserAgent = rest.DefaultKubernetesUserAgent()
	return cfg
}

func managerOptions(o Options, scheme *runtime.Scheme, logger logr.Logger) ctrl.Options {
	return ctrl.Options{
		Scheme: scheme,
		Logger: logger,
		Cache:  controllers.CacheOptions(),
		// A reconcile that follows a write must see it, or it would write again.
		Client: client.Options{
			FieldOwner: controllers.FieldOwner,
			Cache:      &client.CacheOptions{EnableReadYourWritesConsistency: new(true)},
		},
		Metrics: metricsserver.Options{
			BindAddress:    o.MetricsBindAddress,
			SecureServing:  true,
			CertDir:        o.MetricsCertDir,
			FilterProvider: filters.WithAuthenticationAndAuthorization,
		},
		HealthProbeBindAddress:        o.HealthProbeBindAddress,
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       o.LeaderElectionNamespace,
		LeaderElectionReleaseOnCancel: true, // The process ends when the manager does.
		Controller: ctrlconfig.Controller{
			MaxConcurrentReconciles: o.MaxConcurrentReconciles,
			EnableWarmup:            new(true), // A replica in waiting has its cache filled.
			SkipNameValidation:      new(true), // There is one controller; a test runs it more than once.
			ReconciliationTimeout:   2 * time.Minute,
		},
	}
}

func checkCRD(mapper meta.RESTMapper) error {
	kind := schema.GroupKind{Group: fairleadv1alpha1.GroupVersion.Group, Kind: "MCPServer"}
	switch _, err := mapper.RESTMapping(kind, fairleadv1alpha1.GroupVersion.Version); {
	case meta.IsNoMatchError(err):
		return ErrCRDMissing
	case err != nil:
		return fmt.Errorf("failed to ask the cluster for MCPServers: %w", err)
	}
	return nil
}

// addHealth makes the operator live while it runs and ready once its cache is
// filled.
func addHealth(mgr ctrl.Manager) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("failed to add the health check: %w", err)
	}
	err := mgr.AddReadyzCheck("cache", func(req *http.Request) error {
		ctx, cancel := context.WithTimeout(req.Context(), syncProbe)
		defer cancel()
		if !mgr.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the cache is not filled yet")
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("failed to add the readiness check: %w", err)
	}
	return nil
}

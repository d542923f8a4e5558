// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers"
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

// New returns a manager with the operator's controllers, whose metrics it adds
// to reg. It fails with ErrCRDMissing on a cluster without the CRD. Each edit is
// called with each reconciler before it is set up, for tests that put doubles in
// the place of what reaches pods.
func New(ctx context.Context, cfg *rest.Config, o Options, logger logr.Logger, reg prometheus.Registerer, edits ...func(*controllers.Reconciler)) (ctrl.Manager, error) {
	cfg = unlimited(cfg)
	log := slog.New(logr.ToSlogHandler(logger))
	scheme, err := Scheme()
	if err != nil {
		return nil, err
	}
	may, err := askRights(ctx, cfg)
	if err != nil {
		return nil, err
	}
	tellRights(ctx, log, o, may)
	mgr, err := ctrl.NewManager(cfg, managerOptions(o, may, scheme, logger))
	if err != nil {
		return nil, fmt.Errorf("failed to set up the operator: %w", err)
	}
	if err := checkCRD(mgr.GetRESTMapper()); err != nil {
		return nil, err
	}
	scopes, err := newScopes(mgr, cfg, o, may, log)
	if err != nil {
		return nil, err
	}
	schema := newSchemaCheck(mgr.GetAPIReader(), log)
	if err := mgr.Add(schema); err != nil {
		return nil, fmt.Errorf("failed to add the check of the schema: %w", err)
	}
	if err := addHealth(mgr, o.HealthProbeBindAddress, everywhere(scopes), schema); err != nil {
		return nil, err
	}
	counts, err := controllers.NewMetrics(reg, everywhere(scopes))
	if err != nil {
		return nil, fmt.Errorf("failed to register metrics: %w", err)
	}
	return mgr, addControllers(ctx, mgr, scopes, o, counts, log, edits)
}

// Scheme returns the types that the operator reads and writes.
func Scheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	builder := runtime.NewSchemeBuilder(
		fairleadv1alpha1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme,
		autoscalingv2.AddToScheme, policyv1.AddToScheme, metav1.AddMetaToScheme,
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

func managerOptions(o Options, may rights, scheme *runtime.Scheme, logger logr.Logger) ctrl.Options {
	return ctrl.Options{
		Scheme: scheme,
		Logger: logger,
		Cache:  cacheOptions(may),
		Client: clientOptions(),
		Metrics: metricsserver.Options{
			BindAddress:    o.MetricsBindAddress,
			SecureServing:  true,
			CertDir:        o.MetricsCertDir,
			FilterProvider: scrapers(may),
		},
		HealthProbeBindAddress:        "0", // See addHealth.
		LeaderElection:                o.LeaderElect,
		LeaderElectionID:              leaseName,
		LeaderElectionNamespace:       cmp.Or(o.LeaderElectionNamespace, o.OwnNamespace()),
		LeaderElectionReleaseOnCancel: true, // The process ends when the manager does.
		Controller: ctrlconfig.Controller{
			MaxConcurrentReconciles: o.MaxConcurrentReconciles,
			EnableWarmup:            new(true), // A replica in waiting has its cache filled.
			SkipNameValidation:      new(true), // There is one for each namespace of --watch-namespaces.
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

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/config/crd"
)

// definitionName is the name of the CustomResourceDefinition.
const definitionName = "mcpservers.fairlead.dev"

// namedFields is how many missing fields a message names.
const namedFields = 3

// Pauses between two looks at an old CustomResourceDefinition.
const (
	firstPause = time.Second
	lastPause  = time.Minute
)

var definitionKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}

// errNotCompared says that the schema was not looked at yet.
var errNotCompared = errors.New("the CustomResourceDefinition was not looked at yet")

// OldCRDError says that the cluster has an older schema than this operator: the
// API server would drop fields from what users write.
type OldCRDError struct {
	// Missing are paths of fields that the cluster's schema lacks.
	Missing []string
}

// Error names some fields and the command to run.
func (e *OldCRDError) Error() string {
	some, more := e.Missing, ""
	if len(some) > namedFields {
		some, more = some[:namedFields], fmt.Sprintf(" and %d more", len(e.Missing)-namedFields)
	}
	return fmt.Sprintf("the CustomResourceDefinition %s is older than this operator and lacks %s%s: run `kubectl apply --server-side -k config/crd`, or upgrade the chart with crds.install",
		definitionName, strings.Join(some, ", "), more)
}

// schemaCheck compares the schema of the cluster with the one that the operator
// was built with, until the cluster has all of its fields. A newer one is fine.
type schemaCheck struct {
	live client.Reader
	log  *slog.Logger

	mu      sync.Mutex // guards verdict
	verdict error
}

func newSchemaCheck(live client.Reader, log *slog.Logger) *schemaCheck {
	return &schemaCheck{live: live, log: log, verdict: errNotCompared}
}

// ready returns the last verdict; nil if the schema will do.
func (s *schemaCheck) ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.verdict
}

// NeedLeaderElection is false: every replica answers for itself.
func (*schemaCheck) NeedLeaderElection() bool { return false }

// Start looks until the schema will do or ctx ends. It says once what is wrong,
// and again when something else is.
func (s *schemaCheck) Start(ctx context.Context) error {
	said := ""
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := s.compare(ctx)
		if apierrors.IsForbidden(err) {
			s.log.InfoContext(ctx, "The schema of MCPServers is not checked: the operator may not read its CustomResourceDefinition", slog.String("name", definitionName))
			err = nil
		}
		s.mu.Lock()
		s.verdict = err
		s.mu.Unlock()
		if err == nil {
			return nil
		}
		if err.Error() != said {
			said = err.Error()
			s.log.ErrorContext(ctx, "The operator is not ready", slog.String("error", said))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// compare reads the hash first, which is small; the schema is not.
func (s *schemaCheck) compare(ctx context.Context) error {
	own, err := crd.Own()
	if err != nil {
		return err
	}
	built := unstructured.Unstructured{Object: own}
	meta := &metav1.PartialObjectMetadata{}
	meta.SetGroupVersionKind(definitionKind)
	key := client.ObjectKey{Name: definitionName}
	if err := s.live.Get(ctx, key, meta); err != nil {
		return fmt.Errorf("failed to read CustomResourceDefinition %q: %w", definitionName, err)
	}
	if hash := meta.GetAnnotations()[crd.AnnotationSchemaHash]; hash != "" && hash == built.GetAnnotations()[crd.AnnotationSchemaHash] {
		return nil
	}
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(definitionKind)
	if err := s.live.Get(ctx, key, found); err != nil {
		return fmt.Errorf("failed to read CustomResourceDefinition %q: %w", definitionName, err)
	}
	if missing := crd.Missing(own, found.Object); len(missing) > 0 {
		return &OldCRDError{Missing: missing}
	}
	return nil
}

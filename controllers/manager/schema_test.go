// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package manager

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/config/crd"
)

// definitions is a cluster with one CustomResourceDefinition.
type definitions struct {
	mu     sync.Mutex // guards all below
	object map[string]any
	err    error
	// full counts how often all of it was read.
	full int
}

func (d *definitions) Get(_ context.Context, _ client.ObjectKey, object client.Object, _ ...client.GetOption) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	live := &unstructured.Unstructured{Object: d.object}
	switch into := object.(type) {
	case *metav1.PartialObjectMetadata:
		into.SetAnnotations(live.GetAnnotations())
	case *unstructured.Unstructured:
		d.full++
		into.Object = live.DeepCopy().Object
	}
	return nil
}

func (*definitions) List(context.Context, client.ObjectList, ...client.ListOption) error {
	return errors.New("nobody lists")
}

func (d *definitions) set(object map[string]any, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.object, d.err = object, err
}

// own returns the schema of this operator, without a hash and after change.
func own(t *testing.T, change func(spec map[string]any)) map[string]any {
	t.Helper()
	object, err := crd.Own()
	if err != nil {
		t.Fatal(err)
	}
	live := &unstructured.Unstructured{Object: object}
	live.SetAnnotations(nil)
	versions, _, err := unstructured.NestedSlice(object, "spec", "versions")
	if err != nil {
		t.Fatal(err)
	}
	spec, _, err := unstructured.NestedMap(versions[0].(map[string]any), "schema", "openAPIV3Schema", "properties", "spec", "properties")
	if err != nil {
		t.Fatal(err)
	}
	change(spec)
	if err := unstructured.SetNestedMap(versions[0].(map[string]any), spec, "schema", "openAPIV3Schema", "properties", "spec", "properties"); err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedSlice(object, versions, "spec", "versions"); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestSchemaCheck(t *testing.T) {
	t.Parallel()
	same, err := crd.Own()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name string
		live *definitions
		// want is in the verdict; empty: the operator is ready.
		want string
		// full is how often all of the schema is read.
		full int
	}{
		{name: "the same, by its hash", live: &definitions{object: same}},
		{name: "the same, without a hash", live: &definitions{object: own(t, func(map[string]any) {})}, full: 1},
		{
			name: "newer",
			live: &definitions{object: own(t, func(spec map[string]any) { spec["more"] = map[string]any{"type": "string"} })}, full: 1,
		},
		{
			name: "older",
			live: &definitions{object: own(t, func(spec map[string]any) { delete(spec, "drain"); delete(spec, "limits") })}, full: 1,
			want: "lacks spec.drain, spec.limits: run `kubectl apply --server-side -k config/crd`",
		},
		{
			name: "may not be read",
			live: &definitions{err: apierrors.NewForbidden(schema.GroupResource{Resource: "customresourcedefinitions"}, definitionName, nil)},
		},
		{name: "cannot be read", live: &definitions{err: errors.New("no route")}, want: "no route"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var logs bytes.Buffer
				check := newSchemaCheck(tt.live, slog.New(slog.NewTextHandler(&logs, nil)))
				if err := check.ready(); !errors.Is(err, errNotCompared) {
					t.Errorf("before the first look: %v", err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- check.Start(ctx) }()
				synctest.Wait()
				switch err := check.ready(); {
				case tt.want == "" && err != nil:
					t.Errorf("not ready: %v", err)
				case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
					t.Errorf("verdict %v, want %q", err, tt.want)
				}
				if tt.live.full != tt.full {
					t.Errorf("the schema was read %d times, want %d", tt.live.full, tt.full)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// An old schema that is upgraded makes the operator ready without a restart.
func TestSchemaCheckSeesTheUpgrade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		live := &definitions{object: own(t, func(spec map[string]any) { delete(spec, "drain") })}
		var logs bytes.Buffer
		check := newSchemaCheck(live, slog.New(slog.NewTextHandler(&logs, nil)))
		done := make(chan error)
		go func() { done <- check.Start(t.Context()) }()
		synctest.Wait()
		if check.ready() == nil {
			t.Fatal("an old schema is taken")
		}
		same, err := crd.Own()
		if err != nil {
			t.Fatal(err)
		}
		live.set(same, nil)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := check.ready(); err != nil {
			t.Errorf("after the upgrade: %v", err)
		}
		if got := strings.Count(logs.String(), "not ready"); got != 1 {
			t.Errorf("it was logged %d times, want once", got)
		}
	})
}

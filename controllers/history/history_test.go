// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package history_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
	"fairlead.dev/fairlead/test/apiserver"
)

// server returns one whose only tool has the given description.
func server(t *testing.T, description string) *fairleadv1alpha1.MCPServer {
	t.Helper()
	s := &fairleadv1alpha1.MCPServer{}
	text := `
metadata: {name: orders, namespace: default, uid: 11111111-1111-1111-1111-111111111111}
spec:
  auth: {anonymousAccess: Allowed}
  tools:
  - name: echo
    description: ` + description + `
    inputSchema: {type: object, required: [b, a], properties: {b: {maximum: 12345678901234567890, description: "<b> & é"}, a: {}}}
    static: {content: [{text: hi}]}
status: {replicas: 0, tools: {count: 1, revision: abc}}
`
	if err := yaml.UnmarshalStrict([]byte(text), s); err != nil {
		t.Fatal(err)
	}
	return s
}

func record(t *testing.T, s *fairleadv1alpha1.MCPServer) *appsv1.ControllerRevision {
	t.Helper()
	r, err := history.Record(s)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// settle does what the reconciler does with the answer of Next.
func settle(t *testing.T, records []appsv1.ControllerRevision, s *fairleadv1alpha1.MCPServer) (after []appsv1.ControllerRevision, pruned []string) {
	t.Helper()
	apply, prune, err := history.Next(records, s)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if (apply == nil || r.Name != apply.Name) && !strings.Contains(strings.Join(prune, " "), r.Name) {
			r.Data = runtime.RawExtension{} // Caches may leave it out.
			after = append(after, r)
		}
	}
	if apply != nil {
		after = append(after, *apply)
	}
	return after, prune
}

func numbers(records []appsv1.ControllerRevision, s *fairleadv1alpha1.MCPServer) []int64 {
	var all []int64
	for _, r := range history.Of(records, s) {
		all = append(all, r.Revision)
	}
	return all
}

func TestTheLastTenAreKept(t *testing.T) {
	t.Parallel()
	var records []appsv1.ControllerRevision
	var names, pruned []string
	for i := range 13 {
		s := server(t, fmt.Sprint("edit ", i))
		names = append(names, record(t, s).Name)
		var gone []string
		records, gone = settle(t, records, s)
		pruned = append(pruned, gone...)
	}
	if diff := cmp.Diff([]int64{13, 12, 11, 10, 9, 8, 7, 6, 5, 4}, numbers(records, server(t, "any"))); diff != "" {
		t.Errorf("numbers (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(names[:3], pruned); diff != "" {
		t.Errorf("pruned (-want +got):\n%s", diff)
	}
}

func TestASpecHasOneRecord(t *testing.T) {
	t.Parallel()
	one, two := server(t, "one"), server(t, "two")
	records, _ := settle(t, nil, one)
	records, _ = settle(t, records, two)
	t.Run("again the newest: nothing", func(t *testing.T) {
		apply, prune, err := history.Next(records, two)
		if apply != nil || prune != nil || err != nil {
			t.Errorf("Next() = %v, %v, %v", apply, prune, err)
		}
	})
	t.Run("scaled and paused: nothing", func(t *testing.T) {
		scaled := two.DeepCopy()
		scaled.Spec.Replicas, scaled.Spec.ManagementState = new(int32(7)), fairleadv1alpha1.Paused
		if apply, _, err := history.Next(records, scaled); apply != nil || err != nil {
			t.Errorf("Next() = %v, %v", apply, err)
		}
	})
	t.Run("back to the first: its number is raised", func(t *testing.T) {
		apply, prune, err := history.Next(records, one)
		if err != nil || prune != nil || apply == nil || apply.Name != record(t, one).Name || apply.Revision != 3 {
			t.Errorf("Next() = %v, %v, %v", apply, prune, err)
		}
	})
	t.Run("back to the oldest of ten: nothing is pruned", func(t *testing.T) {
		var ten []appsv1.ControllerRevision
		for i := range history.Limit {
			ten, _ = settle(t, ten, server(t, fmt.Sprint("edit ", i)))
		}
		after, pruned := settle(t, ten, server(t, "edit 0"))
		if pruned != nil {
			t.Errorf("pruned %v", pruned)
		}
		if diff := cmp.Diff([]int64{11, 10, 9, 8, 7, 6, 5, 4, 3, 2}, numbers(after, one)); diff != "" {
			t.Errorf("numbers (-want +got):\n%s", diff)
		}
	})
	t.Run("records of a server that was deleted do not count", func(t *testing.T) {
		recreated := one.DeepCopy()
		recreated.UID = "22222222-2222-2222-2222-222222222222"
		apply, prune, err := history.Next(records, recreated)
		if err != nil || prune != nil || apply == nil || apply.Revision != 1 {
			t.Errorf("Next() = %v, %v, %v", apply, prune, err)
		}
	})
}

func TestRestore(t *testing.T) {
	t.Parallel()
	one, now := server(t, "one"), server(t, "two")
	one.Spec.Replicas = new(int32(9))
	now.Spec.Replicas, now.Spec.ManagementState = new(int32(3)), fairleadv1alpha1.Managed
	before := now.DeepCopy()
	restored, err := history.Restore(now, record(t, one))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, now); diff != "" {
		t.Errorf("the server was changed:\n%s", diff)
	}
	if restored.Spec.Tools[0].Description != "one" || *restored.Spec.Replicas != 3 || restored.Spec.ManagementState != fairleadv1alpha1.Managed {
		t.Errorf("spec = %+v", restored.Spec)
	}
	scaled := one.DeepCopy()
	scaled.Spec.Autoscaling = &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(4))}
	if restored, err := history.Restore(now, record(t, scaled)); err != nil || restored.Spec.Replicas != nil || restored.Spec.Autoscaling == nil {
		t.Errorf("with autoscaling: %+v, %v: the API takes no replicas beside it", restored, err)
	}
	if restored.ResourceVersion != now.ResourceVersion || restored.UID != now.UID {
		t.Errorf("metadata = %+v", restored.ObjectMeta)
	}
	if a, b := record(t, restored).Name, record(t, one).Name; a != b {
		t.Errorf("the restored spec has record %s, want %s: something of it was lost", a, b)
	}
}

func TestSpecOfRefusesWhatIsNotARecord(t *testing.T) {
	t.Parallel()
	for _, data := range []string{"", "{}", `{"spec":{}}`, `{"spec":{"template":{}}}`, "[", `{"spec":[]}`} {
		other := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Name: "web-1"}, Data: runtime.RawExtension{Raw: []byte(data)}}
		if spec, err := history.SpecOf(other); err == nil || !strings.Contains(err.Error(), `ControllerRevision "web-1"`) {
			t.Errorf("SpecOf(%s) = %v, %v", data, spec, err)
		}
	}
}

// The data of a record is immutable, so applying it once more must find the same
// bytes: whatever the API server makes of numbers, key order and escapes.
func TestARecordIsAppliedTwice(t *testing.T) {
	t.Parallel()
	api, err := apiserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = api.Stop() })
	admin, err := client.New(api.Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := record(t, server(t, `"<one> & 'two' é"`))
	var first, second appsv1.ControllerRevision
	for i, stored := range []*appsv1.ControllerRevision{&first, &second} {
		want.Revision = int64(i + 1)
		fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(want)
		if err != nil {
			t.Fatal(err)
		}
		err = admin.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: fields}), client.FieldOwner("fairlead"), client.ForceOwnership)
		if err != nil {
			t.Fatalf("apply %d: %v", i+1, err)
		}
		if err := admin.Get(t.Context(), client.ObjectKeyFromObject(want), stored); err != nil {
			t.Fatal(err)
		}
	}
	if second.Revision != 2 || !cmp.Equal(first.Data, second.Data) {
		t.Errorf("after the second apply: number %d, data %s", second.Revision, second.Data.Raw)
	}
	spec, err := history.SpecOf(&second)
	if err != nil || spec.Tools[0].Description != "<one> & 'two' é" {
		t.Errorf("SpecOf() = %+v, %v", spec, err)
	}
}

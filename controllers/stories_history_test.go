// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"slices"
	"testing"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/history"
)

func (s *story) records(server *fairleadv1alpha1.MCPServer) []appsv1.ControllerRevision {
	s.Helper()
	var list appsv1.ControllerRevisionList
	s.list(&list)
	return history.Of(list.Items, server)
}

// The last ten configurations that served are kept, and a server can go back to
// one of them.
func TestStoryHistory(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	for i := range history.Limit + 2 {
		describeTool(s, server, fmt.Sprint("edit ", i))
		s.want(server, "Ready=True/Serving")
	}
	records := s.records(server)
	if len(records) != history.Limit || records[0].Revision != history.Limit+3 {
		t.Fatalf("%d records, the newest has number %d", len(records), records[0].Revision)
	}
	good := &records[4]
	restored, err := history.Restore(server, good)
	if err != nil {
		t.Fatal(err)
	}
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) { m.Spec = restored.Spec })
	s.want(server, "Ready=True/Serving")
	if got, want := server.Spec.Tools[0].Description, fmt.Sprint("edit ", history.Limit+1-4); got != want {
		t.Errorf("went back to %q, want %q", got, want)
	}
	after := s.records(server)
	if len(after) != history.Limit || after[0].Name != good.Name || after[0].Revision != history.Limit+4 {
		t.Errorf("the record of what serves has not become the newest: %s %d", after[0].Name, after[0].Revision)
	}
	// What never served is no record.
	before := s.records(server)[0].Name
	edit(s, server, func(m *fairleadv1alpha1.MCPServer) {
		m.Spec.Tools[0].HTTP.Query = map[string]fairleadv1alpha1.TemplateString{"a": "${"}
	})
	s.want(server, "Ready=False/InvalidSpec")
	if got := s.records(server)[0].Name; got != before {
		t.Errorf("a spec that was refused has record %s", got)
	}
}

// forbidHistory makes a policy refuse records in the story's namespace until the
// returned function is called.
func (s *story) forbidHistory() (allow func()) {
	s.Helper()
	policy := &admissionregistrationv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	policy.Spec.MatchConstraints = &admissionregistrationv1.MatchResources{
		NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.namespace}},
		ResourceRules: []admissionregistrationv1.NamedRuleWithOperations{{RuleWithOperations: admissionregistrationv1.RuleWithOperations{
			Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.Create},
			Rule:       admissionregistrationv1.Rule{APIGroups: []string{"apps"}, APIVersions: []string{"*"}, Resources: []string{"controllerrevisions"}},
		}}},
	}
	policy.Spec.Validations = []admissionregistrationv1.Validation{{Expression: "false", Message: "no history here"}}
	binding := &admissionregistrationv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}}
	binding.Spec.PolicyName = s.namespace
	binding.Spec.ValidationActions = []admissionregistrationv1.ValidationAction{admissionregistrationv1.Deny}
	s.create(policy)
	s.create(binding)
	s.eventually(func() string {
		probe := named(s, &appsv1.ControllerRevision{}, "probe")
		if err := suite.admin.Create(s.ctx, probe, client.DryRunAll); err == nil {
			return "the policy is not in force"
		}
		return ""
	})
	return func() { s.delete(binding); s.delete(policy) }
}

// A history that cannot be written keeps no status from being true, and is
// written when it can be.
func TestStoryHistoryIsRefused(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	allow := s.forbidHistory()
	server := s.serving("orders")
	if got := s.records(server); len(got) != 0 {
		t.Fatalf("%d records in spite of the policy", len(got))
	}
	before := server.ResourceVersion
	allow()
	s.eventually(func() string {
		if got := len(s.records(server)); got != 1 {
			return fmt.Sprintf("%d records, want 1", got)
		}
		return ""
	})
	s.read(server)
	if server.ResourceVersion != before {
		t.Errorf("the status was written again:%s", describe(server))
	}
	var events corev1.EventList
	s.list(&events)
	told := slices.DeleteFunc(events.Items, func(e corev1.Event) bool { return e.Reason != "Serving" })
	if len(told) != 1 || told[0].Count > 1 || (told[0].Series != nil && told[0].Series.Count > 1) {
		t.Errorf("the server came to serve in these events, want one: %+v", told)
	}
}

// A server that is deleted and created again finds the records of the first one,
// until the garbage collector comes: it gets its own then.
func TestStoryHistoryOfANewServerOfTheSameName(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	server := s.serving("orders")
	old := s.records(server)[0]
	s.delete(server)
	for _, child := range append(
		s.children(server), s.secret(server),
		named(s, &policyv1.PodDisruptionBudget{}, "orders-mcp"), named(s, &networkingv1.NetworkPolicy{}, "orders-mcp"), named(s, &networkingv1.Ingress{}, "orders-mcp"),
	) {
		if s.exists(child) {
			s.delete(child)
		}
	}
	next := s.serving("orders")
	if got := s.records(next); len(got) != 0 {
		t.Fatalf("%d records of the new server, though the old ones are there", len(got))
	}
	s.read(&old)
	if old.Revision != 1 || !metav1.IsControlledBy(&old, server) {
		t.Errorf("the record of the old server was changed: %+v", old)
	}
	s.delete(&old)
	s.eventually(func() string {
		if got := len(s.records(next)); got != 1 {
			return fmt.Sprintf("%d records of the new server, want 1", got)
		}
		return ""
	})
}

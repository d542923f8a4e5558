// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"

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

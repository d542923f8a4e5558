// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package admission_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/admission"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/manifest"
)

// TestPods: what lint refuses of spec.pod, the API server refuses in the
// Deployment, which is asked too.
func TestPods(t *testing.T) {
	t.Parallel()
	judge, err := admission.New()
	if err != nil {
		t.Fatal(err)
	}
	const path = "spec.pod."
	tests := []struct{ name, pod, want string }{
		{name: "right", pod: `{labels: {team: shop}, nodeSelector: {kubernetes.io/os: linux}, priorityClassName: high, resources: {requests: {cpu: 1, memory: 1Gi}, limits: {memory: 1Gi}},
      tolerations: [{operator: Exists}, {key: a.b/c, value: d, effect: NoExecute, tolerationSeconds: 3}],
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]}`},
		{name: "a label", pod: `{labels: {"a b": c}}`, want: "labels: Invalid value: \"a b\": name part must consist of"},
		{name: "a node's label", pod: `{nodeSelector: {"a b": c}}`, want: "nodeSelector: Invalid value: \"a b\": name part must consist of"},
		{name: "an annotation", pod: `{annotations: {"a/b/c": d}}`, want: "annotations: Invalid value: \"a/b/c\""},
		{name: "a priority class", pod: `{priorityClassName: "Very High"}`, want: "priorityClassName: Invalid value: \"Very High\""},
		{name: "an operator", pod: `{tolerations: [{key: a, operator: Is}]}`, want: `tolerations[0].operator: Unsupported value: "Is": supported values: "Equal", "Exists"`},
		{name: "no key", pod: `{tolerations: [{value: a}]}`, want: `tolerations[0].operator: Invalid value: "": must be Exists when key is empty`},
		{name: "a value that nobody reads", pod: `{tolerations: [{key: a, operator: Exists, value: b}]}`, want: `tolerations[0].value: Invalid value: "b": must be empty`},
		{name: "an effect", pod: `{tolerations: [{key: a, effect: Never}]}`, want: `tolerations[0].effect: Unsupported value: "Never"`},
		{name: "seconds of no eviction", pod: `{tolerations: [{key: a, effect: NoSchedule, tolerationSeconds: 3}]}`, want: `tolerations[0].effect: Invalid value: "NoSchedule": must be NoExecute`},
		{name: "no skew", pod: `{topologySpreadConstraints: [{maxSkew: 0, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]}`, want: "topologySpreadConstraints[0].maxSkew: Invalid value: 0"},
		{name: "an action", pod: `{topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: Pray}]}`, want: `topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: "Pray"`},
		{name: "more than the limit", pod: `{resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}}`, want: `resources.requests[memory]: Invalid value: "2Gi": must be at most the limit, 1Gi`},
		{name: "less than nothing", pod: `{resources: {requests: {cpu: -1}}}`, want: `resources.requests[cpu]: Invalid value: "-1": must be 0 or more`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			objects, _ := manifest.Parse("a.yaml", []byte(server(good, open+"\npod: "+tt.pod)))
			server, bad := judge.Schema(t.Context(), objects[0])
			if len(bad) > 0 {
				t.Fatal(bad)
			}
			var got []string
			for _, p := range judge.Server(t.Context(), objects[0], resources.Defaults{}).Problems {
				got = append(got, strings.TrimPrefix(p.Path+": "+p.Message, path))
			}
			if (tt.want == "") != (len(got) == 0) || !strings.HasPrefix(strings.Join(got, "\n"), tt.want) || len(got) > 1 {
				t.Errorf("problems (-want +got):\n%s", cmp.Diff([]string{tt.want}, got))
			}
			built, err := resources.Build(resources.Input{Server: server, Defaults: resources.Defaults{RuntimeImage: "a.b/c"}})
			if err != nil {
				t.Fatal(err)
			}
			err = admin.Create(t.Context(), built.Deployment, client.DryRunAll)
			if (tt.want == "") != (err == nil) || (err != nil && !apierrors.IsInvalid(err)) {
				t.Errorf("the API server says of the Deployment: %v", err)
			}
		})
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
)

// ruleCase breaks one rule: value is put at path in a server that is otherwise
// right. A nil value removes the field.
type ruleCase struct {
	name, path string
	value      any
}

func ruleCases() []ruleCase {
	text := map[string]any{"text": "a", "image": map[string]any{"mimeType": "image/png", "data": "iVBORw0KGgo="}}
	return []ruleCase{
		{"name too long", "metadata.name", strings.Repeat("a", 49)},
		{"name begins with a digit", "metadata.name", "1a"},
		{"name with a dot", "metadata.name", "a.b"},
		{"nobody may come in", "spec.auth", map[string]any{"anonymousAccess": "Denied"}},
		{"no way in is named", "spec.auth", map[string]any{}},
		{"roles without keys", "spec.auth", map[string]any{"anonymousAccess": "Allowed"}},
		{"no backend", "spec.tools[].http", nil},
		{"two backends", "spec.tools[].static", map[string]any{"content": []any{map[string]any{"text": "a"}}}},
		{"two schemas", "spec.tools[].inputSchemaJSON", "{}"},
		{"body of a GET", "spec.tools[].http.method", "GET"},
		{"body without a method", "spec.tools[].http.method", nil},
		{"tool timeout too short", "spec.tools[].timeout", "99ms"},
		{"tool timeout too long", "spec.tools[].timeout", "1h1s"},
		{"two kinds of content", "spec.tools[].static.content[]", text},
		{"no kind of content", "spec.tools[].static.content[]", map[string]any{}},
		{"resource without contents", "spec.tools[].static.content[].resource.text", nil},
		{"resource with two contents", "spec.tools[].static.content[].resource.blob", "AAEC"},
		{"request size too small", "spec.limits.maxRequestSize", "1023"},
		{"request size too large", "spec.limits.maxRequestSize", "65Mi"},
		{"response size too small", "spec.limits.maxResponseSize", int64(1)},
		{"response size too large", "spec.limits.maxResponseSize", "1Gi"},
		{"idle timeout too short", "spec.limits.sessions.idleTimeout", "999ms"},
		{"idle timeout too long", "spec.limits.sessions.idleTimeout", "25h"},
		{"max age too short", "spec.limits.sessions.maxAge", "59s"},
		{"max age too long", "spec.limits.sessions.maxAge", "721h"},
		{"heartbeat too short", "spec.transports.heartbeat", "10ms"},
		{"heartbeat too long", "spec.transports.heartbeat", "6m"},
		{"compression from too little", "spec.transports.compression.minSize", "255"},
		{"compression from too much", "spec.transports.compression.minSize", "2Mi"},
		{"drain window too short", "spec.drain.window", "0s"},
		{"drain window too long", "spec.drain.window", "61m"},
		{"call timeout too short", "spec.drain.callTimeout", "1ms"},
		{"call timeout too long", "spec.drain.callTimeout", "2h"},
		{"replicas beside autoscaling", "spec.replicas", int64(3)},
		{"no greatest number of pods", "spec.autoscaling.maxReplicas", nil},
		{"fewer pods than the least", "spec.autoscaling.maxReplicas", int64(2)},
		{"fewer pods than the least of the default", "spec.autoscaling", map[string]any{"maxReplicas": int64(1)}},
		{"external with bounds", "spec.autoscaling.managedBy", "External"},
		{"stabilization too long", "spec.autoscaling.scaleDownStabilization", "61m"},
		{"no surge", "spec.rollout.maxSurge", int64(0)},
		{"surge too large", "spec.rollout.maxSurge", int64(1001)},
		{"surge of no percent", "spec.rollout.maxSurge", "0%"},
		{"surge of more than all", "spec.rollout.maxSurge", "101%"},
		{"surge as a word", "spec.rollout.maxSurge", "all"},
		{"peer without a selector", "spec.networkPolicy.ingressFrom", []any{map[string]any{}}},
		{"peer of two kinds", "spec.networkPolicy.ingressFrom", []any{
			map[string]any{"ipBlock": map[string]any{"cidr": "10.0.0.0/8"}, "podSelector": map[string]any{}},
		}},
		{"snippet", "spec.exposure.ingress.annotations", map[string]any{"nginx.ingress.kubernetes.io/server-snippet": "x"}},
		{"snippets", "spec.exposure.ingress.annotations", map[string]any{"nginx.org/location-snippets": "x"}},
		{"authentication at the ingress", "spec.exposure.ingress.annotations", map[string]any{"nginx.ingress.kubernetes.io/auth-url": "x"}},
		{"label of the operator", "spec.pod.labels", map[string]any{"fairlead.dev/server": "x"}},
		{"label of the app", "spec.pod.labels", map[string]any{"app.kubernetes.io/managed-by": "x"}},
		{"annotation of the operator", "spec.pod.annotations", map[string]any{"fairlead.dev/config-revision": "x"}},
		{"tool named twice", "spec.tools", []any{staticTool("a"), staticTool("a")}},
		{"header named twice", "spec.tools[].http.headersFrom", []any{secretHeader("A"), secretHeader("A")}},
		{"role named twice", "spec.tools[].access.anyRole", []any{"admin", "admin"}},
		{"origin named twice", "spec.browser.allowedOrigins", []any{"https://a.example", "https://a.example"}},
		{"host named twice", "spec.exposure.ingress.hosts", []any{"a.example", "a.example"}},
		{"pull secret named twice", "spec.pod.imagePullSecrets", []any{map[string]any{"name": "a"}, map[string]any{"name": "a"}}},
		{"unknown field", "spec.tool", "x"},
	}
}

func staticTool(name string) map[string]any {
	return map[string]any{
		"name": name, "description": "A tool.",
		"static": map[string]any{"content": []any{map[string]any{"text": "a"}}},
	}
}

func secretHeader(name string) map[string]any {
	return map[string]any{"name": name, "secretKeyRef": map[string]any{"name": "a", "key": "b"}}
}

// put is replace for a schema's path whose last step need not exist.
func put(t *testing.T, object map[string]any, path string, value any) {
	t.Helper()
	steps := stepPattern.FindAllString(path, -1)
	last := steps[len(steps)-1]
	if last == "[]" {
		found, ok := find(object, steps)
		if !ok {
			t.Fatalf("%s is not set", path)
		}
		replace(object, found, value)
		return
	}
	parent, ok := find(object, steps[:len(steps)-1])
	if value == nil || strings.HasSuffix(path, ".method") {
		parent, ok = find(object, steps)
		if ok {
			parent = parent[:len(parent)-1]
		}
	}
	if !ok {
		t.Fatalf("%s is not set", path)
	}
	replace(object, append(parent, last), value)
}

// TestRules breaks every CEL rule and every list's keys in a server that is
// otherwise right; testdata/rules.txt has the exact errors.
func TestRules(t *testing.T) {
	t.Parallel()
	bases := everything(t)
	var out strings.Builder
	for _, tt := range ruleCases() {
		base := bases[0]
		if strings.HasPrefix(tt.path, "spec.autoscaling") || tt.path == "spec.replicas" {
			base = bases[1]
		}
		object := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(base.Object)}
		put(t, object.Object, tt.path, tt.value)
		err := verdict(t, object)
		if err == nil {
			t.Errorf("%s: admitted", tt.name)
			continue
		}
		out.WriteString(tt.name + "\n")
		if tt.name == "unknown field" { // Told by the decoder, before any field is looked at.
			out.WriteString("  " + err.Error() + "\n")
			continue
		}
		for _, cause := range causes(t, err) {
			out.WriteString("  " + abridge(cause) + "\n")
		}
	}
	golden(t, "rules.txt", out.String())

	root := crdSchema(t)
	walk("", root, func(path string, s *apiextensionsv1.JSONSchemaProps) {
		for _, rule := range s.XValidations {
			if rule.Message == "" {
				t.Errorf("%s: the rule %q has no message", path, rule.Rule)
			}
			at := lastName(path)
			if rule.FieldPath != "" {
				at = strings.TrimPrefix(rule.FieldPath, ".")
			}
			if !mentions(out.String(), at, rule.Message) {
				t.Errorf("%s: no case breaks the rule %q", path, rule.Message)
			}
		}
	})
}

// lastName is the last field of a schema's path.
func lastName(path string) string {
	path = strings.TrimRight(path, "[]{}")
	return path[strings.LastIndex(path, ".")+1:]
}

// mentions reports whether a line is about the field and has the message.
func mentions(text, field, message string) bool {
	for line := range strings.Lines(text) {
		path, rest, _ := strings.Cut(strings.TrimSpace(line), ": ")
		if lastName(strings.TrimRight(path, "0123456789[]")) == field && strings.Contains(rest, message) {
			return true
		}
	}
	return field == "" && strings.Contains(text, message)
}

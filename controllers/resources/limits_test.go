// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"errors"
	"strings"
	"testing"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
)

func TestLimits(t *testing.T) {
	t.Parallel()
	type (
		spec   = fairleadv1alpha1.MCPServerSpec
		limits = resources.Limits
	)
	class := func(name string) func(*spec) { return func(s *spec) { s.Exposure.Ingress.ClassName = name } }
	host := func(name string) func(*spec) {
		return func(s *spec) { s.Exposure.Ingress.Hosts = []string{"good.example.com", name} }
	}
	annotation := func(key string) func(*spec) {
		return func(s *spec) {
			s.Exposure.Ingress.Annotations = map[string]fairleadv1alpha1.AnnotationValue{key: "x"}
		}
	}
	image := func(name string) func(*spec) { return func(s *spec) { s.Pod = &fairleadv1alpha1.Pod{Image: name} } }
	tests := []struct {
		name   string
		limits limits
		edit   func(*spec)
		want   string // the path; empty: permitted
	}{
		{"anything", limits{}, host("evil.example"), ""},
		{"class", limits{IngressClasses: []string{"internal", "public"}}, class("public"), ""},
		{"other class", limits{IngressClasses: []string{"internal"}}, class("public"), "spec.exposure.ingress.className"},
		{"default class", limits{IngressClasses: []string{"internal"}}, class(""), "spec.exposure.ingress.className"},
		{"host", limits{HostSuffixes: []string{"example.com"}}, host("example.com"), ""},
		{"other host", limits{HostSuffixes: []string{"example.com"}}, host("evil-example.com"), "spec.exposure.ingress.hosts[1]"},
		{"subdomain", limits{HostSuffixes: []string{".example.com"}}, host("a.b.example.com"), ""},
		{"not the domain itself", limits{HostSuffixes: []string{".example.com"}}, host("example.com"), "spec.exposure.ingress.hosts[1]"},
		{"annotation", limits{AnnotationPrefixes: []string{"example.com/"}}, annotation("example.com/note"), ""},
		{"other annotation", limits{AnnotationPrefixes: []string{"example.com/"}}, annotation("example.org/note"), "spec.exposure.ingress.annotations"},
		{"snippet", limits{}, annotation("nginx.ingress.kubernetes.io/server-snippet"), "spec.exposure.ingress.annotations"},
		{"snippets, allowed in vain", limits{AnnotationPrefixes: []string{"nginx.org/"}}, annotation("nginx.org/location-snippets"), "spec.exposure.ingress.annotations"},
		{"configuration of haproxy-ingress", limits{}, annotation("haproxy-ingress.github.io/config-backend"), "spec.exposure.ingress.annotations"},
		{"early configuration of haproxy-ingress", limits{}, annotation("haproxy-ingress.github.io/config-backend-early"), "spec.exposure.ingress.annotations"},
		{"alias", limits{}, annotation("nginx.ingress.kubernetes.io/server-alias"), ""},
		{"alias past the hosts", limits{HostSuffixes: []string{"example.com"}}, annotation("nginx.ingress.kubernetes.io/server-alias"), "spec.exposure.ingress.annotations"},
		{"class past the classes", limits{IngressClasses: []string{""}}, annotation("kubernetes.io/ingress.class"), "spec.exposure.ingress.annotations"},
		{"authentication", limits{AnnotationPrefixes: []string{"nginx.ingress.kubernetes.io/"}}, annotation("nginx.ingress.kubernetes.io/auth-url"), "spec.exposure.ingress.annotations"},
		{"image", limits{ImagePrefixes: []string{"registry.example.com/team"}}, image("registry.example.com/team/runtime:1"), ""},
		{"image with a tag", limits{ImagePrefixes: []string{"registry.example.com/runtime"}}, image("registry.example.com/runtime:1"), ""},
		{"image by digest", limits{ImagePrefixes: []string{"registry.example.com/runtime@"}}, image("registry.example.com/runtime@sha256:0"), ""},
		{"image of another team", limits{ImagePrefixes: []string{"registry.example.com/team"}}, image("registry.example.com/team2/runtime:1"), "spec.pod.image"},
		{"another registry's port", limits{ImagePrefixes: []string{"registry.example.com"}}, image("registry.example.com:5000/runtime"), "spec.pod.image"},
		{"another registry's name", limits{ImagePrefixes: []string{"registry.example.com"}}, image("registry.example.com.evil.example/runtime"), "spec.pod.image"},
		{"the operator's own image", limits{ImagePrefixes: []string{"registry.example.com"}}, func(*spec) {}, ""},
		{"session keys in a header", limits{}, func(s *spec) {
			s.Tools[0].HTTP.HeadersFrom[0].SecretKeyRef.Name = "other-mcp-session"
		}, "spec.tools[0].http.headersFrom[0].secretKeyRef.name"},
		{"session keys as API keys", limits{}, func(s *spec) {
			s.Auth.APIKeys.SecretRef.Name = "orders-mcp-session"
		}, "spec.auth.apiKeys.secretRef.name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := readServer(t, "testdata/orders/server.yaml")
			server.Spec.Exposure = &fairleadv1alpha1.Exposure{Ingress: &fairleadv1alpha1.IngressExposure{Hosts: []string{"good.example.com"}}}
			tt.edit(&server.Spec)
			_, err := resources.Build(resources.Input{Server: server, Defaults: resources.Defaults{RuntimeImage: "x", Limits: tt.limits}})
			forbidden := new(resources.NotPermittedError)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("Build() = %v", err)
			case tt.want == "":
			case !errors.As(err, &forbidden) || len(forbidden.Fields) != 1:
				t.Errorf("Build() = %v, want a NotPermittedError with one field", err)
			case forbidden.Fields[0].Path != tt.want || !strings.HasPrefix(err.Error(), tt.want+": "):
				t.Errorf("path = %q, message %q, want %q", forbidden.Fields[0].Path, err, tt.want)
			}
		})
	}
}

// What is forbidden is said before anything is compiled: the message must not
// depend on how much of the spec is right.
func TestLimitsComeFirst(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/orders/server.yaml")
	server.Spec.Tools[0].HTTP.URL = "${"
	server.Spec.Pod = &fairleadv1alpha1.Pod{Image: "evil"}
	_, err := resources.Build(resources.Input{Server: server, Defaults: resources.Defaults{Limits: resources.Limits{ImagePrefixes: []string{"good/"}}}})
	forbidden := new(resources.NotPermittedError)
	if !errors.As(err, &forbidden) {
		t.Errorf("Build() = %v, want a NotPermittedError", err)
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/utils/ptr"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/runtime/config"
)

// edit is one change of a spec and what it may do to the objects: live edits
// leave the pod template and the ConfigMap's name alone, rolling ones change
// the template, and the rest changes neither template nor configuration.
type edit struct {
	name string
	kind string // live, rolls or objects
	edit func(*fairleadv1alpha1.MCPServerSpec)
}

func edits() []edit {
	type spec = fairleadv1alpha1.MCPServerSpec
	duration := func(d string) *fairleadv1alpha1.Duration { return new(fairleadv1alpha1.Duration(d)) }
	return []edit{
		{"tool text", "live", func(s *spec) { s.Tools[0].Description = "Another text." }},
		{"tool added", "live", func(s *spec) {
			s.Tools = append(s.Tools, fairleadv1alpha1.Tool{
				Name: "new", Description: "New.",
				Static: &fairleadv1alpha1.StaticBackend{Content: []fairleadv1alpha1.Content{{Text: new("new")}}},
			})
		}},
		{"tool removed with its Secret", "rolls", func(s *spec) { s.Tools = s.Tools[:1] }},
		{"tool disabled", "live", func(s *spec) { s.Tools[0].State = fairleadv1alpha1.ToolDisabled }},
		{"tool schema", "live", func(s *spec) {
			s.Tools[0].InputSchema = &runtime.RawExtension{Raw: []byte(`{"type":"object","properties":{"id":{"type":"string"}},"required":["id"]}`)}
		}},
		{"tool access", "live", func(s *spec) { s.Tools[1].Access.AnyRole = []string{"owner"} }},
		{"another key of a mounted Secret", "live", func(s *spec) { s.Tools[0].HTTP.HeadersFrom[0].SecretKeyRef.Key = "other" }},
		{"instructions", "live", func(s *spec) { s.Instructions = "Do." }},
		{"title", "live", func(s *spec) { s.Title = "Another" }},
		{"default access", "live", func(s *spec) { s.Auth.DefaultAccess = fairleadv1alpha1.AccessDenied }},
		{"limits", "live", func(s *spec) { s.Limits = &fairleadv1alpha1.Limits{MaxInFlightCalls: new(int32(7))} }},
		{"heartbeat", "live", func(s *spec) { s.Transports = &fairleadv1alpha1.Transports{Heartbeat: duration("5s")} }},
		{"origins", "live", func(s *spec) { s.Browser = &fairleadv1alpha1.Browser{AllowedOrigins: []string{"https://a.example"}} }},
		{"log level", "live", func(s *spec) { s.Logging = &fairleadv1alpha1.Logging{Level: "Debug"} }},
		{"exposure", "live", func(s *spec) {
			s.Exposure = &fairleadv1alpha1.Exposure{Ingress: &fairleadv1alpha1.IngressExposure{Hosts: []string{"a.example"}}}
		}},
		{"shorter window", "live", func(s *spec) { s.Drain = &fairleadv1alpha1.Drain{Window: duration("10s")} }},
		{"longer window", "rolls", func(s *spec) { s.Drain = &fairleadv1alpha1.Drain{Window: duration("2m")} }},
		{"the Secret that is always mounted", "live", func(s *spec) {
			s.Tools[0].HTTP.HeadersFrom = append(s.Tools[0].HTTP.HeadersFrom, fairleadv1alpha1.HeaderFromSecret{
				Name: "X-Token", SecretKeyRef: fairleadv1alpha1.SecretKeyRef{Name: "orders-mcp-credentials", Key: "token"},
			})
		}},
		{"a new Secret", "rolls", func(s *spec) { s.Tools[0].HTTP.HeadersFrom[0].SecretKeyRef.Name = "another" }},
		{"image", "rolls", func(s *spec) { s.Pod = &fairleadv1alpha1.Pod{Image: "other:1"} }},
		{"pod label", "rolls", func(s *spec) {
			s.Pod = &fairleadv1alpha1.Pod{Labels: map[string]fairleadv1alpha1.LabelValue{"a": "b"}}
		}},
		{"autoscaling", "objects", func(s *spec) {
			s.Autoscaling = &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(4))}
		}},
		{"roll-out", "objects", func(s *spec) { s.Rollout = &fairleadv1alpha1.Rollout{MaxSurge: new(intstr.FromInt32(1))} }},
		{"network policy", "objects", func(s *spec) {
			s.NetworkPolicy = &fairleadv1alpha1.NetworkPolicy{EgressTo: []networkingv1.NetworkPolicyEgressRule{}}
		}},
		{"service", "objects", func(s *spec) {
			s.Service = &fairleadv1alpha1.Service{SessionAffinity: fairleadv1alpha1.AffinityNone}
		}},
		{"replicas", "objects", func(s *spec) { s.Replicas = new(int32(5)) }},
		{"paused", "objects", func(s *spec) { s.ManagementState = fairleadv1alpha1.Paused }},
	}
}

func TestEdits(t *testing.T) {
	t.Parallel()
	for _, tt := range edits() {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := readServer(t, "testdata/orders/server.yaml")
			before := build(t, server)
			tt.edit(&server.Spec)
			after := build(t, server)
			sameTemplate := cmp.Equal(before.Deployment.Spec.Template, after.Deployment.Spec.Template)
			sameConfig := cmp.Equal(before.ConfigMap.Data, after.ConfigMap.Data)
			got := "rolls"
			switch {
			case sameTemplate && sameConfig:
				got = "objects"
			case sameTemplate && before.ConfigMap.Name == after.ConfigMap.Name:
				got = "live"
			}
			if got != tt.kind {
				t.Errorf("the edit is %q, want %q:\n%s", got, tt.kind, cmp.Diff(before.Deployment.Spec.Template, after.Deployment.Spec.Template))
			}
			if sameConfig != (before.Revision == after.Revision) {
				t.Errorf("same configuration: %t, revisions %q and %q", sameConfig, before.Revision, after.Revision)
			}
		})
	}
}

func TestNamesFit(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/large/server.yaml")
	if len(server.Name) != 48 {
		t.Fatalf("the name has %d characters, want the 48 that admission allows", len(server.Name))
	}
	server.Spec.Auth.APIKeys = &fairleadv1alpha1.APIKeys{SecretRef: fairleadv1alpha1.SecretRef{Name: strings.Repeat("a.b-", 63) + "c"}}
	objects := build(t, server)
	for _, object := range objects.List() {
		if errs := validation.IsDNS1035Label(object.GetName()); len(errs) > 0 {
			t.Errorf("%T is named %q: %v", object, object.GetName(), errs)
		}
	}
	for _, volume := range objects.Deployment.Spec.Template.Spec.Volumes {
		if errs := validation.IsDNS1123Label(volume.Name); len(errs) > 0 {
			t.Errorf("volume %q: %v", volume.Name, errs)
		}
	}
}

func TestBuildErrors(t *testing.T) {
	t.Parallel()
	type spec = fairleadv1alpha1.MCPServerSpec
	tests := []struct {
		name string
		edit func(*spec)
		path string
	}{
		{"schema", func(s *spec) {
			s.Tools[0].InputSchema = &runtime.RawExtension{Raw: []byte(`{"type":"object","properties":{"id":{"type":"string","pattern":"("}}}`)}
		}, "spec.tools[0].inputSchema.properties.id.pattern"},
		{"template", func(s *spec) {
			s.Tools[0].HTTP.Query = map[string]fairleadv1alpha1.TemplateString{"a": "${arguments.}"}
		}, "spec.tools[0].http.query"},
		{"duration", func(s *spec) { s.Tools[1].Timeout = new(fairleadv1alpha1.Duration("soon")) }, "spec.tools[1].timeout"},
		{"stabilization", func(s *spec) {
			s.Autoscaling = &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(4)), ScaleDownStabilization: new(fairleadv1alpha1.Duration("soon"))}
		}, "spec.autoscaling.scaleDownStabilization"},
		{"stabilization too long", func(s *spec) {
			s.Autoscaling = &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(4)), ScaleDownStabilization: new(fairleadv1alpha1.Duration("2h"))}
		}, "spec.autoscaling.scaleDownStabilization"},
		{"no greatest number", func(s *spec) { s.Autoscaling = &fairleadv1alpha1.Autoscaling{} }, "spec.autoscaling.maxReplicas"},
		{"least above greatest", func(s *spec) { s.Autoscaling = &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(1))} }, "spec.autoscaling.maxReplicas"},
		{"percent of nothing", func(s *spec) {
			s.Autoscaling = &fairleadv1alpha1.Autoscaling{MaxReplicas: new(int32(4))}
			s.Pod = &fairleadv1alpha1.Pod{Resources: &corev1.ResourceRequirements{Requests: corev1.ResourceList{"memory": resource.MustParse("64Mi")}}}
		}, "spec.pod.resources.requests"},
		{"range of addresses", func(s *spec) {
			s.NetworkPolicy = &fairleadv1alpha1.NetworkPolicy{IngressFrom: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.1"}}}}
		}, "spec.networkPolicy.ingressFrom[0].ipBlock.cidr"},
		{"target without a selector", func(s *spec) {
			s.NetworkPolicy = &fairleadv1alpha1.NetworkPolicy{EgressTo: []networkingv1.NetworkPolicyEgressRule{{
				To: []networkingv1.NetworkPolicyPeer{{}},
			}}}
		}, "spec.networkPolicy.egressTo[0].to[0]"},
		{"exception outside of its range", func(s *spec) {
			s.NetworkPolicy = &fairleadv1alpha1.NetworkPolicy{EgressTo: []networkingv1.NetworkPolicyEgressRule{{
				To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "10.0.0.0/8", Except: []string{"10.1.0.0/16", "11.0.0.0/16"}}}},
			}}}
		}, "spec.networkPolicy.egressTo[0].to[0].ipBlock.except[1]"},
		{"size", func(s *spec) { s.Limits = &fairleadv1alpha1.Limits{MaxRequestSize: new(resource.MustParse("-1"))} }, "spec.limits.maxRequestSize"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := readServer(t, "testdata/orders/server.yaml")
			tt.edit(&server.Spec)
			_, err := resources.Build(resources.Input{Server: server, Defaults: defaults})
			invalid := new(resources.InvalidSpecError)
			if !errors.As(err, &invalid) {
				t.Fatalf("Build() = %v, want an InvalidSpecError", err)
			}
			if got := invalid.Fields[0].Path; !strings.HasPrefix(got, tt.path) {
				t.Errorf("path = %q, want %q", got, tt.path)
			}
		})
	}
}

func TestBuildRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/minimal/server.yaml")
	for i := range 40 {
		server.Spec.Tools = append(server.Spec.Tools, fairleadv1alpha1.Tool{
			Name: fmt.Sprintf("tool-%d", i), Description: "Large.",
			Static: &fairleadv1alpha1.StaticBackend{Content: []fairleadv1alpha1.Content{{Text: new(strings.Repeat("x", 16_000))}}},
		})
	}
	_, err := resources.Build(resources.Input{Server: server, Defaults: defaults})
	large := new(config.TooLargeError)
	if !errors.As(err, &large) {
		t.Fatalf("Build() = %v, want a TooLargeError", err)
	}
}

// The canary: whatever a Secret holds, builders never see it, and what names a
// Secret is only ever a volume or a reference.
func TestSecretsAreMountedOnly(t *testing.T) {
	t.Parallel()
	objects := build(t, readServer(t, "testdata/orders/server.yaml"))
	pod := objects.Deployment.Spec.Template.Spec
	var mounted []string
	for _, volume := range pod.Volumes {
		if volume.Secret != nil {
			if !ptr.Deref(volume.Secret.Optional, false) || len(volume.Secret.Items) > 0 {
				t.Errorf("Secret %q must be mounted whole and optional", volume.Secret.SecretName)
			}
			mounted = append(mounted, volume.Secret.SecretName)
		}
	}
	if diff := cmp.Diff([]string{"orders-mcp-session", "orders-mcp-credentials", "orders-api", "orders-keys", "second.example.com"}, mounted); diff != "" {
		t.Errorf("mounted Secrets (-want +got):\n%s", diff)
	}
	for _, c := range pod.Containers {
		secret := slices.ContainsFunc(c.Env, func(v corev1.EnvVar) bool { return v.ValueFrom == nil || v.ValueFrom.FieldRef == nil })
		if secret || len(c.EnvFrom) > 0 {
			t.Errorf("container %q has an environment of others: secrets leak from there", c.Name)
		}
	}
	paths := map[string]bool{}
	for _, mount := range pod.Containers[0].VolumeMounts {
		paths[mount.MountPath] = mount.ReadOnly
	}
	want := map[string]bool{
		"/etc/fairlead/server": true, "/tmp": false, "/etc/fairlead/secrets/orders-api": true,
		"/etc/fairlead/secrets/orders-keys": true, "/etc/fairlead/secrets/second.example.com": true,
		"/etc/fairlead/session-keys": true, "/etc/fairlead/secrets/orders-mcp-credentials": true,
	}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Errorf("mounts, and whether they are read-only (-want +got):\n%s", diff)
	}
}

func TestChildrenInheritNothing(t *testing.T) {
	t.Parallel()
	server := readServer(t, "testdata/orders/server.yaml")
	for _, object := range build(t, server).List() {
		for key := range maps.Keys(server.Labels) {
			if _, found := object.GetLabels()[key]; found {
				t.Errorf("%T has the server's label %q", object, key)
			}
		}
		own := slices.DeleteFunc(slices.Sorted(maps.Keys(object.GetAnnotations())), func(key string) bool {
			return !strings.HasPrefix(key, "fairlead.dev/")
		})
		if len(own) != len(object.GetAnnotations()) || !slices.Contains(own, resources.AnnotationRenderedHash) {
			t.Errorf("%T has annotations %v", object, object.GetAnnotations())
		}
		owners := object.GetOwnerReferences()
		if len(owners) != 1 || owners[0].UID != server.UID || !ptr.Deref(owners[0].Controller, false) {
			t.Errorf("%T has owners %v", object, owners)
		}
	}
}

func TestGraceCoversTheDrain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name                string
		window, callTimeout string
		want                int64
	}{
		{"defaults", "", "", 5 + 30 + 5},
		{"longer window", "2m", "1m", 5 + 120 + 5},
		{"longer calls", "10s", "1h", 5 + 3600 + 5},
		{"fractions round up", "1s", "1500ms", 12},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := readServer(t, "testdata/minimal/server.yaml")
			if tt.window != "" {
				server.Spec.Drain = &fairleadv1alpha1.Drain{
					Window:      new(fairleadv1alpha1.Duration(tt.window)),
					CallTimeout: new(fairleadv1alpha1.Duration(tt.callTimeout)),
				}
			}
			spec := build(t, server).Deployment.Spec
			if got := *spec.Template.Spec.TerminationGracePeriodSeconds; got != tt.want {
				t.Errorf("terminationGracePeriodSeconds = %d, want %d", got, tt.want)
			}
			if got := int64(*spec.ProgressDeadlineSeconds); got <= tt.want {
				t.Errorf("progressDeadlineSeconds = %d, not more than the grace period", got)
			}
		})
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		ingress *fairleadv1alpha1.IngressExposure
		want    string
	}{
		{"none", nil, ""},
		{"plain", &fairleadv1alpha1.IngressExposure{Hosts: []string{"a.example", "b.example"}}, "http://a.example/mcp"},
		{"root", &fairleadv1alpha1.IngressExposure{Hosts: []string{"a.example"}, Path: "/"}, "http://a.example/mcp"},
		{"tls and path", &fairleadv1alpha1.IngressExposure{Hosts: []string{"a.example"}, Path: "/orders", TLS: &fairleadv1alpha1.IngressTLS{SecretName: "x"}}, "https://a.example/orders/mcp"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			server := readServer(t, "testdata/minimal/server.yaml")
			if tt.ingress != nil {
				server.Spec.Exposure = &fairleadv1alpha1.Exposure{Ingress: tt.ingress}
			}
			if got := resources.URL(server); got != tt.want {
				t.Errorf("URL() = %q, want %q", got, tt.want)
			}
			if got, want := resources.ClusterURL(server), "http://hello-mcp.default.svc/mcp"; got != want {
				t.Errorf("ClusterURL() = %q, want %q", got, want)
			}
		})
	}
}

// A client may come by any name of the Service, and by a port-forward.
func TestHosts(t *testing.T) {
	t.Parallel()
	objects, err := resources.Build(resources.Input{
		Server:   readServer(t, "testdata/orders/server.yaml"),
		Defaults: resources.Defaults{RuntimeImage: "x", ClusterDomain: "corp.example"},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"orders-mcp", "orders-mcp.shop", "orders-mcp.shop.svc", "orders-mcp.shop.svc.corp.example", "localhost", "127.0.0.1"}
	if diff := cmp.Diff(want, objects.Program.Server.Exposure.Hosts); diff != "" {
		t.Errorf("hosts (-want +got):\n%s", diff)
	}
	if args := objects.Deployment.Spec.Template.Spec.Containers[0].Args; !slices.Contains(args, "--peers=orders-mcp-peers.shop.svc.corp.example.:8082") {
		t.Errorf("the peers are not in the cluster's domain: %q", args)
	}
}

// The volume's folder must be the one that the runtime is told to read.
func TestArgumentsNameTheMounts(t *testing.T) {
	t.Parallel()
	c := build(t, readServer(t, "testdata/orders/server.yaml")).Deployment.Spec.Template.Spec.Containers[0]
	want := []string{"serve", "--config", "/etc/fairlead/server/server.yaml", "--secrets-dir", "/etc/fairlead/secrets"}
	if diff := cmp.Diff(want, c.Args[:len(want)]); diff != "" {
		t.Errorf("args (-want +got):\n%s", diff)
	}
	if c.ImagePullPolicy != corev1.PullIfNotPresent {
		t.Errorf("imagePullPolicy = %s", c.ImagePullPolicy)
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package exposure_test

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/exposure"
)

func TestDetect(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		want fairleadv1alpha1.ExposureProfile
	}{
		{"k8s.io/ingress-nginx", fairleadv1alpha1.ProfileIngressNginx},
		{"nginx.org/ingress-controller", fairleadv1alpha1.ProfileNginxInc},
		{"traefik.io/ingress-controller", fairleadv1alpha1.ProfileTraefik},
		{"haproxy.org/ingress-controller", fairleadv1alpha1.ProfileHAProxy},
		{"haproxy.org/ingress-controller/second", fairleadv1alpha1.ProfileHAProxy},
		{"ingress.k8s.aws/alb", fairleadv1alpha1.ProfileNone},
		{"", fairleadv1alpha1.ProfileNone},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := exposure.Detect(tt.name); got != tt.want {
				t.Errorf("Detect(%q) = %q, want %q", tt.name, got, tt.want)
			}
		})
	}
}

func TestFor(t *testing.T) {
	t.Parallel()
	const nginx = "nginx.ingress.kubernetes.io/"
	const traefik = "traefik.ingress.kubernetes.io/service.sticky.cookie"
	tests := []struct {
		name    string
		profile fairleadv1alpha1.ExposureProfile
		tls     bool
		want    exposure.Settings
	}{
		{name: "none", profile: fairleadv1alpha1.ProfileNone},
		{name: "unknown", profile: ""},
		{
			name: "ingress-nginx", profile: fairleadv1alpha1.ProfileIngressNginx, tls: true,
			want: exposure.Settings{Ingress: map[string]string{
				nginx + "proxy-buffering": "off", nginx + "proxy-request-buffering": "off",
				nginx + "proxy-read-timeout": "3600", nginx + "proxy-send-timeout": "3600", nginx + "proxy-http-version": "1.1",
				nginx + "affinity": "cookie", nginx + "affinity-mode": "persistent", nginx + "session-cookie-name": "fairlead",
				nginx + "session-cookie-path": "/x", nginx + "session-cookie-max-age": "3600",
				nginx + "session-cookie-samesite": "Lax", nginx + "session-cookie-secure": "true",
			}},
		},
		{
			name: "F5", profile: fairleadv1alpha1.ProfileNginxInc,
			want: exposure.Settings{Ingress: map[string]string{
				"nginx.org/proxy-buffering": "false", "nginx.org/proxy-read-timeout": "3600s", "nginx.org/proxy-send-timeout": "3600s",
				"nginx.org/keepalive": "32", "nginx.org/sticky-cookie-services": "serviceName=a-mcp fairlead expires=1h path=/x",
			}},
		},
		{
			name: "Traefik", profile: fairleadv1alpha1.ProfileTraefik,
			want: exposure.Settings{Service: map[string]string{
				traefik: "true", traefik + ".name": "fairlead", traefik + ".httponly": "true", traefik + ".samesite": "lax",
				traefik + ".maxage": "3600", traefik + ".path": "/x",
			}},
		},
		{
			name: "HAProxy", profile: fairleadv1alpha1.ProfileHAProxy,
			want: exposure.Settings{
				Ingress: map[string]string{"haproxy.org/timeout-server": "1h"},
				Service: map[string]string{"haproxy.org/timeout-server": "1h", "haproxy.org/cookie-persistence": "fairlead"},
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := exposure.For(tt.profile, exposure.Route{ServiceName: "a-mcp", Path: "/x", TLS: tt.tls})
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("For(%q) (-want +got):\n%s", tt.profile, diff)
			}
			for _, settings := range []map[string]string{got.Ingress, got.Service} {
				for key := range maps.Keys(settings) {
					if strings.Contains(key, "snippet") {
						t.Errorf("%q is a snippet", key)
					}
				}
			}
		})
	}
}

func TestCookiesAreSecureBehindTLS(t *testing.T) {
	t.Parallel()
	got := exposure.For(fairleadv1alpha1.ProfileTraefik, exposure.Route{Path: "/", TLS: true}).Service
	if got["traefik.ingress.kubernetes.io/service.sticky.cookie.secure"] != "true" {
		t.Errorf("the cookie is not secure: %v", got)
	}
}

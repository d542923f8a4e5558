// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package exposure knows what each ingress implementation needs so that a
// stream survives it. It is pure: no client, clock or log.
//
// No profile ever emits a configuration snippet: they are off by default in
// every implementation that has them, and they let a tenant configure the proxy
// of all others.
package exposure

import (
	"strings"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// cookieName is the cookie that keeps a client on one replica where the
// implementation can set one. It is an optimization for clients that keep
// cookies; nothing relies on it.
const cookieName = "fairlead"

// cookieMaxAge is the life of that cookie in seconds, as long as a Service's
// ClientIP affinity.
const cookieMaxAge = "3600"

// Route is what a profile must know of the route that it tunes.
type Route struct {
	// ServiceName is the Service behind the Ingress.
	ServiceName string
	// Path is the prefix of every endpoint; "/" for all.
	Path string
	// TLS says whether the ingress terminates TLS.
	TLS bool
}

// Settings are the annotations that an implementation reads, by the object on
// which it reads them.
type Settings struct {
	// Ingress are annotations of the Ingress.
	Ingress map[string]string
	// Service are annotations of the Service: Traefik and HAProxy configure
	// what is behind the route there.
	Service map[string]string
}

// Detect returns the profile for an IngressClass's spec.controller, or
// ProfileNone for an implementation that has none.
func Detect(controller string) fairleadv1alpha1.ExposureProfile {
	// haproxytech/kubernetes-ingress appends the name of its instance.
	if name, _, found := strings.Cut(controller, "/ingress-controller"); found && name == "haproxy.org" {
		return fairleadv1alpha1.ProfileHAProxy
	}
	switch controller {
	case "k8s.io/ingress-nginx":
		return fairleadv1alpha1.ProfileIngressNginx
	case "nginx.org/ingress-controller":
		return fairleadv1alpha1.ProfileNginxInc
	case "traefik.io/ingress-controller":
		return fairleadv1alpha1.ProfileTraefik
	}
	return fairleadv1alpha1.ProfileNone
}

// For returns the settings of a profile. ProfileAuto must have been resolved
// with Detect before; like ProfileNone it has no settings.
func For(profile fairleadv1alpha1.ExposureProfile, route Route) Settings {
	switch profile {
	case fairleadv1alpha1.ProfileIngressNginx:
		return ingressNginx(route)
	case fairleadv1alpha1.ProfileNginxInc:
		return nginxInc(route)
	case fairleadv1alpha1.ProfileTraefik:
		return traefik(route)
	case fairleadv1alpha1.ProfileHAProxy:
		return haproxy()
	case fairleadv1alpha1.ProfileAuto, fairleadv1alpha1.ProfileNone:
	}
	return Settings{}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/runtime/config"
)

// verdicts collects what the operator's limits forbid.
type verdicts struct{ errs config.Errors }

func (v *verdicts) forbid(path, format string, args ...any) {
	v.errs = append(v.errs, &config.FieldError{Path: "spec." + path, Message: fmt.Sprintf(format, args...)})
}

// permitted returns a *NotPermittedError for what the operator's limits forbid.
func permitted(in Input) error {
	v := &verdicts{}
	spec := &in.Server.Spec
	v.secrets(spec)
	if spec.Exposure != nil && spec.Exposure.Ingress != nil {
		v.ingress(spec.Exposure.Ingress, in.Defaults.Limits)
	}
	if spec.Pod != nil && spec.Pod.Image != "" {
		allowed := in.Defaults.Limits.ImagePrefixes
		if !anyOf(allowed, func(prefix string) bool { return imageBelow(spec.Pod.Image, prefix) }) {
			v.forbid("pod.image", "the operator allows no image %q, only those that begin with %s: remove it to use the operator's", spec.Pod.Image, quoted(allowed))
		}
	}
	if len(v.errs) > 0 {
		return &NotPermittedError{Fields: v.errs}
	}
	return nil
}

// secrets keeps session keys out of headers and out of the list of API keys:
// whoever has them can be any client of a server.
func (v *verdicts) secrets(spec *fairleadv1alpha1.MCPServerSpec) {
	check := func(path, name string) {
		if strings.HasSuffix(name, sessionSuffix) {
			v.forbid(path, "%q is the name of a Secret with session keys, which only the operator uses: take another Secret", name)
		}
	}
	for i := range spec.Tools {
		if http := spec.Tools[i].HTTP; http != nil {
			for j := range http.HeadersFrom {
				check(fmt.Sprintf("tools[%d].http.headersFrom[%d].secretKeyRef.name", i, j), http.HeadersFrom[j].SecretKeyRef.Name)
			}
		}
	}
	if spec.Auth.APIKeys != nil {
		check("auth.apiKeys.secretRef.name", spec.Auth.APIKeys.SecretRef.Name)
	}
}

func (v *verdicts) ingress(ingress *fairleadv1alpha1.IngressExposure, limits Limits) {
	const path = "exposure.ingress"
	if !anyOf(limits.IngressClasses, func(class string) bool { return ingress.ClassName == class }) {
		v.forbid(path+".className", "the operator allows no ingress class %q, only %s", ingress.ClassName, quoted(limits.IngressClasses))
	}
	for i, host := range ingress.Hosts {
		if !anyOf(limits.HostSuffixes, func(suffix string) bool { return hostBelow(host, suffix) }) {
			v.forbid(fmt.Sprintf("%s.hosts[%d]", path, i), "the operator allows no host %q, only those that end in %s", host, quoted(limits.HostSuffixes))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(ingress.Annotations)) {
		if why := wrongAnnotation(key, limits); why != "" {
			v.forbid(path+".annotations", "%s", why)
		}
	}
}

// wrongAnnotation returns why an annotation of an Ingress is forbidden; empty if
// it is not. Some are by the limits on other fields, which they would pass by.
func wrongAnnotation(key string, limits Limits) string {
	_, name, _ := strings.Cut(key, "/")
	switch {
	case injects(name):
		return fmt.Sprintf("%q injects configuration into the ingress controller: remove it", key)
	case strings.HasPrefix(name, "auth-"):
		return fmt.Sprintf("%q sets authentication at the ingress: remove it and use auth", key)
	case len(limits.HostSuffixes) > 0 && (name == "server-alias" || name == "server-alias-regex"):
		return fmt.Sprintf("%q claims hosts, of which the operator allows some only: remove it and use hosts", key)
	case len(limits.IngressClasses) > 0 && key == "kubernetes.io/ingress.class":
		return fmt.Sprintf("%q chooses the ingress class, of which the operator allows some only: remove it and use className", key)
	case !anyOf(limits.AnnotationPrefixes, func(prefix string) bool { return strings.HasPrefix(key, prefix) }):
		return fmt.Sprintf("the operator allows no annotation %q, only those that begin with %s", key, quoted(limits.AnnotationPrefixes))
	}
	return ""
}

// injects reports whether an annotation adds lines to the configuration of an
// ingress controller: ingress-nginx, NGINX and HAProxy Technologies call those
// snippets, haproxy-ingress config-backend and the like
// (https://haproxy-ingress.github.io/docs/configuration/keys/#configuration-snippet).
func injects(name string) bool {
	return strings.HasSuffix(name, "-snippet") || strings.HasSuffix(name, "-snippets") || strings.HasPrefix(name, "config-")
}

// anyOf reports whether nothing is demanded, or one of the allowed fits.
func anyOf(allowed []string, fits func(string) bool) bool {
	return len(allowed) == 0 || slices.ContainsFunc(allowed, fits)
}

// hostBelow reports whether a host is suffix or below it: not more than whole
// labels, so that example.com does not allow evil-example.com.
func hostBelow(host, suffix string) bool {
	if strings.HasPrefix(suffix, ".") {
		return strings.HasSuffix(host, suffix)
	}
	return host == suffix || strings.HasSuffix(host, "."+suffix)
}

// imageBelow reports whether an image's name begins with prefix and whole parts
// of it. A colon behind a registry's name alone is a port: another registry.
func imageBelow(image, prefix string) bool {
	rest, ok := strings.CutPrefix(image, prefix)
	if !ok {
		return false
	}
	if rest == "" || strings.HasSuffix(prefix, "/") || rest[0] == '/' {
		return true
	}
	return strings.Contains(prefix, "/") && (rest[0] == ':' || rest[0] == '@' || strings.HasSuffix(prefix, ":") || strings.HasSuffix(prefix, "@"))
}

func quoted(values []string) string {
	out := make([]string, len(values))
	for i, value := range values {
		out[i] = fmt.Sprintf("%q", value)
	}
	return strings.Join(out, ", ")
}

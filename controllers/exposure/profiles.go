// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package exposure

import "fmt"

// ingressNginx tunes kubernetes/ingress-nginx: its read timeout of 60 s cuts a
// quiet stream, and its request buffering holds a body back (annotations.md of
// controller v1.15). Timeouts carry no unit there.
func ingressNginx(route Route) Settings {
	const prefix = "nginx.ingress.kubernetes.io/"
	settings := map[string]string{
		prefix + "proxy-buffering":         "off",
		prefix + "proxy-request-buffering": "off",
		prefix + "proxy-read-timeout":      "3600",
		prefix + "proxy-send-timeout":      "3600",
		prefix + "proxy-http-version":      "1.1",
		prefix + "affinity":                "cookie",
		prefix + "affinity-mode":           "persistent",
		prefix + "session-cookie-name":     cookieName,
		prefix + "session-cookie-path":     route.Path,
		prefix + "session-cookie-max-age":  cookieMaxAge,
		prefix + "session-cookie-samesite": "Lax",
	}
	if route.TLS {
		settings[prefix+"session-cookie-secure"] = "true"
	}
	return Settings{Ingress: settings}
}

// nginxInc tunes nginx/kubernetes-ingress by F5: it buffers by default, so that
// a client sees nothing for 60 s, and then cuts. Cookies are ignored before
// nginx 1.29.6 without NGINX Plus.
func nginxInc(route Route) Settings {
	const prefix = "nginx.org/"
	return Settings{Ingress: map[string]string{
		prefix + "proxy-buffering":    "false",
		prefix + "proxy-read-timeout": "3600s",
		prefix + "proxy-send-timeout": "3600s",
		prefix + "keepalive":          "32",
		prefix + "sticky-cookie-services": fmt.Sprintf("serviceName=%s %s expires=1h path=%s",
			route.ServiceName, cookieName, route.Path),
	}}
}

// traefik needs nothing for the stream itself: it neither buffers nor cuts
// (measured with v3.6). It takes stickiness from the Service.
func traefik(route Route) Settings {
	const prefix = "traefik.ingress.kubernetes.io/service.sticky.cookie"
	settings := map[string]string{
		prefix:               "true",
		prefix + ".name":     cookieName,
		prefix + ".httponly": "true",
		prefix + ".samesite": "lax",
		prefix + ".maxage":   cookieMaxAge,
		prefix + ".path":     route.Path,
	}
	if route.TLS {
		settings[prefix+".secure"] = "true"
	}
	return Settings{Service: settings}
}

// haproxy raises the server timeout of 50 s, which cuts a quiet stream. The
// client timeout of 50 s is in the controller's ConfigMap only; the runtime's
// heartbeat stays below it. Cookies are read on the Service.
func haproxy() Settings {
	return Settings{
		Ingress: map[string]string{"haproxy.org/timeout-server": "1h"},
		Service: map[string]string{
			"haproxy.org/timeout-server":     "1h",
			"haproxy.org/cookie-persistence": cookieName,
		},
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpserver

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"fairlead.dev/fairlead/runtime/internal/transport"
)

// Access says under which names clients may come, and from which web pages.
type Access struct {
	// Hosts are the names of this server, without ports; "*.example.com" stands
	// for one more label.
	Hosts []string
	// Origins are web origins that may use this server beside its own.
	Origins []string
	// EnforceHost refuses other names than Hosts, localhost, and the address
	// that the client connected to. A browser can be tricked into sending
	// requests under another name only (DNS rebinding).
	EnforceHost bool
	// Prefix is the path below which all endpoints are served too.
	Prefix string
}

type access struct {
	hosts       map[string]bool
	wildcards   []string // ".example.com"
	origins     map[string]bool
	enforceHost bool
	prefix      string
}

func newAccess(a Access) *access {
	n := &access{hosts: map[string]bool{}, origins: map[string]bool{}, enforceHost: a.EnforceHost, prefix: strings.TrimSuffix(a.Prefix, "/")}
	for _, host := range a.Hosts {
		host = strings.ToLower(strings.TrimSuffix(host, "."))
		if suffix, ok := strings.CutPrefix(host, "*"); ok {
			n.wildcards = append(n.wildcards, suffix)
		} else {
			n.hosts[host] = true
		}
	}
	for _, origin := range a.Origins {
		n.origins[strings.ToLower(strings.TrimSuffix(origin, "/"))] = true
	}
	return n
}

// admitted refuses requests under foreign names and from foreign web pages, on
// every endpoint and method, and answers preflights.
func (h *Handler) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a := h.access.Load()
		if a.enforceHost && !a.permits(r, hostname(r.Host)) {
			h.Core.Refuse(w, r, transport.Refusal{Status: http.StatusForbidden, Code: "host_not_allowed", Message: "the Host header names no host of this server; exposure hosts are allowed"})
			return
		}
		origins := r.Header.Values("Origin")
		if len(origins) > 0 {
			w.Header().Add("Vary", "Origin")
			if len(origins) > 1 || !a.permitsOrigin(r, origins[0]) {
				h.Core.Refuse(w, r, transport.Refusal{Status: http.StatusForbidden, Code: "origin_not_allowed", Message: "the Origin header names no web page that may use this server; see browser.allowedOrigins"})
				return
			}
			w.Header().Set("Access-Control-Allow-Origin", origins[0])
			w.Header().Set("Access-Control-Expose-Headers", "Mcp-Session-Id, WWW-Authenticate, Retry-After, X-Request-Id")
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				preflight(w, r)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// permits reports whether a client may come under a name.
func (a *access) permits(r *http.Request, host string) bool {
	return a.named(host) || isLocalhost(host) || isLocalAddress(r, host)
}

func (a *access) named(host string) bool {
	if a.hosts[host] {
		return true
	}
	return slices.ContainsFunc(a.wildcards, func(suffix string) bool {
		label, ok := strings.CutSuffix(host, suffix)
		return ok && label != "" && !strings.Contains(label, ".")
	})
}

// permitsOrigin reports whether a web page may use this server: one that is
// listed, one under a name of this server, or one that this server could have
// served itself. A page on another port of localhost is another program's.
func (a *access) permitsOrigin(r *http.Request, origin string) bool {
	origin = strings.ToLower(origin)
	if a.origins[origin] {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || origin != u.Scheme+"://"+u.Host {
		return false
	}
	// Each server's hosts hold localhost, for those who forward a port.
	if host := hostname(u.Host); a.named(host) && !isLocalhost(host) {
		return true
	}
	return strings.EqualFold(u.Host, r.Host) && a.permits(r, hostname(u.Host))
}

// hostname takes port, brackets and trailing dot from a Host header.
func hostname(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func isLocalhost(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback()
}

// isLocalAddress reports whether host is the address that the client connected
// to, such as the pod's: no foreign name leads there.
func isLocalAddress(r *http.Request, host string) bool {
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	return ok && local.AddrPort().Addr().Unmap() == ip.Unmap()
}

// requestHeaders are those that a web page may send.
var requestHeaders = []string{
	"accept", "authorization", "content-type", "last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id",
	"x-api-key", "x-request-id",
}

// preflight answers what a browser asks before a request (Fetch, 4.8).
func preflight(w http.ResponseWriter, r *http.Request) {
	var allowed []string
	for _, value := range r.Header.Values("Access-Control-Request-Headers") {
		for name := range strings.SplitSeq(value, ",") {
			name = strings.ToLower(strings.TrimSpace(name))
			if slices.Contains(requestHeaders, name) || strings.HasPrefix(name, "mcp-param-") {
				allowed = append(allowed, name)
			}
		}
	}
	h := w.Header()
	h.Add("Vary", "Access-Control-Request-Headers")
	h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
	if len(allowed) > 0 {
		h.Set("Access-Control-Allow-Headers", strings.Join(allowed, ", "))
	}
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
}

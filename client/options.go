// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Transport names a way to speak MCP over HTTP.
type Transport string

const (
	// Auto tries the stateless era first, then Streamable HTTP with a session,
	// then HTTP+SSE, as MCP 2026-07-28 ("Versioning") tells clients to. It is
	// the default.
	Auto Transport = "auto"
	// SSE is HTTP+SSE of MCP 2024-11-05.
	SSE Transport = "sse"
	// Streamable is Streamable HTTP with a session, MCP 2025-11-25 and before.
	Streamable Transport = "streamable"
	// Stateless is Streamable HTTP without a session, MCP 2026-07-28.
	Stateless Transport = "stateless"
)

// Transports are all values of Transport, in the order of their description.
func Transports() []Transport { return []Transport{Auto, SSE, Streamable, Stateless} }

const (
	defaultBuffer     = 256
	defaultName       = "fairlead-client"
	dialTimeout       = 10 * time.Second
	handshakeTimeout  = 10 * time.Second
	keepAliveInterval = 15 * time.Second
	keepAliveProbes   = 4
)

// Options say where the server is and how to behave towards it. The zero value
// of every field but URL is usable.
type Options struct {
	// URL is the server's endpoint, http or https. Without a path it means
	// /mcp, and /sse for the SSE transport. The SSE transport also takes a path
	// that ends in /mcp to mean the /sse beside it, so that one URL serves all
	// transports of a Fairlead server.
	URL string
	// Transport is Auto by default.
	Transport Transport
	// APIKey is sent as "Authorization: Bearer", only to the URL's own host. It
	// never appears in errors or events.
	APIKey string
	// Header is added to every request.
	Header http.Header
	// Name and Version say who is calling (MCP clientInfo).
	Name, Version string
	// LogLevel asks the server for log messages of at least this level: debug,
	// info, notice, warning, error, critical, alert or emergency. Empty asks for
	// none.
	LogLevel string
	// Backoff spaces attempts to connect.
	Backoff Backoff
	// Buffer is how many events wait for a slow reader of Client.Events,
	// 256 by default; the oldest are dropped, and counted in a Dropped event.
	Buffer int
	// RoundTripper sends the requests; by default a transport of its own with
	// limits, keep-alive probes and the proxy of the environment.
	RoundTripper http.RoundTripper
	// Logger takes what only a developer wants to know; nil discards it.
	Logger *slog.Logger
}

// withDefaults checks o and fills in what it leaves out.
func (o Options) withDefaults() (Options, error) {
	if o.Transport == "" {
		o.Transport = Auto
	}
	if !slices.Contains(Transports(), o.Transport) {
		return o, fmt.Errorf("unknown transport %q: use auto, sse, streamable or stateless", o.Transport)
	}
	u, err := parseURL(o.URL)
	if err != nil {
		return o, err
	}
	if strings.ContainsFunc(o.APIKey, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return o, errors.New("the API key has a line break or another control character in it: no server gets such a key")
	}
	if level := o.LogLevel; level != "" && !slices.Contains(logLevels, level) {
		return o, fmt.Errorf("unknown log level %q: use one of %s", level, strings.Join(logLevels, ", "))
	}
	o.URL = endpoint(u, o.Transport).String()
	if o.Name == "" {
		o.Name = defaultName
	}
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Buffer <= 0 {
		o.Buffer = defaultBuffer
	}
	o.Backoff = o.Backoff.withDefaults()
	if o.RoundTripper == nil {
		o.RoundTripper = NewRoundTripper()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// parseURL checks the user's URL.
func parseURL(address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("failed to read the URL: %w", err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return nil, fmt.Errorf("the URL %q is not an address such as http://127.0.0.1:8080/mcp", address)
	}
	if u.User != nil {
		return nil, fmt.Errorf("the URL of %q carries a user: give credentials as a key or a header", u.Host)
	}
	return u, nil
}

// endpoint gives the URL that t speaks to when the user named u.
func endpoint(u *url.URL, t Transport) *url.URL {
	out := *u
	out.Fragment = ""
	empty := out.Path == "" || out.Path == "/"
	switch {
	case empty && t == SSE:
		out.Path = "/sse"
	case empty:
		out.Path = "/mcp"
	case t == SSE && strings.HasSuffix(out.Path, "/mcp"):
		out.Path = strings.TrimSuffix(out.Path, "/mcp") + "/sse"
	}
	return &out
}

// NewRoundTripper gives the HTTP transport that Connect uses by default, for
// callers that want to change a part of it: a vanished peer is noticed within
// 75 s, dialing and the TLS handshake take at most 10 s each.
func NewRoundTripper() *http.Transport {
	dialer := &net.Dialer{
		Timeout: dialTimeout,
		KeepAliveConfig: net.KeepAliveConfig{
			Enable: true, Idle: keepAliveInterval, Interval: keepAliveInterval, Count: keepAliveProbes,
		},
	}
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         dialer.DialContext,
		TLSHandshakeTimeout: handshakeTimeout,
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     90 * time.Second,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: 30 * time.Second, PingTimeout: 15 * time.Second},
	}
}

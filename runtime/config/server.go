// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package config is the contract between the operator and the runtime: the one
// definition of server.yaml, how it is decoded and defaulted, and how its
// schemas, templates and URLs are compiled. Builders, lint and the runtime
// share it, so that all of them give the same verdict.
//
// The shape follows MCPServer.spec wherever both have a field, so that the path
// of an error here, prefixed with "spec.", is the path in the object.
package config

import (
	"encoding/json"
	"time"
)

// ContractVersion is the version of server.yaml that this code writes. The
// runtime also accepts the version before it.
const ContractVersion = 1

// MaxSize bounds an encoded server.yaml in bytes (480 KiB): a ConfigMap holds
// two of them within its 1 MiB.
const MaxSize = 480 << 10

// Server is one server.yaml.
type Server struct {
	// Contract is the version of this file's format.
	Contract int `json:"contract"`
	// Revision is the hash of everything else in the file, 16 hex digits; see
	// Server.Hash.
	Revision string `json:"revision,omitempty"`

	// Name, Namespace and UID identify the MCPServer object.
	Name      string `json:"name"`
	Namespace string `json:"namespace,omitempty"`
	UID       string `json:"uid,omitempty"`

	Title        string `json:"title,omitempty"`
	Instructions string `json:"instructions,omitempty"`

	Tools      []Tool     `json:"tools"`
	Auth       Auth       `json:"auth"`
	Limits     Limits     `json:"limits"`
	Transports Transports `json:"transports"`
	Browser    Browser    `json:"browser"`
	Exposure   Exposure   `json:"exposure"`
	Drain      Drain      `json:"drain"`
	Logging    Logging    `json:"logging"`
}

// Tool is one tool with exactly one backend.
type Tool struct {
	Name        string `json:"name"`
	Title       string `json:"title,omitempty"`
	Description string `json:"description"`
	// InputSchema and InputSchemaJSON are alternatives; the second is kept
	// byte for byte. Without either the tool takes no arguments.
	InputSchema     json.RawMessage `json:"inputSchema,omitempty"`
	InputSchemaJSON string          `json:"inputSchemaJSON,omitempty"`
	OutputSchema    json.RawMessage `json:"outputSchema,omitempty"`
	Annotations     *Annotations    `json:"annotations,omitempty"`
	// Timeout defaults to 30s.
	Timeout Duration `json:"timeout,omitzero"`
	// MaxConcurrency defaults to 64.
	MaxConcurrency int `json:"maxConcurrency,omitempty"`
	// State is Enabled (default) or Disabled.
	State  string  `json:"state,omitempty"`
	Access *Access `json:"access,omitempty"`
	HTTP   *HTTP   `json:"http,omitempty"`
	Static *Static `json:"static,omitempty"`
}

// Annotations are MCP's ToolAnnotations.
type Annotations struct {
	ReadOnlyHint    *bool `json:"readOnlyHint,omitempty"`
	DestructiveHint *bool `json:"destructiveHint,omitempty"`
	IdempotentHint  *bool `json:"idempotentHint,omitempty"`
	OpenWorldHint   *bool `json:"openWorldHint,omitempty"`
}

// Access says who may see and call a tool.
type Access struct {
	AnyRole []string `json:"anyRole"`
}

// HTTP is a request to a backend.
type HTTP struct {
	// Method defaults to GET.
	Method string `json:"method,omitempty"`
	URL    string `json:"url"`
	// Query and Headers map names to templates.
	Query       map[string]string `json:"query,omitempty"`
	Headers     map[string]string `json:"headers,omitempty"`
	HeadersFrom []SecretHeader    `json:"headersFrom,omitempty"`
	// Body is JSON (default for POST, PUT, PATCH) or None.
	Body string `json:"body,omitempty"`
	// Network is Cluster (default for *.svc and *.svc.<domain> names), Public
	// (default otherwise) or Private.
	Network  string       `json:"network,omitempty"`
	Response HTTPResponse `json:"response,omitzero"`
}

// SecretHeader is a header whose value is a mounted file.
type SecretHeader struct {
	Name         string       `json:"name"`
	SecretKeyRef SecretKeyRef `json:"secretKeyRef"`
	Prefix       string       `json:"prefix,omitempty"`
}

// SecretKeyRef names a file: <secrets-dir>/<Name>/<Key>.
type SecretKeyRef struct {
	Name string `json:"name"`
	Key  string `json:"key"`
}

// HTTPResponse says how to read a backend's answer.
type HTTPResponse struct {
	// Stream is empty, SSE or NDJSON.
	Stream string `json:"stream,omitempty"`
}

// Static answers without a backend.
type Static struct {
	Content           []Content       `json:"content"`
	StructuredContent json.RawMessage `json:"structuredContent,omitempty"`
	// Outcome is Success (default) or Error.
	Outcome string `json:"outcome,omitempty"`
}

// Content is one block with exactly one member.
type Content struct {
	Text     *string   `json:"text,omitempty"`
	Image    *Binary   `json:"image,omitempty"`
	Audio    *Binary   `json:"audio,omitempty"`
	Resource *Resource `json:"resource,omitempty"`
}

// Binary is base64 data with its media type.
type Binary struct {
	MIMEType string `json:"mimeType"`
	Data     string `json:"data"`
}

// Resource is an embedded resource with either Text or Blob.
type Resource struct {
	URI      string  `json:"uri"`
	MIMEType string  `json:"mimeType,omitempty"`
	Text     *string `json:"text,omitempty"`
	Blob     *string `json:"blob,omitempty"`
}

// Auth says who may connect and what callers may do by default.
type Auth struct {
	// AnonymousAccess is Denied (default) or Allowed.
	AnonymousAccess string `json:"anonymousAccess,omitempty"`
	// DefaultAccess is Allowed (default) or Denied.
	DefaultAccess string   `json:"defaultAccess,omitempty"`
	APIKeys       *APIKeys `json:"apiKeys,omitempty"`
}

// APIKeys names the folder of keys: <secrets-dir>/<SecretRef.Name>/.
type APIKeys struct {
	SecretRef SecretRef `json:"secretRef"`
}

// SecretRef names a folder: <secrets-dir>/<Name>/.
type SecretRef struct {
	Name string `json:"name"`
}

// Limits bound what one replica takes on.
type Limits struct {
	Connections ConnectionLimits `json:"connections,omitzero"`
	Sessions    SessionLimits    `json:"sessions,omitzero"`
	// MaxRequestSize and MaxResponseSize are bytes; both default to 4 MiB.
	MaxRequestSize  int64 `json:"maxRequestSize,omitempty"`
	MaxResponseSize int64 `json:"maxResponseSize,omitempty"`
	// MaxInFlightCalls defaults to 512, MaxInFlightPerPrincipal to 32.
	MaxInFlightCalls        int `json:"maxInFlightCalls,omitempty"`
	MaxInFlightPerPrincipal int `json:"maxInFlightPerPrincipal,omitempty"`
}

// ConnectionLimits bound open streams.
type ConnectionLimits struct {
	// PerReplica defaults to 10,000.
	PerReplica int `json:"perReplica,omitempty"`
}

// SessionLimits bound sessions.
type SessionLimits struct {
	// Max defaults to 20,000.
	Max int `json:"max,omitempty"`
	// IdleTimeout defaults to 10m, MaxAge to 24h.
	IdleTimeout Duration `json:"idleTimeout,omitzero"`
	MaxAge      Duration `json:"maxAge,omitzero"`
}

// Transports tune the wire.
type Transports struct {
	SSE SSE `json:"sse,omitzero"`
	// Heartbeat defaults to 15s.
	Heartbeat   Duration    `json:"heartbeat,omitzero"`
	Compression Compression `json:"compression,omitzero"`
}

// SSE is the HTTP+SSE transport of 2024-11-05.
type SSE struct {
	// Mode is Enabled (default), Warn or Disabled.
	Mode string `json:"mode,omitempty"`
}

// Compression compresses JSON answers.
type Compression struct {
	// MinSize is bytes; defaults to 1 KiB.
	MinSize int `json:"minSize,omitempty"`
}

// Browser says which web pages may use this server.
type Browser struct {
	AllowedOrigins []string `json:"allowedOrigins,omitempty"`
}

// Exposure says under which names and which prefix clients come.
type Exposure struct {
	// Hosts are all names that a Host header may carry, without ports: Service
	// names and ingress hosts. Localhost forms are always added by the runtime
	// when it listens on loopback.
	Hosts []string `json:"hosts,omitempty"`
	// Path is the prefix of every endpoint, "" or "/orders"; endpoints without
	// it are served too.
	Path string `json:"path,omitempty"`
}

// Drain says how a pod that goes away takes leave.
type Drain struct {
	// Settle is how long everything is still served after SIGTERM, until
	// endpoints catch up; defaults to 5s.
	Settle Duration `json:"settle,omitzero"`
	// Window and CallTimeout default to 30s.
	Window      Duration `json:"window,omitzero"`
	CallTimeout Duration `json:"callTimeout,omitzero"`
}

// Logging sets what is logged.
type Logging struct {
	// Level is Debug, Info (default), Warn or Error.
	Level string `json:"level,omitempty"`
}

// Duration is a time.Duration that is written as a string such as "1m30s".
type Duration time.Duration

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
)

// Access is a default answer.
// +kubebuilder:validation:Enum=Allowed;Denied
type Access string

const (
	// AccessAllowed lets the caller in.
	AccessAllowed Access = "Allowed"
	// AccessDenied refuses the caller.
	AccessDenied Access = "Denied"
)

// Auth says who may connect and what callers may do by default.
type Auth struct {
	// anonymousAccess lets callers without credentials in: Denied (default) or
	// Allowed.
	// +optional
	AnonymousAccess Access `json:"anonymousAccess,omitempty"`

	// defaultAccess decides on tools without an access rule: Allowed (default)
	// for every authenticated caller, or Denied for everybody.
	// +optional
	DefaultAccess Access `json:"defaultAccess,omitempty"`

	// apiKeys lets callers in by key (Authorization: Bearer, or X-API-Key).
	// +optional
	APIKeys *APIKeys `json:"apiKeys,omitempty"`
}

// APIKeys are keys in a Secret: one entry for each client, its name as the
// entry's key. The value is the API key itself, or sha256:<hex of it>, or JSON
// with roles: {"sha256": "<hex>", "roles": ["admin"]} (or "key" instead of
// "sha256"). A key has at least 16 characters. Changes are live.
type APIKeys struct {
	// secretRef names the Secret.
	// +required
	SecretRef SecretRef `json:"secretRef"`
}

// Limits bound what one replica takes on. All are per replica.
type Limits struct {
	// connections bound open streams.
	// +optional
	Connections *ConnectionLimits `json:"connections,omitempty"`

	// sessions bound sessions of the 2024 and 2025 protocol eras.
	// +optional
	Sessions *SessionLimits `json:"sessions,omitempty"`

	// maxRequestSize bounds the body of one request, 1Ki to 64Mi; defaults to 4Mi.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('1Ki')) >= 0 && quantity(string(self)).compareTo(quantity('64Mi')) <= 0",message="must be from 1Ki to 64Mi"
	MaxRequestSize *resource.Quantity `json:"maxRequestSize,omitempty"`

	// maxResponseSize bounds the answer of one backend, 1Ki to 64Mi; defaults
	// to 4Mi. A larger one is a tool error.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('1Ki')) >= 0 && quantity(string(self)).compareTo(quantity('64Mi')) <= 0",message="must be from 1Ki to 64Mi"
	MaxResponseSize *resource.Quantity `json:"maxResponseSize,omitempty"`

	// maxInFlightCalls bounds the tool calls that run or wait at once, 1 to
	// 100,000; defaults to 512. Further ones get 503 with Retry-After.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxInFlightCalls *int32 `json:"maxInFlightCalls,omitempty"`

	// maxInFlightPerPrincipal bounds the same for one caller, 1 to 100,000;
	// defaults to 32. Further ones get 429 with Retry-After. Anonymous callers
	// are not bounded by it.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxInFlightPerPrincipal *int32 `json:"maxInFlightPerPrincipal,omitempty"`
}

// ConnectionLimits bound open streams.
type ConnectionLimits struct {
	// perReplica bounds the streams open on one replica, 1 to 1,000,000;
	// defaults to 10,000. Further ones get 429 with Retry-After.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	PerReplica *int32 `json:"perReplica,omitempty"`
}

// SessionLimits bound sessions of the 2024 and 2025 protocol eras.
type SessionLimits struct {
	// max bounds the sessions on one replica, 1 to 1,000,000; defaults to
	// 20,000. At the bound, the longest idle session without a stream makes
	// room; without such a one, initialize gets 503 with Retry-After.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	Max *int32 `json:"max,omitempty"`

	// idleTimeout ends a session that has neither an open stream nor a running
	// call for so long, 1s to 24h; defaults to 10m.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="must be a duration from 1s to 24h, such as 10m"
	IdleTimeout *Duration `json:"idleTimeout,omitempty"`

	// maxAge ends a session whatever it does, 1m to 720h; defaults to 24h.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m') && duration(self) <= duration('720h')",message="must be a duration from 1m to 720h, such as 24h"
	MaxAge *Duration `json:"maxAge,omitempty"`
}

// Transports tune the wire.
type Transports struct {
	// sse is the HTTP+SSE transport of 2024-11-05, which MCP has deprecated.
	// +optional
	SSE *SSETransport `json:"sse,omitempty"`

	// heartbeat is the pause after which a comment line is written on a quiet
	// stream, 1s to 5m; defaults to 15s. Keep it below the idle timeouts of
	// every proxy in between (HAProxy 50s, nginx and ALB 60s).
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('5m')",message="must be a duration from 1s to 5m, such as 15s"
	Heartbeat *Duration `json:"heartbeat,omitempty"`

	// compression compresses JSON answers for clients that accept gzip; event
	// streams are never compressed.
	// +optional
	Compression *Compression `json:"compression,omitempty"`
}

// SSEMode says what becomes of clients on the deprecated transport.
// +kubebuilder:validation:Enum=Enabled;Warn;Disabled
type SSEMode string

const (
	// SSEEnabled serves /sse and /messages. It is the default.
	SSEEnabled SSEMode = "Enabled"
	// SSEWarn serves them with a Deprecation header (RFC 9745) and logs who
	// still comes.
	SSEWarn SSEMode = "Warn"
	// SSEDisabled answers 404 there.
	SSEDisabled SSEMode = "Disabled"
)

// SSETransport is the HTTP+SSE transport of 2024-11-05.
type SSETransport struct {
	// mode is Enabled (default), Warn or Disabled.
	// +optional
	Mode SSEMode `json:"mode,omitempty"`
}

// Compression compresses JSON answers.
type Compression struct {
	// minSize is the size from which an answer is compressed, 256 to 1Mi;
	// defaults to 1Ki.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('256')) >= 0 && quantity(string(self)).compareTo(quantity('1Mi')) <= 0",message="must be from 256 to 1Mi"
	MinSize *resource.Quantity `json:"minSize,omitempty"`
}

// Browser says which web pages may use this server.
type Browser struct {
	// allowedOrigins lists the origins (scheme://host[:port]) whose pages may
	// connect; at most 64. A request with another Origin gets 403 (MCP
	// transports, DNS rebinding), unless the origin is one of this server's own hosts.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MinLength=8
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:items:Pattern=`^https?://[a-z0-9.-]+(:[0-9]{1,5})?$`
	AllowedOrigins []string `json:"allowedOrigins,omitempty"`
}

// Drain says how a pod that goes away takes leave.
type Drain struct {
	// window is the time over which open streams are closed, evenly spread, 1s
	// to 1h; defaults to 30s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="must be a duration from 1s to 1h, such as 30s"
	Window *Duration `json:"window,omitempty"`

	// callTimeout is how long running calls may still take, 1s to 1h; defaults
	// to 30s. A longer window gives them as long.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="must be a duration from 1s to 1h, such as 30s"
	CallTimeout *Duration `json:"callTimeout,omitempty"`
}

// LogLevel is the least level that is logged.
// +kubebuilder:validation:Enum=Debug;Info;Warn;Error
type LogLevel string

// Logging sets what the pods log.
type Logging struct {
	// level is Debug, Info (default), Warn or Error.
	// +optional
	Level LogLevel `json:"level,omitempty"`
}

// Duration is a span of time as in Gateway API (GEP-2257): up to four numbers
// with a unit of h, m, s or ms each, such as 1m30s.
// +kubebuilder:validation:MaxLength=24
// +kubebuilder:validation:Pattern=`^([0-9]{1,5}(h|m|s|ms)){1,4}$`
type Duration string

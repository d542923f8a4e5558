// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"k8s.io/apimachinery/pkg/runtime"
)

// ToolState says whether a tool can be called.
// +kubebuilder:validation:Enum=Enabled;Disabled
type ToolState string

const (
	// ToolEnabled lists the tool and runs it. It is the default.
	ToolEnabled ToolState = "Enabled"
	// ToolDisabled is a kill switch: the tool is not listed, and a call is
	// answered with an error that says so.
	ToolDisabled ToolState = "Disabled"
)

// Tool is one tool of an MCP server (MCP "Tools"), with exactly one backend.
//
// +kubebuilder:validation:ExactlyOneOf=http;static
// +kubebuilder:validation:AtMostOneOf=inputSchema;inputSchemaJSON
type Tool struct {
	// name is what clients call; unique in the server, 1 to 128 characters of
	// A-Z, a-z, 0-9, '_', '-' and '.' (MCP 2025-11-25, tool names).
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.-]+$`
	Name string `json:"name"`

	// title is the display name of the tool. At most 128 characters.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	Title string `json:"title,omitempty"`

	// description tells a model what the tool does and when to use it. 1 to
	// 4,096 characters.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Description string `json:"description"`

	// inputSchema is the JSON Schema (2020-12) of the arguments; its type is
	// object. The API server sorts its keys: use inputSchemaJSON where their
	// order matters. Without either, the tool takes no arguments.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	InputSchema *runtime.RawExtension `json:"inputSchema,omitempty"`

	// inputSchemaJSON is the same as a JSON text, kept byte for byte. At most
	// 65,536 characters.
	// +optional
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=65536
	InputSchemaJSON string `json:"inputSchemaJSON,omitempty"`

	// outputSchema is the JSON Schema (2020-12) of structuredContent; an answer
	// that does not fit is a tool error.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	OutputSchema *runtime.RawExtension `json:"outputSchema,omitempty"`

	// annotations are hints for clients (MCP ToolAnnotations); nothing is
	// enforced by them.
	// +optional
	Annotations *ToolAnnotations `json:"annotations,omitempty"`

	// timeout bounds one call, 100ms to 1h; defaults to 30s. Above
	// drain.callTimeout a call may be cut when its pod leaves.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms') && duration(self) <= duration('1h')",message="must be a duration from 100ms to 1h, such as 10s"
	Timeout *Duration `json:"timeout,omitempty"`

	// maxConcurrency bounds the calls of this tool that run at once on one
	// replica, 1 to 10,000; defaults to 64. Further calls wait within their timeout.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxConcurrency *int32 `json:"maxConcurrency,omitempty"`

	// state is a kill switch: Enabled (default) or Disabled.
	// +optional
	State ToolState `json:"state,omitempty"`

	// access says who may see and call the tool; without it auth.defaultAccess
	// decides.
	// +optional
	Access *ToolAccess `json:"access,omitempty"`

	// http makes the tool a request to an HTTP backend.
	// +optional
	HTTP *HTTPBackend `json:"http,omitempty"`

	// static makes the tool answer with fixed or templated content.
	// +optional
	Static *StaticBackend `json:"static,omitempty"`
}

// ToolAnnotations are MCP's hints, under MCP's own names and with MCP's own
// boolean values (MCP schema, ToolAnnotations).
type ToolAnnotations struct {
	// readOnlyHint: the tool changes nothing. MCP's default is false.
	// +optional
	ReadOnlyHint *bool `json:"readOnlyHint,omitempty"`

	// destructiveHint: the tool may delete or overwrite. MCP's default is true.
	// +optional
	DestructiveHint *bool `json:"destructiveHint,omitempty"`

	// idempotentHint: calling it again with the same arguments changes nothing
	// more. MCP's default is false.
	// +optional
	IdempotentHint *bool `json:"idempotentHint,omitempty"`

	// openWorldHint: the tool reaches an open set of outside things. MCP's
	// default is true.
	// +optional
	OpenWorldHint *bool `json:"openWorldHint,omitempty"`
}

// ToolAccess says who may see and call a tool.
type ToolAccess struct {
	// anyRole lists 1 to 32 roles; a caller needs one of them.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=64
	AnyRole []string `json:"anyRole"`
}

// HTTPMethod is the method of a request to a backend.
// +kubebuilder:validation:Enum=GET;HEAD;POST;PUT;PATCH;DELETE
type HTTPMethod string

// BackendNetwork says which addresses a backend's host may resolve to.
// +kubebuilder:validation:Enum=Cluster;Public;Private
type BackendNetwork string

const (
	// NetworkCluster is for names in the cluster (*.svc, *.svc.<domain>): they
	// may resolve to private addresses. It is the default for such names.
	NetworkCluster BackendNetwork = "Cluster"
	// NetworkPublic allows public addresses only. It is the default for every
	// other host.
	NetworkPublic BackendNetwork = "Public"
	// NetworkPrivate allows private addresses too, for backends of the company
	// outside of the cluster.
	NetworkPrivate BackendNetwork = "Private"
)

// HTTPBody says what the body of a backend request is.
// +kubebuilder:validation:Enum=JSON;None
type HTTPBody string

const (
	// BodyJSON sends the arguments that the url does not use, as one JSON
	// object. It is the default for POST, PUT and PATCH.
	BodyJSON HTTPBody = "JSON"
	// BodyNone sends no body. It is the default for the other methods.
	BodyNone HTTPBody = "None"
)

// TemplateString is text in which ${...} is CEL over arguments and principal;
// $${ stands for a literal ${.
// +kubebuilder:validation:MaxLength=4096
type TemplateString string

// HTTPBackend is a request that answers a tool call. Redirects are not
// followed, no proxy is taken from the environment, and loopback, link-local
// and metadata addresses are never dialled.
//
// +kubebuilder:validation:XValidation:rule="!has(self.body) || self.body != 'JSON' || (has(self.method) && self.method in ['POST', 'PUT', 'PATCH', 'DELETE'])",message="body: JSON needs method POST, PUT, PATCH or DELETE",fieldPath=".body"
type HTTPBackend struct {
	// method is the request's method; defaults to GET.
	// +optional
	Method HTTPMethod `json:"method,omitempty"`

	// url is an absolute http or https URL with RFC 6570 variables in its path
	// and query: {id}, {?verbose}. Arguments are always escaped; they can never
	// change the host or the depth of the path.
	// +required
	// +kubebuilder:validation:MinLength=8
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https?://[^/?#{}@]+([/?].*)?$`
	URL string `json:"url"`

	// query adds query parameters, name to template; at most 64. A parameter
	// whose expression is an empty optional is left out:
	// ${arguments.?verbose}.
	// +optional
	// +mapType=granular
	// +kubebuilder:validation:MaxProperties=64
	Query map[string]TemplateString `json:"query,omitempty"`

	// headers adds request headers, name to template; at most 64. Use
	// headersFrom for anything secret.
	// +optional
	// +mapType=granular
	// +kubebuilder:validation:MaxProperties=64
	Headers map[string]TemplateString `json:"headers,omitempty"`

	// headersFrom adds request headers whose values are in Secrets; at most 16.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	HeadersFrom []HeaderFromSecret `json:"headersFrom,omitempty"`

	// body is JSON (the arguments that the url does not use, as one object) or
	// None; defaults to JSON for POST, PUT and PATCH.
	// +optional
	Body HTTPBody `json:"body,omitempty"`

	// network says which addresses the host may resolve to: Cluster (default
	// for *.svc names), Public (default otherwise) or Private.
	// +optional
	Network BackendNetwork `json:"network,omitempty"`

	// response says how to read the answer.
	// +optional
	Response *HTTPResponse `json:"response,omitempty"`
}

// HeaderFromSecret is a request header whose value is in a Secret.
type HeaderFromSecret struct {
	// name is the header's name (RFC 9110 token).
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9!#$%&'*+.^_|~-]+$`
	Name string `json:"name"`

	// secretKeyRef names the Secret of the server's namespace and its key.
	// +required
	SecretKeyRef SecretKeyRef `json:"secretKeyRef"`

	// prefix stands before the value, such as "Bearer ".
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Prefix string `json:"prefix,omitempty"`
}

// SecretKeyRef names one key of a Secret in the server's namespace.
type SecretKeyRef struct {
	// name is the Secret's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`

	// key is the key in the Secret's data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key"`
}

// ResponseStream says how a backend streams its answer.
// +kubebuilder:validation:Enum=SSE;NDJSON
type ResponseStream string

const (
	// StreamSSE reads text/event-stream: every event is progress, the last is
	// the result.
	StreamSSE ResponseStream = "SSE"
	// StreamNDJSON reads one JSON value a line: every line is progress, the
	// last is the result.
	StreamNDJSON ResponseStream = "NDJSON"
)

// HTTPResponse says how to read a backend's answer.
type HTTPResponse struct {
	// stream reads the answer while it arrives: each SSE event or NDJSON line
	// is reported as progress, and the last one is the result. An object with
	// progress, total or message sets those; {"log": {"level", "logger",
	// "data"}} is a log entry for the client instead.
	// +optional
	Stream ResponseStream `json:"stream,omitempty"`
}

// StaticOutcome says whether a static answer is a success.
// +kubebuilder:validation:Enum=Success;Error
type StaticOutcome string

const (
	// OutcomeSuccess answers with isError: false. It is the default.
	OutcomeSuccess StaticOutcome = "Success"
	// OutcomeError answers with isError: true.
	OutcomeError StaticOutcome = "Error"
)

// StaticBackend answers without a backend.
type StaticBackend struct {
	// content is the answer, 1 to 32 blocks.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Content []Content `json:"content"`

	// structuredContent is the machine-readable answer; strings in it are
	// templates.
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	StructuredContent *runtime.RawExtension `json:"structuredContent,omitempty"`

	// outcome is Success (default) or Error (isError: true).
	// +optional
	Outcome StaticOutcome `json:"outcome,omitempty"`
}

// Content is one block of an answer (MCP ContentBlock).
//
// +kubebuilder:validation:ExactlyOneOf=text;image;audio;resource
type Content struct {
	// text is a template: ${...} is CEL over arguments and principal. At most
	// 16,384 characters.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	Text *string `json:"text,omitempty"`

	// image is an image.
	// +optional
	Image *BinaryContent `json:"image,omitempty"`

	// audio is a sound.
	// +optional
	Audio *BinaryContent `json:"audio,omitempty"`

	// resource is an embedded resource.
	// +optional
	Resource *EmbeddedResource `json:"resource,omitempty"`
}

// BinaryContent is base64 data with its media type.
type BinaryContent struct {
	// mimeType is the media type, such as image/png.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-z]+/[A-Za-z0-9.+-]+$`
	MIMEType string `json:"mimeType"`

	// data is base64 (RFC 4648). At most 65,536 characters.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]+={0,2}$`
	Data string `json:"data"`
}

// EmbeddedResource is a resource inside of an answer.
//
// +kubebuilder:validation:ExactlyOneOf=text;blob
type EmbeddedResource struct {
	// uri names the resource.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9+.-]*:.+$`
	URI string `json:"uri"`

	// mimeType is the media type, such as text/plain.
	// +optional
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=128
	MIMEType string `json:"mimeType,omitempty"`

	// text is a template: ${...} is CEL. At most 16,384 characters.
	// +optional
	// +kubebuilder:validation:MaxLength=16384
	Text *string `json:"text,omitempty"`

	// blob is base64 (RFC 4648). At most 65,536 characters.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9+/]+={0,2}$`
	Blob *string `json:"blob,omitempty"`
}

// SecretRef names a Secret in the server's namespace.
type SecretRef struct {
	// name is the Secret's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Name string `json:"name"`
}

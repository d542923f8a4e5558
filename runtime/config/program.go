// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import "encoding/json"

// Values of the contract's enumerations.
const (
	// StateEnabled lists a tool and runs it; the default of Tool.State.
	StateEnabled = "Enabled"
	// StateDisabled answers calls of a tool with an error that says so.
	StateDisabled = "Disabled"
	// AccessAllowed and AccessDenied are the values of Auth.AnonymousAccess
	// and Auth.DefaultAccess.
	AccessAllowed = "Allowed"
	AccessDenied  = "Denied"
	// BodyJSON sends the arguments that the url does not use as one object.
	BodyJSON = "JSON"
	// BodyNone sends no body.
	BodyNone = "None"
	// NetworkCluster, NetworkPublic and NetworkPrivate are the values of
	// HTTP.Network.
	NetworkCluster = "Cluster"
	NetworkPublic  = "Public"
	NetworkPrivate = "Private"
	// StreamSSE and StreamNDJSON are the values of HTTPResponse.Stream.
	StreamSSE    = "SSE"
	StreamNDJSON = "NDJSON"
	// OutcomeSuccess and OutcomeError are the values of Static.Outcome.
	OutcomeSuccess = "Success"
	OutcomeError   = "Error"
	// SSEEnabled, SSEWarn and SSEDisabled are the values of SSE.Mode.
	SSEEnabled  = "Enabled"
	SSEWarn     = "Warn"
	SSEDisabled = "Disabled"
	// LevelDebug, LevelInfo, LevelWarn and LevelError are the values of
	// Logging.Level.
	LevelDebug = "Debug"
	LevelInfo  = "Info"
	LevelWarn  = "Warn"
	LevelError = "Error"
)

// CompileOptions relax what Compile refuses.
type CompileOptions struct {
	// AllowLoopback lets backends be on this machine: for a server that a
	// person runs at a terminal, never for one in a cluster.
	AllowLoopback bool
}

// Program is a compiled Server. It is immutable and safe for concurrent use.
type Program struct {
	// Server is the configuration with every default filled in.
	Server *Server
	// Tools are in the order of Server.Tools, disabled ones included.
	Tools []*CompiledTool
}

// CompiledTool is one tool, ready to be listed, validated and run.
type CompiledTool struct {
	// Config is the tool with every default filled in.
	Config Tool
	// ListSchema is what tools/list shows as inputSchema, without line breaks:
	// inputSchemaJSON in its own order, else inputSchema, else an object
	// without properties.
	ListSchema json.RawMessage
	// Input validates arguments; never nil.
	Input *Schema
	// Output validates structuredContent; nil without outputSchema.
	Output *Schema
	// HTTP is set for a tool with an http backend, Static for a static one.
	HTTP   *HTTPPlan
	Static *StaticPlan
	// Hash is 16 hex digits over what a running tool is made of: schemas,
	// timeout, maxConcurrency and the backend. Title, description, annotations,
	// access and state leave it alone, so that their edits restart nothing.
	Hash string
	// HeaderParams are the arguments that a request must repeat as
	// Mcp-Param-<Name> headers (SEP-2243), sorted by name.
	HeaderParams []HeaderParam
}

// HeaderParam is an argument that clients repeat as a header (SEP-2243).
type HeaderParam struct {
	// Name is what follows "Mcp-Param-"; compare without case.
	Name string
	// Path leads from the arguments to the value: one name for each object.
	Path []string
	// Type is string, integer or boolean.
	Type string
}

// Vars are what templates see.
type Vars struct {
	// Arguments are validated values as DecodeValue makes them; nil is empty.
	Arguments map[string]any
	Principal PrincipalVars
}

// PrincipalVars is the caller as templates see it.
type PrincipalVars struct {
	// Subject is the caller's name: the entry of an API key, or "anonymous".
	Subject string
	Roles   []string
}

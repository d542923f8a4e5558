// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/json"
	"errors"
	"net/url"
)

var errPending = errors.New("pending")

// Decode reads one server.yaml, YAML or JSON, of at most 1 MiB.
func Decode(data []byte) (*Server, error) { return nil, errPending }

// Encode returns the YAML of s with Contract and Revision set, or a
// *TooLargeError above MaxSize.
func (s *Server) Encode() ([]byte, error) { return nil, errPending }

// Hash returns 16 hex digits over everything but Revision.
func (s *Server) Hash() string { return "" }

// WithDefaults returns a deep copy with every default filled in.
func (s *Server) WithDefaults() *Server { return s }

// Compile is CompileWith without options: what a cluster allows.
func Compile(s *Server) (*Program, error) { return CompileWith(s, CompileOptions{}) }

// CompileWith applies defaults and checks and compiles everything; its error is
// an Errors.
func CompileWith(s *Server, o CompileOptions) (*Program, error) { return nil, errPending }

// DecodeValue reads one JSON value strictly: map[string]any, []any, string,
// bool, nil, int64 for integer literals that fit, else float64.
func DecodeValue(data []byte) (any, error) { return nil, errPending }

// EncodeValue writes a value of DecodeValue as compact JSON with sorted keys.
func EncodeValue(v any) ([]byte, error) { return nil, errPending }

// Schema is a compiled JSON Schema (2020-12), safe for concurrent use.
type Schema struct{}

// Validate checks a value of DecodeValue; its error is a *ValidationError.
// root is what paths begin with: "arguments" for an input schema.
func (s *Schema) Validate(v any) error { return errPending }

// Template is text with ${...} expressions in CEL.
type Template struct{}

// Eval returns the text; present is false if the whole template is one
// expression whose value is an empty optional.
func (t *Template) Eval(v Vars) (value string, present bool, err error) { return "", false, errPending }

// Constant reports whether the template has no expressions.
func (t *Template) Constant() bool { return false }

// URLTemplate is an absolute URL with {x}, {?x,y} and {&x} (RFC 6570).
type URLTemplate struct{}

// Expand returns the URL for the arguments.
func (t *URLTemplate) Expand(args map[string]any) (*url.URL, error) { return nil, errPending }

// Variables returns the names of the arguments that the URL uses, sorted.
func (t *URLTemplate) Variables() []string { return nil }

// Render returns the request for v.
func (p *HTTPPlan) Render(v Vars) (*Request, error) { return nil, errPending }

// StaticPlan is a static answer, compiled.
type StaticPlan struct{}

// Render returns the answer: a JSON array of content blocks, structuredContent
// or nil, and isError.
func (p *StaticPlan) Render(v Vars) (content, structured json.RawMessage, isError bool, err error) {
	return nil, nil, false, errPending
}

// NetworkOf returns the effective network of a host.
func NetworkOf(host, network string) (string, error) { return "", errPending }

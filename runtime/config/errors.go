// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
)

// FieldError is one thing that is wrong with a Server.
type FieldError struct {
	// Path names the field, such as tools[2].http.url; prefixed with "spec." it
	// is the field's path in an MCPServer. Empty for the file as a whole.
	Path string
	// Message says what is wrong and what to do.
	Message string

	rule rule
}

// Error returns "path: message".
func (e *FieldError) Error() string {
	if e.Path == "" {
		return e.Message
	}
	return e.Path + ": " + e.Message
}

// Errors are all things that are wrong with a Server, in the order of its
// fields.
type Errors []*FieldError

// Error returns one error a line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, err := range e {
		lines[i] = err.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns each FieldError, for errors.As.
func (e Errors) Unwrap() []error {
	all := make([]error, len(e))
	for i, err := range e {
		all[i] = err
	}
	return all
}

// TooLargeError says that an encoded Server exceeds MaxSize.
type TooLargeError struct {
	// Size and Limit are bytes.
	Size, Limit int
	// Largest names up to three of the largest tools with their sizes, such as
	// `"orders" (200 KiB)`.
	Largest []string
}

// Error names the sizes and the largest tools.
func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the compiled configuration has %d bytes, more than the %d that fit into a ConfigMap twice: shorten the largest tools (%s) or split the server",
		e.Size, e.Limit, strings.Join(e.Largest, ", "))
}

// ValidationError says which value does not fit its schema.
type ValidationError struct {
	// Path names the value: "arguments", "arguments.id", "arguments.items[2]".
	Path string
	// Message says what is expected; it never holds the value itself.
	Message string
}

// Error returns "path: message".
func (e *ValidationError) Error() string { return e.Path + ": " + e.Message }

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package conformance runs the official MCP conformance suite against the
// runtime, and holds the table of what must pass.
package conformance

// built is the reason of a scenario that must pass.
const built = ""

// Why a scenario cannot pass yet: the server cannot declare what it needs.
const (
	needsResources   = "MCPServer has no resources yet"
	needsPrompts     = "MCPServer has no prompts yet"
	needsCompletion  = "MCPServer has no prompts or resource templates to complete yet"
	needsClientInput = "no backend can ask the client for input yet (sampling, elicitation, roots)"
	needsEarlyEnd    = "no backend can end the stream of its answer early, and only a stream that ends early says when to come back"
)

// legacy is every server scenario that the suite runs for 2025-11-25, required
// or not, with built or the reason why not.
var legacy = map[string]string{
	"completion-complete":           needsCompletion,
	"dns-rebinding-protection":      built,
	"elicitation-sep1034-defaults":  needsClientInput,
	"elicitation-sep1330-enums":     needsClientInput,
	"json-schema-2020-12":           built,
	"logging-set-level":             built,
	"ping":                          built,
	"prompts-get-embedded-resource": needsPrompts,
	"prompts-get-simple":            needsPrompts,
	"prompts-get-with-args":         needsPrompts,
	"prompts-get-with-image":        needsPrompts,
	"prompts-list":                  needsPrompts,
	"resources-list":                needsResources,
	"resources-read-binary":         needsResources,
	"resources-read-text":           needsResources,
	"resources-subscribe":           needsResources,
	"resources-templates-read":      needsResources,
	"resources-unsubscribe":         needsResources,
	"server-initialize":             built,
	"server-session-lifecycle":      built,
	"server-sse-multiple-streams":   built,
	"server-sse-polling":            needsEarlyEnd,
	"tools-call-audio":              built,
	"tools-call-elicitation":        needsClientInput,
	"tools-call-embedded-resource":  built,
	"tools-call-error":              built,
	"tools-call-image":              built,
	"tools-call-mixed-content":      built,
	"tools-call-sampling":           needsClientInput,
	"tools-call-simple-text":        built,
	"tools-call-with-logging":       built,
	"tools-call-with-progress":      built,
	"tools-list":                    built,
}

// modern is the same for 2026-07-28.
var modern = map[string]string{
	"caching":                                       built,
	"completion-complete":                           needsCompletion,
	"dns-rebinding-protection":                      built,
	"http-custom-header-server-validation":          built,
	"http-header-validation":                        built,
	"input-required-result-basic-elicitation":       needsClientInput,
	"input-required-result-basic-list-roots":        needsClientInput,
	"input-required-result-basic-sampling":          needsClientInput,
	"input-required-result-capability-check":        needsClientInput,
	"input-required-result-ignore-extra-params":     needsClientInput,
	"input-required-result-missing-input-response":  needsClientInput,
	"input-required-result-multi-round":             needsClientInput,
	"input-required-result-multiple-input-requests": needsClientInput,
	"input-required-result-non-tool-request":        needsClientInput,
	"input-required-result-request-state":           needsClientInput,
	"input-required-result-result-type":             needsClientInput,
	"input-required-result-tampered-state":          needsClientInput,
	"input-required-result-unsupported-methods":     needsClientInput,
	"input-required-result-validate-input":          needsClientInput,
	"json-schema-2020-12":                           built,
	"prompts-get-embedded-resource":                 needsPrompts,
	"prompts-get-simple":                            needsPrompts,
	"prompts-get-with-args":                         needsPrompts,
	"prompts-get-with-image":                        needsPrompts,
	"prompts-list":                                  needsPrompts,
	"resources-list":                                needsResources,
	"resources-read-binary":                         needsResources,
	"resources-read-text":                           needsResources,
	"resources-templates-read":                      needsResources,
	"sep-2164-resource-not-found":                   needsResources,
	"server-sse-multiple-streams":                   built,
	"server-stateless":                              built,
	"tools-call-audio":                              built,
	"tools-call-embedded-resource":                  built,
	"tools-call-error":                              built,
	"tools-call-image":                              built,
	"tools-call-mixed-content":                      built,
	"tools-call-simple-text":                        built,
	"tools-call-with-progress":                      built,
	"tools-list":                                    built,
}

// exempt names single checks inside of built scenarios that cannot pass yet.
var exempt = map[string]string{
	"sep-2549-prompts-list-caching-hints":                    needsPrompts,
	"sep-2549-resources-list-caching-hints":                  needsResources,
	"sep-2549-resources-templates-list-caching-hints":        needsResources,
	"sep-2575-missing-capability-http-400":                   needsClientInput,
	"sep-2575-server-rejects-undeclared-capability":          needsClientInput,
	"sep-2575-http-server-no-independent-requests-on-stream": needsClientInput,
}

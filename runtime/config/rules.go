// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import "fmt"

// rule is one thing that can be wrong. Each has a case in testdata/invalid; a
// test compares the two lists.
type rule int

const (
	ruleInputSize rule = iota
	ruleSyntax
	ruleContract
	ruleRevision
	ruleUnknownField
	ruleType
	ruleDuration

	ruleRequired
	ruleLength
	ruleLengthMost
	ruleForm
	ruleEnum
	ruleRange
	ruleItems
	ruleItemsMost
	ruleDuplicate
	ruleDotFile
	rulePort

	ruleNoWayIn
	ruleNoRoles

	ruleOneSchema
	ruleOneBackend
	ruleSchemaJSON
	ruleSchemaRoot
	ruleSchemaKeyword
	ruleSchemaStray
	ruleSchemaRegexp
	ruleSchemaDialect
	ruleSchemaRemote
	ruleSchemaTarget
	ruleSchemaLoop
	ruleSchemaDynamic
	ruleSchemaGrowth
	ruleSchemaRefused
	ruleParamType
	ruleParamName
	ruleParamDuplicate

	ruleTemplateOpen
	ruleTemplateEmpty
	ruleExpression
	ruleExpressionBytes
	ruleExpressionUnknown

	ruleURLCharacter
	ruleURLFragment
	ruleURLSegment
	ruleURLBrace
	ruleURLOperator
	ruleURLVariableName
	ruleURLPlace
	ruleURLHost
	ruleURLUnknown
	ruleURLOptional
	ruleURLRepeated
	ruleAddress
	ruleNetworkCluster
	ruleNetworkPrivate
	ruleNetworkShort

	ruleBodyMethod
	ruleQueryTwice
	ruleHeaderName
	ruleHeaderOwned
	ruleHeaderContentType
	ruleHeaderTwice
	ruleHeaderControl

	ruleOneContent
	ruleOneResource
	ruleBase64
	ruleStructuredObject
	ruleStructuredMissing
	ruleStructuredFit

	ruleCount
)

var ruleFormats = [ruleCount]string{
	ruleInputSize:    "the configuration has %d bytes, more than %d: split the server",
	ruleSyntax:       "cannot be read as YAML or JSON: %s",
	ruleContract:     "version %d cannot be read: this runtime reads %d to %d; use an operator and a runtime of the same release, or of two that follow each other",
	ruleRevision:     "is %q, but the content's is %q: the file was changed or cut after it was written; remove the field from a file written by hand",
	ruleUnknownField: "is not a field of this contract version: remove it or mend its spelling",
	ruleType:         "cannot hold %s: write %s",
	ruleDuration:     `must be a duration of up to four numbers with a unit of h, m, s or ms, such as "1m30s"`,

	ruleRequired:   "is required",
	ruleLength:     "must have %d to %d characters; it has %d",
	ruleLengthMost: "must have at most %d characters; it has %d",
	ruleForm:       "must be %s",
	ruleEnum:       "must be one of %s; it is %q",
	ruleRange:      "must be from %s to %s; it is %s",
	ruleItems:      "must have %d to %d entries; it has %d",
	ruleItemsMost:  "must have at most %d entries; it has %d",
	ruleDuplicate:  "%q is already at %s: keep one",
	ruleDotFile:    "%q cannot be the name of a file: it must not begin with two dots or be a single one",
	rulePort:       "port %s must be from 1 to 65535",

	ruleNoWayIn: "must name at least one way in: set auth.apiKeys, or auth.anonymousAccess: Allowed to let everybody in",
	ruleNoRoles: "has access rules, but auth.anonymousAccess is the only way in, and an anonymous caller has no roles: add auth.apiKeys or remove access",

	ruleOneSchema:      "inputSchema and inputSchemaJSON exclude each other: remove one",
	ruleOneBackend:     "must have exactly one of http and static; it has %d",
	ruleSchemaJSON:     "cannot be read: %s",
	ruleSchemaRoot:     `the type must be "object": MCP passes arguments and structuredContent as objects`,
	ruleSchemaKeyword:  "must be %s",
	ruleSchemaStray:    "%s is a field of the tool and means nothing in its schema: indent it like inputSchema",
	ruleSchemaRegexp:   "%q is not a regular expression that can be used here (RE2: no look-around, no back-references): %s",
	ruleSchemaDialect:  "%q is not supported: leave it out, or use https://json-schema.org/draft/2020-12/schema or http://json-schema.org/draft-07/schema#",
	ruleSchemaRemote:   "%q is not local: schemas are never fetched; copy the target into $defs and refer to it as #/$defs/<name>",
	ruleSchemaTarget:   "%q points to nothing in this schema",
	ruleSchemaLoop:     "refers back to itself before it reaches a property or an item: no value could ever be judged",
	ruleSchemaDynamic:  "is not supported inside of a tool's schema: use $defs with a local $ref",
	ruleSchemaGrowth:   "cannot be combined with recursive or multiplying $refs: judging a value could take unbounded time",
	ruleSchemaRefused:  "is refused: %s",
	ruleParamType:      "needs the type string, integer or boolean beside it (SEP-2243)",
	ruleParamName:      "must be a header name of letters, digits and !#$%%&'*+-.^_`|~ (SEP-2243, RFC 9110 token)",
	ruleParamDuplicate: "%q is already the header of %s; header names ignore case",

	ruleTemplateOpen:    "column %d: ${ has no closing brace; write $${ for a literal ${",
	ruleTemplateEmpty:   "column %d: ${} holds no expression; write $${ for a literal ${",
	ruleExpression:      "%s: %s",
	ruleExpressionBytes: "column %d: the expression's value is bytes, which have no text: use string(...)",

	ruleExpressionUnknown: "column %d: the input schema has no property %q and allows no others: add it there, or mend the name",

	ruleURLCharacter:    "holds %q, which must be percent-encoded in a URL",
	ruleURLFragment:     "must not have a fragment (#): servers never see it",
	ruleURLSegment:      "must not have a path segment of dots only: it would change the path's depth",
	ruleURLBrace:        "has an opening or closing brace without its partner",
	ruleURLOperator:     "{%s} is not supported: use {name} in the path or in a query value, {?a,b} to begin the query, {&a,b} to add to it",
	ruleURLVariableName: "{%s}: %q is not a variable name: use letters, digits and _",
	ruleURLPlace:        "%s cannot stand here: %s",
	ruleURLHost:         "the host %q is not valid: use a DNS name or an IP address, without variables",
	ruleURLUnknown:      "{%s} is not a property of the tool's input schema: add it there, or mend the name",
	ruleURLOptional:     "{%s} stands in the path, so that the input schema must list it in required",
	ruleURLRepeated:     "the query parameter %q appears twice",
	ruleAddress:         "the host %q is %s, which backends must never be",
	ruleNetworkCluster:  "is Cluster, but the host %q is not a name in the cluster, such as orders-api.shop.svc: correct the url, or set network: Private",
	ruleNetworkPrivate:  "the host %q is a private address: set network: Private if it is meant",
	ruleNetworkShort:    "the host %q has no dot, so that no public name server knows it: write <service>.<namespace>.svc for a Service, or set network: Private",

	ruleBodyMethod:        "body: JSON needs method POST, PUT, PATCH or DELETE",
	ruleQueryTwice:        "the url already sets this parameter: remove one",
	ruleHeaderName:        "%q is not a header name (RFC 9110 token)",
	ruleHeaderOwned:       "%q is set by the connection itself: remove it",
	ruleHeaderContentType: "%q is set by body: JSON: remove it",
	ruleHeaderTwice:       "%q is already set by %s; header names ignore case",
	ruleHeaderControl:     "must not hold a line break or another control character",

	ruleOneContent:        "must have exactly one of text, image, audio and resource; it has %d",
	ruleOneResource:       "must have exactly one of text and blob; it has %d",
	ruleBase64:            "is not base64 (RFC 4648, with padding): %s",
	ruleStructuredObject:  "must be an object",
	ruleStructuredMissing: "is required, since the tool has an outputSchema",
	ruleStructuredFit:     "does not fit the outputSchema: %s",
}

// sprintf fills in the rule's format.
func (r rule) sprintf(args ...any) string { return fmt.Sprintf(ruleFormats[r], args...) }

// one is an Errors of one entry.
func one(path, message string, r rule) Errors {
	return Errors{{Path: path, Message: message, rule: r}}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package httpcall

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"fairlead.dev/fairlead/runtime/internal/tool"
)

// kind sorts media types by the MCP content they become.
type kind int

const (
	kindOther kind = iota
	kindText
	kindJSON
	kindImage
	kindAudio
)

// textTypes are the types of texts outside text/*.
var textTypes = map[string]bool{
	"application/xml": true, "application/javascript": true, "application/yaml": true, "application/x-yaml": true,
	"application/toml": true, "application/sql": true, "application/graphql": true, "application/x-www-form-urlencoded": true,
	"application/x-ndjson": true, "application/ndjson": true, "application/jsonl": true, "application/x-jsonlines": true,
}

// kindOf sorts one media type.
func kindOf(mediaType string) kind {
	switch {
	case mediaType == "application/json", mediaType == "text/json", strings.HasSuffix(mediaType, "+json"):
		return kindJSON
	// An image that is a text (image/svg+xml) is an image all the same.
	case strings.HasPrefix(mediaType, "image/"):
		return kindImage
	case strings.HasPrefix(mediaType, "audio/"):
		return kindAudio
	case strings.HasPrefix(mediaType, "text/"), strings.HasSuffix(mediaType, "+xml"), strings.HasSuffix(mediaType, "+yaml"), textTypes[mediaType]:
		return kindText
	default:
		return kindOther
	}
}

// jsonResult is a JSON value as compact text, and as structured content when
// the tool has an output schema and the value is an object. ok is false when
// body is not one JSON value.
func (a *answer) jsonResult(body []byte) (result tool.Result, ok bool) {
	value := jsontext.Value(bytes.Clone(body))
	if value.Compact() != nil {
		return tool.Result{}, false
	}
	result = tool.Text(string(value))
	if a.executor.options.Structured && value.Kind() == '{' {
		result.Structured = json.RawMessage(value)
	}
	return result, true
}

// binaryResult is one block of an image or audio (MCP ImageContent and
// AudioContent).
func binaryResult(blockType, mediaType string, body []byte) tool.Result {
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(body))+len(mediaType)+64)
	out = append(out, `[{"type":"`+blockType+`","mimeType":`...)
	out = appendQuoted(out, mediaType)
	out = append(out, `,"data":"`...)
	out = base64.StdEncoding.AppendEncode(out, body)
	return tool.Result{Content: append(out, `"}]`...)}
}

// blobResult is one block with an embedded resource (MCP BlobResourceContents).
// Its URI names the tool, not the backend, whose address is not the client's
// business.
func blobResult(uri, mediaType string, body []byte) tool.Result {
	if mediaType == "" {
		mediaType = "application/octet-stream"
	}
	out := make([]byte, 0, base64.StdEncoding.EncodedLen(len(body))+len(uri)+len(mediaType)+96)
	out = append(out, `[{"type":"resource","resource":{"uri":`...)
	out = appendQuoted(out, uri)
	out = append(out, `,"mimeType":`...)
	out = appendQuoted(out, mediaType)
	out = append(out, `,"blob":"`...)
	out = base64.StdEncoding.AppendEncode(out, body)
	return tool.Result{Content: append(out, `"}}]`...)}
}

// appendQuoted appends a JSON string; invalid UTF-8 is replaced, which is the
// only error there is.
func appendQuoted(dst []byte, s string) []byte {
	dst, _ = jsontext.AppendQuote(dst, s)
	return dst
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package transport

import (
	"net/http"
	"strconv"
	"strings"

	"fairlead.dev/fairlead/runtime/internal/stream"
)

// Accepts says in which forms a client takes an answer.
type Accepts struct {
	JSON, Stream bool
}

// usualAccept is what the SDKs send.
const usualAccept = jsonType + ", " + stream.MediaType

// ParseAccept reads the Accept header (RFC 9110, 12.5.1). Without one
// everything is acceptable.
func ParseAccept(h http.Header) Accepts {
	values := h.Values("Accept")
	if len(values) == 0 {
		return Accepts{JSON: true, Stream: true}
	}
	if len(values) == 1 && values[0] == usualAccept {
		return Accepts{JSON: true, Stream: true}
	}
	var a Accepts
	for _, value := range values {
		for item := range strings.SplitSeq(value, ",") {
			media, parameters, _ := strings.Cut(item, ";")
			if refusesAll(parameters) {
				continue
			}
			switch strings.ToLower(strings.TrimSpace(media)) {
			case "*/*":
				a.JSON, a.Stream = true, true
			case jsonType, "application/*":
				a.JSON = true
			case stream.MediaType, "text/*":
				a.Stream = true
			}
		}
	}
	return a
}

// refusesAll finds a quality of zero among parameters.
func refusesAll(parameters string) bool {
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "q") {
			q, err := strconv.ParseFloat(value, 64)
			return err == nil && q == 0
		}
	}
	return false
}

// RefuseAccept answers 406.
func (c *Core) RefuseAccept(w http.ResponseWriter, r *http.Request, need string) {
	c.Refuse(w, r, Refusal{Status: http.StatusNotAcceptable, Code: "not_acceptable", Message: "the Accept header must allow " + need})
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strconv"
	"strings"
)

// The kinds of streams that ids tell apart: those of GET, and those of replies.
const (
	listening byte = 'g'
	answering byte = 'p'
)

// eventID is the id of an event: which stream of its session it was on, and its
// place there. Zero is the place before the first message.
type eventID struct {
	kind        byte
	number, seq uint32
}

// String gives the id as clients see it, such as p3-17; it is opaque to them.
func (id eventID) String() string { return string(id.append(make([]byte, 0, 24))) }

func (id eventID) append(dst []byte) []byte {
	dst = strconv.AppendUint(append(dst, id.kind), uint64(id.number), 10)
	return strconv.AppendUint(append(dst, '-'), uint64(id.seq), 10)
}

// parseEventID reads a Last-Event-ID; false for one that is none of ours.
func parseEventID(text string) (id eventID, ok bool) {
	if text == "" || len(text) > 24 || text[0] != listening && text[0] != answering {
		return eventID{}, false
	}
	number, seq, found := strings.Cut(text[1:], "-")
	n, err1 := strconv.ParseUint(number, 10, 32)
	q, err2 := strconv.ParseUint(seq, 10, 32)
	id = eventID{text[0], uint32(n), uint32(q)}
	return id, found && err1 == nil && err2 == nil && id.String() == text
}

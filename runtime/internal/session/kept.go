// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"time"
)

// maxKept bounds the part of an event log that is handed over, in bytes before
// they become JSON, which takes a third more.
const maxKept = 48 << 10

// Kept is one reply of a Snapshot.
type Kept struct {
	// Number is the reply's, Seq its last event and Sent the last that a stream
	// was given.
	Number uint32 `json:"number"`
	Seq    uint32 `json:"seq"`
	Sent   uint32 `json:"sent,omitempty"`
	// Ago is how long ago it ended.
	Ago    time.Duration `json:"ago,omitempty"`
	Events []KeptEvent   `json:"events,omitempty"`
}

// KeptEvent is one event of a Kept.
type KeptEvent struct {
	Seq      uint32 `json:"seq"`
	Kind     string `json:"kind,omitempty"`
	Response bool   `json:"response,omitempty"`
	Data     []byte `json:"data"`
}

// snapshot gives the newest replies, as much as can be handed over: what is too large
// takes nothing else with it. Of a reply the end is kept, without which the client
// would wait for the answer in vain; those of a backlog stand for themselves.
func (l *eventLog) snapshot() []Kept {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, left := l.registry.now(), maxKept
	var all []Kept
	for _, r := range slices.Backward(l.replies) {
		k := Kept{Number: r.number, Seq: r.seq, Sent: r.sent}
		if r.over {
			k.Ago = now - r.ended
		}
		for _, e := range slices.Backward(r.entries) {
			n := len(e.data) + entryOverhead
			if n > left && r.number != 0 {
				break
			} else if n > left {
				continue
			}
			left -= n
			k.Events = append(k.Events, KeptEvent{Seq: e.seq, Kind: e.kind, Response: e.response, Data: e.data})
		}
		if len(k.Events) > 0 {
			slices.Reverse(k.Events)
			all = append(all, k)
		}
	}
	slices.Reverse(all)
	return all
}

// restore gives s the log that it had. The lock of the session's shard is held.
func (r *Registry) restore(s *Session, replies []Kept) {
	if len(replies) == 0 {
		return
	}
	l := s.logLocked()
	now, delta := r.now(), 0
	l.mu.Lock()
	for _, k := range replies {
		reply := &Reply{
			log: l, number: k.Number, seq: k.Seq, sent: k.Sent, cut: now, over: k.Number != 0, ended: now - max(k.Ago, 0),
		}
		for _, e := range k.Events {
			kept := entry{data: e.Data, kind: e.Kind, seq: e.Seq, response: e.Response}
			reply.entries = append(reply.entries, kept)
			if e.Response {
				l.answered, reply.answer = reply, e.Seq
			}
			l.bytes += kept.size()
			delta += kept.size()
		}
		l.pending += reply.unsentLocked()
		l.replies = append(l.replies, reply)
	}
	delta += l.trimLocked()
	l.mu.Unlock()
	l.touch()
	r.logs.grew(l, delta)
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"

	"fairlead.dev/fairlead/runtime/internal/stream"
)

// What a client can make a session keep is bounded by bytes, however small its
// answers and however many of them.
func TestManySmallRepliesAreBounded(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		say  []stream.Message
	}{
		{name: "responses", say: []stream.Message{response(40)}},
		{name: "nothing, since all calls were cancelled"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := New(sealer(), options(), nil)
			s, err := r.Create("x", 0, initialized(t))
			if err != nil {
				t.Fatal(err)
			}
			for range 20_000 {
				out := stream.NewOutbox(0, nil)
				reply := s.NewReply(out)
				for _, m := range tt.say {
					keep(reply, m)
				}
				reply.Finish()
				reply.Detach(out)
			}
			if n, most := len(s.log.replies), maxLog/entryOverhead; n > most {
				t.Errorf("the log holds %d replies, at most %d have something to resume", n, most)
			}
		})
	}
}

// A stream may still have all of an answer in its queue when the answer is complete.
func TestAFinishedReplyKeepsWhatIsStillQueued(t *testing.T) {
	t.Parallel()
	s, reply, out := conversation(t, New(sealer(), options(), nil))
	if err := reply.Send(t.Context(), response(40)); err != nil {
		t.Fatal(err)
	}
	reply.Finish()
	keep(reply, response(40))
	reply.Detach(out)
	if got := rendered(t, s, "p1-0"); len(got) != 1 {
		t.Errorf("a client that comes back gets %v, want the response", got)
	}
}

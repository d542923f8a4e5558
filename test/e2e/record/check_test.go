// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package record

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// at is a moment of the forged test, in seconds from its beginning.
func at(seconds float64) time.Time {
	return time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).Add(time.Duration(seconds * float64(time.Second)))
}

// history is one in which all promises are kept: pod a is killed at 10 and b
// leaves from 30 on; c lives all along, and d takes over from b. A test adds what
// breaks a promise.
func history() *History {
	h := &History{
		Acts: []Act{
			{Name: "kill", Began: at(10), Settled: at(14), Cuts: 1},
			{Name: "delete", Began: at(30), Settled: at(40), Cuts: 1},
			{Name: "operator", Began: at(60), Settled: at(65), Cuts: 0},
		},
		Lives: []Life{
			{Pod: "a", IP: "10.0.0.1", Began: at(-50), Killed: at(9.95), Ended: at(10)},
			{Pod: "a", IP: "10.0.0.1", Began: at(11)},
			{Pod: "b", IP: "10.0.0.2", Began: at(-50), Ended: at(40)},
			{Pod: "c", IP: "10.0.0.3", Began: at(-50)},
			{Pod: "d", IP: "10.0.0.4", Began: at(32)},
		},
		Ended: at(80),
	}
	add := func(c, kind string, when float64, e Event) {
		e.Client, e.Kind, e.Via, e.At = c, kind, "Service", at(when)
		h.Events = append(h.Events, e)
	}
	for _, who := range []struct{ name, kind, stream string }{
		{"sse", "go-sse", "main"}, {"streamable", "ts-v1-streamable", "main"}, {"stateless", "go-stateless", "listen"},
	} {
		session := ""
		if who.kind != "go-stateless" {
			session = "first-of-" + who.name
			add(who.name, who.kind, 0, Event{What: Session, Session: session})
		}
		add(who.name, who.kind, 0.1, Event{What: Open, Stream: who.stream, Session: session})
		for i, when := range []float64{1, 8, 27, 28, 57, 58, 78} {
			id := who.name + string(rune('0'+i))
			add(who.name, who.kind, when, Event{What: Call, Call: id, Session: session})
			add(who.name, who.kind, when+0.5, Event{What: Answered, Call: id})
			from := "10.0.0.2"
			if when > 50 {
				from = "10.0.0.4"
			}
			h.Runs = append(h.Runs, Run{Call: id, From: from, At: at(when + 0.2)})
		}
		add(who.name, who.kind, 33, Event{What: Cut, Stream: who.stream, Session: session, Why: "EOF"})
		add(who.name, who.kind, 34, Event{What: Open, Stream: who.stream, Session: session})
	}
	return h
}

// event is one of a client of the forged history.
func event(client string, when float64, e Event) Event {
	e.Client, e.At, e.Via = client, at(when), "Service"
	e.Kind = map[string]string{"sse": "go-sse", "streamable": "ts-v1-streamable", "stateless": "go-stateless"}[client]
	return e
}

// behind is an event of a client behind a proxy.
func behind(e Event) Event {
	e.Via = "Traefik"
	return e
}

func TestCheck(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		events []Event
		runs   []Run
		change func(h *History)
		want   string // part of the only breach; empty for none
	}{
		{name: "all promises are kept"},
		{
			name: "an answer comes twice", events: []Event{event("sse", 29, Event{What: Answered, Call: "sse2"})},
			want: "call sse2 was answered 2 times",
		},
		{
			name: "a call runs twice", runs: []Run{{Call: "sse2", From: "10.0.0.3", At: at(28)}},
			want: "call sse2 ran 2 times",
		},
		{
			name: "a refused call runs nevertheless", events: []Event{
				event("streamable", 20, Event{What: Call, Call: "x", Session: "first-of-streamable"}),
				event("streamable", 20.1, Event{What: Refused, Call: "x", Why: "HTTP 503"}),
				event("streamable", 21, Event{What: Answered, Call: "x"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.3", At: at(20.05)}, {Call: "x", From: "10.0.0.3", At: at(20.5)}},
			want: "call x ran 2 times",
		},
		{
			name: "an answer to nothing", events: []Event{event("sse", 29, Event{What: Answered, Call: "other"})},
			want: "never sent",
		},
		{
			name: "a call is lost by a pod that leaves", events: []Event{
				event("streamable", 31, Event{What: Call, Call: "x", Session: "first-of-streamable"}),
				event("streamable", 35, Event{What: Lost, Call: "x", Why: "EOF"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.2", At: at(31.1)}}, want: "call x has no answer: EOF; it ran on b (left until",
		},
		{
			name: "a call disappears", events: []Event{event("stateless", 31, Event{What: Call, Call: "x"})},
			want: "nothing is known of it",
		},
		{
			name: "a call that nobody ran is lost while nothing is killed", events: []Event{
				event("stateless", 31, Event{What: Call, Call: "x"}), event("stateless", 32, Event{What: Lost, Call: "x", Why: "reset"}),
			},
			want: "it ran on no pod",
		},
		{
			name: "a proxy finds nobody until the killed pod is back", events: []Event{
				event("stateless", 17, Event{What: Call, Call: "x"}), event("stateless", 19, Event{What: Lost, Call: "x", Why: "HTTP 502"}),
			},
			change: func(h *History) { h.Lives[1].Began = at(20) },
		},
		{
			name: "a proxy loses an answer before the killed pod is back", events: []Event{
				event("stateless", 17, Event{What: Call, Call: "x"}), event("stateless", 19, Event{What: Lost, Call: "x", Why: "HTTP 502"}),
			},
			runs:   []Run{{Call: "x", From: "10.0.0.3", At: at(18)}},
			change: func(h *History) { h.Lives[1].Began = at(20) },
			want:   "call x has no answer: HTTP 502; it ran on c",
		},
		{
			name: "a call is lost with the killed pod that ran it", events: []Event{
				event("stateless", 9.5, Event{What: Call, Call: "x"}), event("stateless", 29, Event{What: Lost, Call: "x", Why: "timeout"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.1", At: at(9.6)}},
		},
		{
			name: "a call is lost on its way through the killed pod", events: []Event{
				event("stateless", 9.5, Event{What: Call, Call: "x"}), event("stateless", 10.1, Event{What: Lost, Call: "x", Why: "reset"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.3", At: at(9.6)}},
		},
		{
			name: "a call is lost before the killed pod is known to be dead", events: []Event{
				event("stateless", 9.5, Event{What: Call, Call: "x"}), event("stateless", 9.97, Event{What: Lost, Call: "x", Why: "EOF"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.1", At: at(9.6)}},
		},
		{
			name: "a call is lost on its way through a pod that is not known to be dead yet", events: []Event{
				event("stateless", 9.5, Event{What: Call, Call: "x"}), event("stateless", 9.97, Event{What: Lost, Call: "x", Why: "HTTP 502"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.3", At: at(9.6)}},
		},
		{
			name: "a call is lost before its pod is killed", events: []Event{
				event("stateless", 9.5, Event{What: Call, Call: "x"}), event("stateless", 9.94, Event{What: Lost, Call: "x", Why: "EOF"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.1", At: at(9.6)}}, want: "call x has no answer: EOF; it ran on a (killed at",
		},
		{
			name: "a call is lost late by a client whose stream the kill cut before the pod is known to be dead", events: []Event{
				event("stateless", 9.5, Event{What: Call, Call: "x"}), event("stateless", 9.96, Event{What: Cut, Stream: "listen", Why: "EOF"}),
				event("stateless", 9.99, Event{What: Open, Stream: "listen"}), event("stateless", 25, Event{What: Lost, Call: "x", Why: "timeout"}),
			},
			runs:   []Run{{Call: "x", From: "10.0.0.3", At: at(9.6)}},
			change: func(h *History) { h.Acts[0].Began = at(9.9) },
		},
		{
			name: "a call on another pod is lost long after the kill", events: []Event{
				event("stateless", 9.5, Event{What: Call, Call: "x"}), event("stateless", 25, Event{What: Lost, Call: "x", Why: "timeout"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.3", At: at(9.6)}}, want: "it ran on c at",
		},
		{
			name: "a call that began after the kill is lost", events: []Event{
				event("stateless", 13, Event{What: Call, Call: "x"}), event("stateless", 13.5, Event{What: Lost, Call: "x", Why: "reset"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.1", At: at(13.1)}}, want: "it ran on a at",
		},
		{
			name: "the answer is an error", events: []Event{
				event("sse", 31, Event{What: Call, Call: "x"}), event("sse", 32, Event{What: Answered, Call: "x", Why: "error -32603"}),
			},
			runs: []Run{{Call: "x", From: "10.0.0.2", At: at(31.1)}}, want: "the answer was error -32603",
		},
		{
			name: "an answer that no pod asked the backend for", events: []Event{
				event("sse", 31, Event{What: Call, Call: "x"}), event("sse", 32, Event{What: Answered, Call: "x"}),
			},
			want: "was answered and never ran",
		},
		{
			name: "a stream is cut twice by one act", events: []Event{
				event("stateless", 36, Event{What: Cut, Stream: "listen", Why: "EOF"}), event("stateless", 37, Event{What: Open, Stream: "listen"}),
			},
			want: `stream listen was cut 2 times by "delete", which may 1 times: EOF`,
		},
		{
			name: "a stream is cut by an act that may cut none", events: []Event{
				event("stateless", 61, Event{What: Cut, Stream: "listen", Why: "EOF"}), event("stateless", 62, Event{What: Open, Stream: "listen"}),
			},
			want: `cut 1 times by "operator", which may 0 times`,
		},
		{
			name: "a stream is cut before anything happens", events: []Event{
				event("stateless", 5, Event{What: Cut, Stream: "listen", Why: "EOF"}), event("stateless", 6, Event{What: Open, Stream: "listen"}),
			},
			want: "cut before anything was done",
		},
		{
			name: "a stream through a proxy that dropped it as it opened it", events: []Event{
				behind(event("stateless", 62, Event{What: Open, Stream: "listen"})),
				behind(event("stateless", 62.01, Event{What: Cut, Stream: "listen", Why: "unexpected EOF"})),
				behind(event("stateless", 63, Event{What: Open, Stream: "listen"})),
			},
		},
		{
			name: "a stream through a proxy that dropped it as it opened it, again and again",
			change: func(h *History) {
				for i := range 4 {
					h.Events = append(h.Events,
						behind(event("stateless", 62+float64(i), Event{What: Open, Stream: "listen"})),
						behind(event("stateless", 62.01+float64(i), Event{What: Cut, Stream: "listen", Why: "unexpected EOF"})))
				}
				h.Events = append(h.Events, behind(event("stateless", 66, Event{What: Open, Stream: "listen"})))
			},
			want: "stream listen was dropped 4 of 6 times as it was opened",
		},
		{
			name: "a stream through a proxy that is cut later", events: []Event{
				behind(event("stateless", 62, Event{What: Open, Stream: "listen"})),
				behind(event("stateless", 62.2, Event{What: Cut, Stream: "listen", Why: "unexpected EOF"})),
				behind(event("stateless", 63, Event{What: Open, Stream: "listen"})),
			},
			want: `cut 1 times by "operator", which may 0 times`,
		},
		{
			name: "a stream through a proxy that the server ended at once", events: []Event{
				behind(event("stateless", 62, Event{What: Open, Stream: "listen"})),
				behind(event("stateless", 62.01, Event{What: Cut, Stream: "listen", Why: "EOF"})),
				behind(event("stateless", 63, Event{What: Open, Stream: "listen"})),
			},
			want: `cut 1 times by "operator", which may 0 times`,
		},
		{
			name: "a stream stays closed", events: []Event{event("stateless", 12, Event{What: Cut, Stream: "other", Why: "EOF"})},
			want: "stream other is closed in the end",
		},
		{
			name: "404 while the owner lives", events: notFound("streamable", 28.8),
			want: "got 404 for session first-of-streamable, whose owner b (left until",
		},
		{
			name: "404 while the peer that took the session over lives", events: notFound("streamable", 70),
			want: "got 404 for session first-of-streamable, whose owner d lives",
		},
		{
			name: "404 after the owner left without handing over", events: notFound("streamable", 45),
			want: "whose owner b (left until",
		},
		{
			name: "404 after the owner was killed", events: notFound("streamable", 29),
			change: func(h *History) { h.Lives[2].Killed, h.Lives[2].Ended = at(28.4), at(28.5) },
		},
		{
			name: "404 after the owner was killed whose last question was still on its way", events: append(
				[]Event{event("streamable", 28.4, Event{What: Call, Call: "x", Session: "first-of-streamable"}), event("streamable", 28.6, Event{What: Lost, Call: "x", Why: "EOF"})},
				notFound("streamable", 29)...),
			runs: []Run{{Call: "x", From: "10.0.0.2", At: at(28.55)}},
			change: func(h *History) {
				h.Lives[2].Killed, h.Lives[2].Ended = at(28.45), at(28.5)
				h.Lives = append(h.Lives, Life{Pod: "b", IP: "10.0.0.2", Began: at(28)})
			},
		},
		{
			name: "404 while the container lives that followed a killed one", events: append(
				[]Event{event("streamable", 28.9, Event{What: Call, Call: "x", Session: "first-of-streamable"}), event("streamable", 29.1, Event{What: Answered, Call: "x"})},
				notFound("streamable", 29.5)...),
			runs: []Run{{Call: "x", From: "10.0.0.2", At: at(29)}},
			change: func(h *History) {
				h.Lives[2].Killed, h.Lives[2].Ended = at(28.45), at(28.5)
				h.Lives = append(h.Lives, Life{Pod: "b", IP: "10.0.0.2", Began: at(28)})
			},
			want: "got 404 for session first-of-streamable, whose owner b lives",
		},
		{
			name: "404 after the peer that took the session over was killed", events: notFound("streamable", 56),
			change: func(h *History) { h.Lives[4].Killed, h.Lives[4].Ended = at(54.9), at(55) },
		},
		{name: "404 for an SSE session whose owner has left", events: notFound("sse", 56)},
		{
			name: "404 for an SSE session whose stream the leaving owner has closed", events: notFound("sse", 35),
		},
		{
			name: "404 for an SSE session whose stream the leaving owner has not closed yet", events: notFound("sse", 32.9),
			want: "got 404 for session first-of-sse",
		},
		{
			name: "404 for an SSE session whose owner lives", events: notFound("sse", 29),
			want: "got 404 for session first-of-sse",
		},
		{
			name: "a new session without a reason", events: []Event{event("streamable", 50, Event{What: Session, Session: "second"})},
			want: "first-of-streamable was not gone",
		},
		{
			name: "a new session after clear words", events: []Event{
				event("streamable", 49, Event{What: Told, Session: "first-of-streamable"}),
				event("streamable", 50, Event{What: Session, Session: "second"}),
			},
		},
		{
			name: "a client does not go on", change: func(h *History) { h.Acts[1].Settled, h.Acts[2].Began = at(59), at(62) },
			want: `no call was answered between the end of "delete" and what came next`,
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			h := history()
			h.Events = append(h.Events, test.events...)
			h.Runs = append(h.Runs, test.runs...)
			if test.change != nil {
				test.change(h)
			}
			_, breaches := Check(h)
			if test.want == "" && len(breaches) > 0 {
				t.Errorf("got %q, want no breach", breaches)
			}
			if test.want != "" && len(breaches) == 0 {
				t.Errorf("got no breach, want %q", test.want)
			}
			for _, breach := range breaches {
				if test.want != "" && !strings.Contains(breach.Text, test.want) {
					t.Errorf("got %q, want only breaches with %q", breach, test.want)
				}
			}
		})
	}
}

// notFound is a 404 for a client's first session, and the next one.
func notFound(client string, when float64) []Event {
	return []Event{
		event(client, when, Event{What: Status, Method: "POST", Status: 404, Session: "first-of-" + client}),
		event(client, when+0.1, Event{What: Session, Session: "second"}),
	}
}

func TestCounts(t *testing.T) {
	t.Parallel()
	h := history()
	h.Events = append(h.Events, notFound("sse", 56)...)
	summary, _ := Check(h)
	want := Counts{Clients: 3, Calls: 21, Answered: 21, Cuts: 3, Sessions: 3, NotFound: 1, Silence: 29 * time.Second}
	if summary.Total != want {
		t.Errorf("got %+v, want %+v", summary.Total, want)
	}
	if got := summary.Cuts["delete"]; got != 3 {
		t.Errorf("got %d cuts by the deletion, want 3", got)
	}
}

func TestFollowTakesOnlyEvents(t *testing.T) {
	t.Parallel()
	var log Log
	var other []string
	text := `{"at":"2026-11-21T12:00:00Z","client":"a","what":"call","call":"a-1"}` + "\nwarning\n" + `{"level":"info"}` + "\n"
	if err := log.Follow(strings.NewReader(text), func(line string) { other = append(other, line) }); err != nil {
		t.Fatal(err)
	}
	if got := log.Events(); len(got) != 1 || got[0].Call != "a-1" || !got[0].At.Equal(at(0)) {
		t.Errorf("got %+v", got)
	}
	if len(other) != 2 {
		t.Errorf("got the other lines %q, want 2", other)
	}
}

// TestReport: a breach is told with what led there, in few lines.
func TestReport(t *testing.T) {
	t.Parallel()
	h := history()
	h.Events = append(h.Events,
		event("streamable", 31, Event{What: Call, Call: "x", Session: "first-of-streamable"}),
		event("streamable", 35, Event{What: Lost, Call: "x", Why: "EOF"}),
		event("streamable", 70, Event{What: Status, Method: "POST", Status: 404, Session: "first-of-streamable"}),
	)
	h.Runs = append(h.Runs, Run{Call: "x", From: "10.0.0.2", At: at(31.1)})
	_, breaches := Check(h)
	if len(breaches) != 2 {
		t.Fatalf("got %v, want two breaches", breaches)
	}
	want := `12:00:35.000 streamable (ts-v1-streamable, Service): call x has no answer: EOF; it ran on b (left until 12:00:40) at 12:00:31.100, sent at 12:00:31.000
and 1 more
-- 12:00:35.000 streamable (ts-v1-streamable, Service): call x has no answer: EOF; it ran on b (left until 12:00:40) at 12:00:31.100, sent at 12:00:31.000
seconds from "delete" (12:00:30.000):
  +0.000 ACT delete
  +1.000 call x in …amable
  +1.100 ran on b (left until 12:00:40)
  +2.000 d began at 10.0.0.4
  +3.000 cut main in …amable (EOF)
  +4.000 open main in …amable
  +5.000 lost x (EOF)
`
	if diff := cmp.Diff(want, Report(breaches, 1, 1)); diff != "" {
		t.Errorf("the report (-want +got):\n%s", diff)
	}
}

// TestStoryIsBounded: of a long story stays what is next to the breach.
func TestStoryIsBounded(t *testing.T) {
	t.Parallel()
	h := history()
	for i := range 100 {
		h.Events = append(h.Events, event("streamable", 60+float64(i)/10, Event{What: Refused, Call: "streamable0", Why: "HTTP 503"}))
	}
	h.Events = append(h.Events, event("streamable", 64, Event{What: Status, Method: "POST", Status: 404, Session: "first-of-streamable"}))
	_, breaches := Check(h)
	if len(breaches) != 1 {
		t.Fatalf("got %v, want one breach", breaches)
	}
	story := breaches[0].Story
	if text := strings.Join(story, "\n"); len(story) > maxStory || !strings.Contains(text, "+4.000 status POST 404") || strings.Contains(text, "+1.000") {
		t.Errorf("%d lines:\n%s", len(story), text)
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// ChangePrefix begins the name of the tool that tells listeners which change
	// they see: change_17.
	ChangePrefix = "change_"
	// opening bounds how long all streams of a listener may take to open.
	opening = time.Minute
	// openAtOnce bounds how many streams a listener opens at once.
	openAtOnce  = 8
	listChanged = "notifications/tools/list_changed"
)

// Heard is a change as one stream heard of it.
type Heard struct {
	// Notified is when the list_changed came after which the listing showed the
	// change; Listed is when that listing came.
	Notified time.Time `json:"notified"`
	Listed   time.Time `json:"listed"`
}

// Stream is the story of one stream.
type Stream struct {
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// Cut says why the stream ended; empty while it is open.
	Cut string `json:"cut,omitempty"`
	// Failure says why a listing failed the last time.
	Failure string `json:"failure,omitempty"`
	// Heard holds each change by its number.
	Heard map[int]Heard `json:"heard"`
	// Stale counts notifications after which the listing was as before.
	Stale int `json:"stale"`
}

// Listener holds streams open and lists the tools again after each list_changed.
type Listener struct {
	mu      sync.Mutex
	streams []*Stream
	changed chan struct{} // closed and replaced whenever a stream's story goes on
	running sync.WaitGroup
}

// Listen opens streams of the kinds given. They end with ctx. An error is one
// stream that did not open.
func Listen(ctx context.Context, target Target, name string, kinds map[Kind]int) (*Listener, error) {
	l := &Listener{changed: make(chan struct{})}
	dialing, cancel := context.WithTimeout(ctx, opening)
	defer cancel()
	slots := make(chan struct{}, openAtOnce)
	failures := make(chan error, 1)
	var pending sync.WaitGroup
	for kind, count := range kinds {
		for i := range count {
			stream := &Stream{ID: fmt.Sprintf("%s-%s-%d", name, kind, i), Kind: kind, Heard: map[int]Heard{}}
			l.streams = append(l.streams, stream)
			pending.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				if err := l.open(ctx, dialing, target, stream); err != nil {
					select {
					case failures <- fmt.Errorf("failed to open stream %s: %w", stream.ID, err):
					default:
					}
				}
			})
		}
	}
	pending.Wait()
	select {
	case err := <-failures:
		return l, err
	default:
		return l, nil
	}
}

// open opens one stream and starts whoever follows it.
func (l *Listener) open(ctx, dialing context.Context, target Target, stream *Stream) error {
	news := make(chan time.Time, 64)
	notified := func(method string, at time.Time) {
		if method == listChanged {
			select {
			case news <- at:
			default: // So many are unread that the next listing covers this one.
			}
		}
	}
	var s *session
	var err error
	for {
		s, err = target.dial(ctx, stream.Kind, notified)
		if err == nil {
			break
		}
		select {
		case <-dialing.Done():
			return err
		case <-time.After(250 * time.Millisecond):
		}
	}
	if err := l.list(ctx, s, stream, time.Now()); err != nil {
		return err
	}
	l.running.Go(func() { l.follow(ctx, s, stream, news) })
	return nil
}

// follow lists the tools after each notification, until the stream ends.
func (l *Listener) follow(ctx context.Context, s *session, stream *Stream, news <-chan time.Time) {
	for {
		select {
		case at := <-news:
			err := l.list(ctx, s, stream, at)
			l.tell(func() {
				if err != nil {
					stream.Failure = err.Error()
				}
			})
		case <-s.ended:
			if ctx.Err() == nil {
				l.tell(func() { stream.Cut = s.cause.Error() })
			}
			return
		}
	}
}

// list notes which change the listing shows.
func (l *Listener) list(ctx context.Context, s *session, stream *Stream, at time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	id := s.id()
	m, err := s.ask(ctx, request(id, "tools/list", map[string]any{}), id)
	if err != nil {
		return fmt.Errorf("failed to list the tools: %w", err)
	}
	var result struct{ Tools []struct{ Name string } }
	if err := json.Unmarshal(m.Result, &result); err != nil {
		return fmt.Errorf("failed to read the tools: %w", err)
	}
	newest := -1
	for _, tool := range result.Tools {
		if text, ok := strings.CutPrefix(tool.Name, ChangePrefix); ok {
			if n, err := strconv.Atoi(text); err == nil {
				newest = max(newest, n)
			}
		}
	}
	l.tell(func() {
		if _, known := stream.Heard[newest]; known || newest < 0 {
			stream.Stale++
			return
		}
		stream.Heard[newest] = Heard{Notified: at, Listed: time.Now()}
	})
	return nil
}

// tell changes a stream's story and wakes whoever waits for it.
func (l *Listener) tell(change func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	change()
	close(l.changed)
	l.changed = make(chan struct{})
}

// Await returns when every stream has heard of a change, when one is cut, or
// when ctx ends, and says how many have.
func (l *Listener) Await(ctx context.Context, change int) (heard, cut int) {
	for {
		l.mu.Lock()
		heard, cut = 0, 0
		for _, stream := range l.streams {
			if _, ok := stream.Heard[change]; ok {
				heard++
			}
			if stream.Cut != "" {
				cut++
			}
		}
		all, changed := len(l.streams), l.changed
		l.mu.Unlock()
		if heard == all || cut > 0 {
			return heard, cut
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return heard, cut
		}
	}
}

// Report encodes the story of every stream.
func (l *Listener) Report() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return json.Marshal(l.streams)
}

// Wait returns when every stream has ended.
func (l *Listener) Wait() { l.running.Wait() }

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package engine

import (
	"errors"
	"flag"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"fairlead.dev/fairlead/runtime/internal/auth"
)

var update = flag.Bool("update", false, "write what was sent into the conversations")

// A conversation is a txtar file. Its head names the era and the musts that it
// covers. Its sections are:
//
//	-- send [background] [batch] [as=NAME:ROLE] [version=] [method=] [name=] [param.x=] --
//	one message; what runs in the background is waited for at the end
//	-- expect --
//	what was sent to the client since, line by line, byte for byte
//	-- refused KIND --
//	the error of the message before, byte for byte
//	-- wait --
//	until a call of the tool "wait" runs
//	-- idle --
//	until nothing runs in the background
//	-- notify --
//	the transport sends a changed list to the subscription before
//	-- end --
//	the subscription before ends gracefully
//
// Values of a send may be escaped as in a URL's path.
type conversation struct {
	name     string
	file     string
	head     string
	era      Era
	musts    []string
	sections []section
}

type section struct {
	words []string
	body  string
}

func loadConversations(t *testing.T) []conversation {
	t.Helper()
	files, err := filepath.Glob("testdata/conversations/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no conversations: %v", err)
	}
	var all []conversation
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		c := parseConversation(t, strings.TrimSuffix(filepath.Base(file), ".txtar"), string(data))
		c.file = file
		all = append(all, c)
	}
	return all
}

func parseConversation(t *testing.T, name, data string) conversation {
	t.Helper()
	c := conversation{name: name}
	for line := range strings.Lines(data) {
		text := strings.TrimSpace(line)
		inner, ok := strings.CutPrefix(text, "-- ")
		if inner, ends := strings.CutSuffix(inner, " --"); ok && ends {
			c.sections = append(c.sections, section{words: strings.Fields(inner)})
			continue
		}
		if len(c.sections) > 0 {
			c.sections[len(c.sections)-1].body += line
			continue
		}
		c.head += line
		key, value, _ := strings.Cut(text, ": ")
		switch key {
		case "era":
			c.era = map[string]Era{"sse": EraSSE, "streamable": EraStreamable, "stateless": EraStateless}[value]
		case "musts":
			c.musts = strings.Fields(value)
		}
	}
	if c.era == 0 {
		t.Fatalf("%s: no era", name)
	}
	return c
}

func TestConversations(t *testing.T) {
	t.Parallel()
	for _, c := range loadConversations(t) {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := &player{world: newWorld(t, nil), conversation: c, sink: newRecorder()}
			if c.era == EraSSE {
				p.session = &Session{}
			}
			for i := range c.sections {
				p.play(t, &c.sections[i])
			}
			p.running.Wait()
			if rest := lines(p.sink.take()); rest != "" {
				t.Errorf("sent after the last expectation:\n%s", rest)
			}
			if p.session != nil && p.session.Running() != 0 {
				t.Errorf("Running() = %d after the last call", p.session.Running())
			}
			if *update {
				c.write(t)
			}
		})
	}
}

type player struct {
	*world
	conversation
	session      *Session
	sink         *recorder
	err          error
	subscription *Subscription
	running      sync.WaitGroup
}

func (c *conversation) write(t *testing.T) {
	t.Helper()
	b := []byte(c.head)
	for _, s := range c.sections {
		b = append(b, "-- "+strings.Join(s.words, " ")+" --\n"+s.body...)
	}
	if err := os.WriteFile(c.file, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// differs compares a section's body, or takes over what it should be.
func (s *section) differs(got string) string {
	if *update {
		s.body = got
	}
	return cmp.Diff(s.body, got)
}

func (p *player) play(t *testing.T, s *section) {
	t.Helper()
	switch s.words[0] {
	case "send":
		if p.err != nil {
			t.Errorf("refused without an expectation: %v", p.err)
		}
		p.send(t, s)
	case "wait":
		<-p.waiting
	case "idle":
		p.running.Wait()
	case "notify":
		<-p.sink.first
		if data := p.subscription.ListChanged(); data != nil {
			_ = p.sink.Send(t.Context(), Message{Data: data})
		}
	case "end":
		p.subscription.End()
		p.running.Wait()
	case "expect":
		if p.err != nil {
			t.Errorf("refused: %v", p.err)
		}
		if diff := s.differs(lines(p.sink.take())); diff != "" {
			t.Errorf("sent (-want +got):\n%s", diff)
		}
	case "refused":
		var e *Error
		if !errors.As(p.err, &e) {
			t.Fatalf("not refused, want %s", s.body)
		}
		p.err = nil
		if e.Kind.String() != s.words[1] {
			t.Errorf("kind = %s, want %s", e.Kind, s.words[1])
		}
		if diff := s.differs(string(e.JSON()) + "\n"); diff != "" {
			t.Errorf("error (-want +got):\n%s", diff)
		}
	default:
		t.Fatalf("unknown section %q", s.words)
	}
}

func (p *player) send(t *testing.T, s *section) {
	t.Helper()
	in := Input{Message: []byte(s.body), Era: p.era, Session: p.session, Principal: auth.Anonymous()}
	background := false
	for _, word := range s.words[1:] {
		key, value, _ := strings.Cut(word, "=")
		value, err := url.PathUnescape(value)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case key == "background":
			background = true
		case key == "batch":
			in.Batch = true
		case key == "as":
			name, role, _ := strings.Cut(value, ":")
			in.Principal = auth.Principal{Key: "apikey:" + name, Name: name, Roles: []string{role}}
		case key == "version":
			in.Version = value
		case key == "method":
			in.Hints.Method = value
		case key == "name":
			in.Hints.Name = value
		case strings.HasPrefix(key, "param."):
			if in.Hints.Params == nil {
				in.Hints.Params = map[string]string{}
			}
			in.Hints.Params[strings.TrimPrefix(key, "param.")] = value
		default:
			t.Fatalf("unknown word %q", word)
		}
	}
	call, err := p.Accept(t.Context(), in)
	if p.err = err; err != nil {
		return
	}
	if call.Session() != nil {
		p.session = call.Session()
	}
	p.subscription = call.Subscription()
	if !background {
		call.Run(t.Context(), p.sink)
		return
	}
	p.running.Go(func() { call.Run(t.Context(), p.sink) })
}

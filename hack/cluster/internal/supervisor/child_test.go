// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package supervisor

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/node"
	"fairlead.dev/fairlead/hack/cluster/internal/process"
)

// script is a program made of shell lines. It is ready once it has written its log.
func script(l layout.Layout, lines string) node.Program {
	return node.Program{
		Name: "script", Path: "sh", Args: []string{"-c", lines},
		Ready: func(context.Context) error {
			if content, err := os.ReadFile(l.Log("script")); err != nil || len(content) == 0 {
				return errors.New("no log yet")
			}
			return nil
		},
	}
}

func TestChildIsRecordedAndStopped(t *testing.T) {
	t.Parallel()
	l := layout.Layout{Root: t.TempDir()}
	var out bytes.Buffer
	c := start(t.Context(), l, script(l, "echo started; exec sleep 60"), &out)
	if err := c.awaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	record, err := process.Load(l.Record("script"))
	if err != nil {
		t.Fatal(err)
	}
	if !process.Proc.Alive(record.Identity) {
		t.Error("the recorded process does not run")
	}
	begin := time.Now()
	c.stop()
	if process.Proc.Alive(record.Identity) {
		t.Error("the process runs after stop")
	}
	if took := time.Since(begin); took >= grace {
		t.Errorf("stopping took %s, want the signal to suffice", took)
	}
	if out.Len() > 0 {
		t.Errorf("a program that was stopped is reported as ended: %s", &out)
	}
}

func TestChildIsStartedAgain(t *testing.T) {
	t.Parallel()
	l := layout.Layout{Root: t.TempDir()}
	var out bytes.Buffer
	p := script(l, "echo run >> runs; test $(wc -l < runs) -gt 1 || exit 3; echo second; exec sleep 60")
	c := start(t.Context(), l, p, &out)
	err := c.awaitReady(t.Context())
	c.stop()
	if err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Count(got, "starting it again") != 1 || !strings.Contains(got, "exit status 3") {
		t.Errorf("got the report %q, want one new start after exit status 3", got)
	}
}

func TestChildThatCannotStartIsReported(t *testing.T) {
	t.Parallel()
	l := layout.Layout{Root: t.TempDir()}
	c := &child{program: node.Program{Name: "absent", Path: "/absent/program"}, layout: l}
	if err := c.once(t.Context()); err == nil || !strings.Contains(err.Error(), "failed to start") {
		t.Errorf("got error %v, want a failed start", err)
	}
}

func TestAwaitReadyNamesTheLog(t *testing.T) {
	t.Parallel()
	l := layout.Layout{Root: t.TempDir()}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	broken := errors.New("connection refused")
	c := &child{layout: l, program: node.Program{Name: "etcd", Ready: func(context.Context) error { return broken }}}
	err := c.awaitReady(ctx)
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), l.Log("etcd")) {
		t.Errorf("got error %v, want %v and the log's name", err, broken)
	}
}

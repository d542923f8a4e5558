// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package clients

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"fairlead.dev/fairlead/test/e2e/record"
)

// Recorded is one published TypeScript client that is kept busy.
type Recorded struct {
	// Name and Via stand in the record. Kind is v1-sse, v1-streamable, v2-legacy
	// or v2-modern. Base is the server's address without an endpoint.
	Name string `json:"name"`
	Kind string `json:"kind"`
	Via  string `json:"via"`
	Base string `json:"base"`
}

// Kinds are the kinds of Recorded.
func Kinds() []string { return []string{"v1-sse", "v1-streamable", "v2-legacy", "v2-modern"} }

// maxOther bounds what is kept of what the program says beside the record, in lines.
const maxOther = 200

// Busy is a running program of Recorded clients.
type Busy struct {
	stop    io.Closer
	reading sync.WaitGroup
	cmd     *exec.Cmd
	err     error // of reading

	mu    sync.Mutex // guards other
	other []string
}

// Start lets clients call a tool, which takes an id and a pace, again and again,
// and notes what they send and see in log. dir is the folder of package.json.
func Start(ctx context.Context, dir, tool, key string, all []Recorded, log *record.Log) (*Busy, error) {
	config, err := json.Marshal(map[string]any{"tool": tool, "key": key, "clients": all})
	if err != nil {
		return nil, fmt.Errorf("failed to encode the clients: %w", err)
	}
	bin := filepath.Join(dir, "node_modules", ".bin")
	b := &Busy{cmd: exec.CommandContext(ctx, filepath.Join(bin, "node"), "record.mjs", string(config))}
	b.cmd.Dir = dir
	b.cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "NO_COLOR=1")
	b.cmd.WaitDelay = 5 * time.Second
	if b.stop, err = b.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("failed to make a pipe: %w", err)
	}
	out, err := b.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("failed to make a pipe: %w", err)
	}
	errs, err := b.cmd.StderrPipe()
	if err != nil {
		return nil, fmt.Errorf("failed to make a pipe: %w", err)
	}
	if err := b.cmd.Start(); err != nil {
		return nil, fmt.Errorf("failed to start the clients: %w", err)
	}
	b.reading.Go(func() { b.err = log.Follow(out, b.say) })
	b.reading.Go(func() { _ = new(record.Log).Follow(errs, b.say) })
	return b, nil
}

func (b *Busy) say(line string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.other) < maxOther {
		b.other = append(b.other, line)
	}
}

// Stop lets the calls under way end and returns when the program has.
func (b *Busy) Stop() error {
	err := b.stop.Close()
	b.reading.Wait()
	err = errors.Join(err, b.err, b.cmd.Wait())
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil && len(b.other) == 0 {
		return nil
	}
	return fmt.Errorf("the clients said:\n%s\n%w", strings.Join(b.other, "\n"), errors.Join(err, errWords(b.other)))
}

// errSaid is returned for clients that wrote what is no record.
var errSaid = errors.New("they are expected to be silent")

func errWords(other []string) error {
	if len(other) == 0 {
		return nil
	}
	return errSaid
}

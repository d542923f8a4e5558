// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package process recognises processes across restarts of this program. A process id alone does not: the kernel hands it
// out again, and a record of it survives its process.
package process

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Table is a proc file system, /proc outside of tests.
type Table string

// Proc is the machine's own process table.
const Proc Table = "/proc"

// Identity is one process and no other, not even a later one with the same id.
type Identity struct {
	PID int `json:"pid"`
	// Start is the process's start in clock ticks since boot.
	Start uint64 `json:"start"`
	// Boot tells this boot of the machine from others, whose ticks begin anew.
	Boot string `json:"boot"`
}

// ErrGone is returned for a process that does not exist, or exists only until its parent takes its exit code.
var ErrGone = errors.New("no such process")

// stateField and startField are positions after the command's closing parenthesis in /proc/PID/stat (proc(5) fields 3, 22).
const (
	stateField = 0
	startField = 19
)

// Identify returns the identity of the process that has id pid now.
func (t Table) Identify(pid int) (Identity, error) {
	content, err := os.ReadFile(filepath.Join(string(t), strconv.Itoa(pid), "stat"))
	if err != nil {
		return Identity{}, ErrGone
	}
	// The command may hold spaces and parentheses, so the fields are counted from its last closing one.
	text := string(content)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) <= startField {
		return Identity{}, fmt.Errorf("failed to read the state of process %d: %q has too few fields", pid, text)
	}
	if state := fields[stateField]; state == "Z" || state == "X" {
		return Identity{}, ErrGone
	}
	start, err := strconv.ParseUint(fields[startField], 10, 64)
	if err != nil {
		return Identity{}, fmt.Errorf("failed to read the start of process %d: %w", pid, err)
	}
	boot, err := os.ReadFile(filepath.Join(string(t), "sys", "kernel", "random", "boot_id"))
	if err != nil {
		return Identity{}, fmt.Errorf("failed to read the boot id: %w", err)
	}
	return Identity{PID: pid, Start: start, Boot: strings.TrimSpace(string(boot))}, nil
}

// Alive reports whether exactly this process still runs.
func (t Table) Alive(id Identity) bool {
	now, err := t.Identify(id.PID)
	return err == nil && now == id
}

// Signal sends sig to exactly this process and returns ErrGone if it is not there any more.
func (t Table) Signal(id Identity, sig os.Signal) error {
	process, err := os.FindProcess(id.PID)
	if err != nil {
		return ErrGone
	}
	// FindProcess holds the process by a pidfd where the kernel has them: checked after, the id cannot be reused between.
	defer func() { _ = process.Release() }()
	if !t.Alive(id) {
		return ErrGone
	}
	if err := process.Signal(sig); err != nil {
		if errors.Is(err, os.ErrProcessDone) {
			return ErrGone
		}
		return fmt.Errorf("failed to signal process %d: %w", id.PID, err)
	}
	return nil
}

// Command returns the command line of a process for people, or an empty text.
func (t Table) Command(pid int) string {
	content, err := os.ReadFile(filepath.Join(string(t), strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return ""
	}
	return strings.TrimSpace(strings.ReplaceAll(string(content), "\x00", " "))
}

// Record is what is kept about a running program.
type Record struct {
	Identity

	// Detail says what the process serves, for example a forwarder's target.
	Detail string `json:"detail,omitempty"`
}

// Save writes a record so that a reader sees a whole one or none.
func Save(path string, record Record) error {
	content, err := json.Marshal(record)
	if err != nil {
		return fmt.Errorf("failed to encode the record of process %d: %w", record.PID, err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("failed to create the folder of %q: %w", path, err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, content, 0o644); err != nil {
		return fmt.Errorf("failed to write %q: %w", tmp, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("failed to write %q: %w", path, err)
	}
	return nil
}

// Load reads a record. A missing or broken file is ErrGone: nothing can be said about its process.
func Load(path string) (Record, error) {
	var record Record
	content, err := os.ReadFile(path)
	if err != nil {
		return record, ErrGone
	}
	if err := json.Unmarshal(content, &record); err != nil || record.PID <= 0 {
		return Record{}, ErrGone
	}
	return record, nil
}

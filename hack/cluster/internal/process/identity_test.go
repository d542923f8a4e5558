// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// fakeProc writes a process table with one process.
func fakeProc(t *testing.T, command, state string, start uint64, boot string) Table {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"sys/kernel/random/boot_id": boot + "\n",
		"77/stat":                   fmt.Sprintf("77 (%s) %s 1 77 77 0 -1 4194560 1 0 0 0 1 2 0 0 20 0 1 0 %d 100 1", command, state, start),
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Table(root)
}

func TestAlive(t *testing.T) {
	t.Parallel()
	recorded := Identity{PID: 77, Start: 1000, Boot: "first"}
	tests := []struct {
		name    string
		table   func(t *testing.T) Table
		want    bool
		wantErr error
	}{
		{"the same process", func(t *testing.T) Table { t.Helper(); return fakeProc(t, "kubelet", "S", 1000, "first") }, true, nil},
		{"a command with blanks and parentheses", func(t *testing.T) Table {
			t.Helper()
			return fakeProc(t, "a) Z (b c", "R", 1000, "first")
		}, true, nil},
		{"the id was handed out again", func(t *testing.T) Table { t.Helper(); return fakeProc(t, "kubelet", "S", 1001, "first") }, false, nil},
		{"the machine was started anew", func(t *testing.T) Table { t.Helper(); return fakeProc(t, "kubelet", "S", 1000, "second") }, false, nil},
		{"its parent has not taken its exit code", func(t *testing.T) Table {
			t.Helper()
			return fakeProc(t, "kubelet", "Z", 1000, "first")
		}, false, ErrGone},
		{"gone", func(t *testing.T) Table { t.Helper(); return Table(t.TempDir()) }, false, ErrGone},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			table := test.table(t)
			if got := table.Alive(recorded); got != test.want {
				t.Errorf("got alive %t, want %t", got, test.want)
			}
			if _, err := table.Identify(77); !errors.Is(err, test.wantErr) {
				t.Errorf("got error %v, want %v", err, test.wantErr)
			}
		})
	}
}

func TestSignalSparesAnotherProcessWithTheSameID(t *testing.T) {
	t.Parallel()
	cmd := exec.Command("sleep", "60")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // ends by the signal
	}()
	id, err := Proc.Identify(cmd.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	stale := id
	stale.Start--
	if err := Proc.Signal(stale, syscall.SIGKILL); !errors.Is(err, ErrGone) {
		t.Errorf("got error %v for a stale identity, want %v", err, ErrGone)
	}
	if !Proc.Alive(id) {
		t.Fatal("the process was signalled by a stale identity")
	}
	if err := Proc.Signal(id, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
	<-ended
	if Proc.Alive(id) {
		t.Error("the process is alive after SIGKILL")
	}
}

func TestSaveAndLoad(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "processes", "kubelet.json")
	want := Record{Identity: Identity{PID: 7, Start: 8, Boot: "b"}, Detail: "to nowhere"}
	if err := Save(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := Load(path)
	if err != nil || got != want {
		t.Errorf("got %+v and error %v, want %+v", got, err, want)
	}
}

func TestLoadOfWhatIsNoRecord(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, content string }{
		{"empty", ""},
		{"half written", `{"pid": 12`},
		{"without a process", `{"start": 12}`},
		{"every process", `{"pid": -1}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "record.json")
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			if got, err := Load(path); !errors.Is(err, ErrGone) {
				t.Errorf("got %+v and error %v, want %v", got, err, ErrGone)
			}
		})
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package limit

import (
	"errors"
	"io/fs"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// kernel is a file system with the kernel's files, which counts the files that
// are opened.
type kernel struct {
	fstest.MapFS
	opened atomic.Int64
}

// Open implements fs.FS.
func (k *kernel) Open(name string) (fs.File, error) {
	k.opened.Add(1)
	return k.MapFS.Open(name)
}

func newKernel(files map[string]string) *kernel {
	k := &kernel{MapFS: fstest.MapFS{}}
	for name, text := range files {
		k.write(name, text)
	}
	return k
}

func (k *kernel) write(name, text string) { k.MapFS[name] = &fstest.MapFile{Data: []byte(text)} }

// used says how many of 1000 bytes are in use.
func (k *kernel) used(n int) { k.write("sys/fs/cgroup/memory.current", strconv.Itoa(n)+"\n") }

// ofThousand is a pod with a limit of 1000 bytes.
func ofThousand() *kernel {
	return newKernel(map[string]string{"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n"})
}

func TestPressure(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		files map[string]string
		want  float64
		limit int64
	}{
		{name: "no control groups"},
		{name: "no limit", files: map[string]string{"sys/fs/cgroup/memory.max": "max\n", "sys/fs/cgroup/memory.current": "500\n"}},
		{name: "version 2", limit: 1000, want: 0.4, files: map[string]string{
			"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "500\n",
			"sys/fs/cgroup/memory.stat": "anon 300\nactive_file 50\ninactive_file 100\n",
		}},
		{name: "version 1", limit: 2000, want: 0.25, files: map[string]string{
			"proc/self/cgroup": "4:memory:/kubepods/x\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": "2000\n",
			"sys/fs/cgroup/memory/memory.usage_in_bytes": "600\n", "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100\n",
		}},
		{name: "the least limit counts", limit: 1000, want: 0.7, files: map[string]string{
			"proc/self/cgroup":                  "0::/pod/container\n",
			"sys/fs/cgroup/pod/memory.max":      "1000\n",
			"sys/fs/cgroup/pod/memory.current":  "700\n",
			"sys/fs/cgroup/pod/container/x":     "",
			"sys/fs/cgroup/pod/container/y.max": "",
		}},
		{name: "more cache than use", limit: 1000, files: map[string]string{
			"sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "50\n", "sys/fs/cgroup/memory.stat": "inactive_file 100\n",
		}},
		{name: "unreadable", limit: 1000, files: map[string]string{"sys/fs/cgroup/memory.max": "1000\n", "sys/fs/cgroup/memory.current": "much\n"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := NewPressure(newKernel(tt.files))
			if got := p.Ratio(); got != tt.want {
				t.Errorf("Ratio = %v, want %v", got, tt.want)
			}
			if got := p.Limit(); got != tt.limit {
				t.Errorf("Limit = %d, want %d", got, tt.limit)
			}
		})
	}
}

func TestPressureIsReadAtMostFourTimesASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := ofThousand()
		k.used(100)
		p := NewPressure(k)
		k.opened.Store(0)
		for range 1000 {
			p.Ratio()
		}
		if n := k.opened.Load(); n != 2 {
			t.Errorf("%d files were opened, want 2", n)
		}
		k.used(950)
		if got := p.Ratio(); got != 0.1 {
			t.Errorf("Ratio = %v, want what was read before", got)
		}
		<-time.After(250 * time.Millisecond)
		if got := p.Ratio(); got != 0.95 {
			t.Errorf("Ratio = %v after 250 ms, want 0.95", got)
		}
		delete(k.MapFS, "sys/fs/cgroup/memory.current")
		<-time.After(250 * time.Millisecond)
		if got := p.Ratio(); got != 0.95 {
			t.Errorf("Ratio = %v, want the last that is known", got)
		}
	})
}

func TestNothingNewWhileMemoryIsShort(t *testing.T) {
	t.Parallel()
	want := &Exceeded{Reason: "memory", Status: 503, RetryAfter: 5 * time.Second, Limit: 90}
	synctest.Test(t, func(t *testing.T) {
		k := ofThousand()
		l := New(Config{Calls: 10, CallsPerPrincipal: 10, Streams: 10})
		l.Heed(NewPressure(k))
		for _, tt := range []struct {
			used int
			want *Exceeded
		}{{used: 899}, {used: 900, want: want}, {used: 1000, want: want}, {used: 100}} {
			k.used(tt.used)
			<-time.After(250 * time.Millisecond)
			_, callErr := l.Call("a")
			_, streamErr := l.Stream()
			for name, err := range map[string]error{"call": callErr, "stream": streamErr, "session": l.Session()} {
				var got *Exceeded
				errors.As(err, &got)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("%s with %d of 1000 bytes in use (-want +got):\n%s", name, tt.used, diff)
				}
				if err != nil && err.Error() != "this replica uses more than 90 % of its memory; retry after 5s" {
					t.Errorf("text %q", err)
				}
			}
		}
		if calls, streams := l.Usage(); calls != 2 || streams != 2 {
			t.Errorf("%d calls and %d streams are counted, want only those that were let in", calls, streams)
		}
	})
}

func TestCallUnderPressureAllocatesNothing(t *testing.T) {
	l := New(Config{Calls: 10, CallsPerPrincipal: 10})
	k := ofThousand()
	k.used(1)
	l.Heed(NewPressure(k))
	if n := testing.AllocsPerRun(1000, func() {
		release, err := l.Call("apikey:alice")
		if err != nil {
			t.Fatal(err)
		}
		release()
	}); n != 0 {
		t.Errorf("%v allocations a call, want 0", n)
	}
}

func BenchmarkCallUnderPressure(b *testing.B) {
	l := New(Config{Calls: 512, CallsPerPrincipal: 32})
	k := ofThousand()
	k.used(1)
	l.Heed(NewPressure(k))
	for b.Loop() {
		release, err := l.Call("apikey:alice")
		if err != nil {
			b.Fatal(err)
		}
		release()
	}
}

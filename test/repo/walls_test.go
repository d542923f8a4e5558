// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
)

// rooms is the order of the runtime's rooms, low to high: a room imports lower ones only.
var rooms = []string{
	"keyring", "config", "auth", "limit", "poll", "park", "source", "tool", "catalog", "engine", "stream", "session", "transport", "peer", "httpserver", "app",
}

// besides names the rooms that stand beside that order: they may use any room below app, and only app uses them.
var besides = []string{"admin", "telemetry", "bridge"}

// pkg is what `go list` says of a package.
type pkg struct {
	ImportPath string
	Name       string
	Imports    []string
	Deps       []string
}

// listed keeps the first list, since every test wants the same.
var listed struct {
	sync.Mutex
	packages []pkg
}

// list returns the packages of the product's module with what they import, tests left out.
func list(t *testing.T) []pkg {
	t.Helper()
	listed.Lock()
	defer listed.Unlock()
	if listed.packages != nil {
		return listed.packages
	}
	decoder := json.NewDecoder(strings.NewReader(output(t, "go", "list", "-e", "-json=ImportPath,Name,Imports,Deps", "./...")))
	for {
		var p pkg
		err := decoder.Decode(&p)
		if errors.Is(err, io.EOF) {
			return listed.packages
		}
		if err != nil {
			t.Fatal(err)
		}
		listed.packages = append(listed.packages, p)
	}
}

// under says whether a package is the folder or below it.
func under(importPath string, folders ...string) bool {
	return slices.ContainsFunc(folders, func(f string) bool {
		return importPath == f || strings.HasPrefix(importPath, f+"/")
	})
}

// own prefixes folders of the product with its module path.
func own(folders ...string) []string {
	paths := make([]string, len(folders))
	for i, f := range folders {
		paths[i] = modulePath + "/" + f
	}
	return paths
}

// standard says whether a package is Go's own: its first element has no dot.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func TestWalls(t *testing.T) {
	t.Parallel()
	kubernetes := []string{"k8s.io", "sigs.k8s.io/controller-runtime", "sigs.k8s.io/gateway-api"}
	walls := []struct {
		name string
		// of lists the folders that the wall goes around.
		of []string
		// mayUse lists all that they may import; nil: anything.
		mayUse []string
		// never lists what they must not reach, not even through others.
		never []string
		// except lists what is allowed although never forbids it.
		except []string
	}{
		{
			name: "api is types alone", of: own("api"),
			mayUse: append(own("api"), "k8s.io/apimachinery/pkg", "k8s.io/api/core/v1", "k8s.io/api/networking/v1", "sigs.k8s.io/gateway-api/apis"),
		},
		{
			name: "builders are pure", of: own("controllers/resources", "controllers/exposure"),
			never:  append(own("client", "runtime/app", "runtime/internal", "kubectl-fairlead"), "k8s.io/client-go", "sigs.k8s.io/controller-runtime"),
			except: []string{"k8s.io/client-go/applyconfigurations"},
		},
		{
			name: "the data plane knows nothing of Kubernetes", of: own("runtime"),
			never: append(own("api", "controllers", "kubectl-fairlead"), kubernetes...),
		},
		{
			name: "the client serves everyone", of: own("client"),
			never: append(own("api", "controllers", "runtime", "kubectl-fairlead"), kubernetes...),
		},
		{
			name: "the operator does not run the data plane", of: own("controllers"),
			never: own("runtime/app", "runtime/internal", "kubectl-fairlead"),
		},
	}
	for _, wall := range walls {
		t.Run(wall.name, func(t *testing.T) {
			t.Parallel()
			for _, p := range list(t) {
				if !under(p.ImportPath, wall.of...) {
					continue
				}
				for _, i := range p.Imports {
					if wall.mayUse != nil && !standard(i) && !under(i, wall.mayUse...) {
						t.Errorf("%s imports %s; it may import only Go's own packages and %s", p.ImportPath, i, strings.Join(wall.mayUse, ", "))
					}
				}
				for _, d := range p.Deps {
					if under(d, wall.never...) && !under(d, wall.except...) {
						t.Errorf("%s reaches %s", p.ImportPath, d)
					}
				}
			}
		})
	}
}

// room returns the room of the runtime that a package belongs to, empty for the process itself and for packages
// outside of the runtime.
func room(importPath string) string {
	rest, ok := strings.CutPrefix(importPath, modulePath+"/runtime/")
	if !ok {
		return ""
	}
	rest = strings.TrimPrefix(rest, "internal/")
	name, _, _ := strings.Cut(rest, "/")
	return name
}

func TestRoomsOfTheRuntimeImportLowerRooms(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		from := room(p.ImportPath)
		if from == "" {
			continue
		}
		if !slices.Contains(rooms, from) && !slices.Contains(besides, from) {
			t.Errorf("%s is in no known room: give %q its place in the order", p.ImportPath, from)
			continue
		}
		for _, i := range p.Imports {
			if to := room(i); to != "" && to != from && !mayImport(from, to) {
				t.Errorf("%s imports %s: the order is %s, and %s are app's alone", p.ImportPath, i, strings.Join(rooms, " < "), strings.Join(besides, ", "))
			}
		}
	}
}

func mayImport(from, to string) bool {
	if slices.Contains(besides, to) {
		return from == "app"
	}
	if slices.Contains(besides, from) {
		return to != "app"
	}
	return slices.Index(rooms, to) < slices.Index(rooms, from)
}

func TestOrderOfRooms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		from, to string
		want     bool
	}{
		{from: "engine", to: "catalog", want: true},
		{from: "catalog", to: "engine", want: false},
		{from: "app", to: "telemetry", want: true},
		{from: "engine", to: "telemetry", want: false},
		{from: "telemetry", to: "config", want: true},
		{from: "admin", to: "app", want: false},
		{from: "admin", to: "telemetry", want: false},
	}
	for _, tt := range tests {
		if got := mayImport(tt.from, tt.to); got != tt.want {
			t.Errorf("%s imports %s: %t, want %t", tt.from, tt.to, got, tt.want)
		}
	}
	if got := room(modulePath + "/runtime/internal/tool/httpcall"); got != "tool" {
		t.Errorf("the room of a backend is %q, want tool", got)
	}
}

// blind says what a room must not know of, on top of the order.
var blind = []struct {
	name string
	room string
	// direct lists the packages that the room does not import itself; what lower rooms need does not count.
	direct []string
	// but are exceptions.
	but []string
}{
	{name: "engine knows no HTTP", room: "engine", direct: []string{"net/http"}},
	{name: "stream knows no MCP", room: "stream", direct: own("runtime"), but: own("runtime/internal/poll")},
	{name: "transport knows no tools", room: "transport", direct: own("runtime/internal/tool", "runtime/internal/catalog", "runtime/internal/source")},
	{name: "config knows only itself", room: "config", direct: own("runtime/app", "runtime/internal")},
}

func TestBlindRooms(t *testing.T) {
	t.Parallel()
	for _, rule := range blind {
		t.Run(rule.name, func(t *testing.T) {
			t.Parallel()
			for _, p := range list(t) {
				if room(p.ImportPath) != rule.room {
					continue
				}
				for _, i := range p.Imports {
					if under(i, rule.direct...) && !under(i, rule.but...) && room(i) != rule.room {
						t.Errorf("%s imports %s", p.ImportPath, i)
					}
				}
			}
		})
	}
}

func TestPackagesSayWhatTheyHold(t *testing.T) {
	t.Parallel()
	for _, p := range list(t) {
		if slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "types", "runtime", "misc", "shared"}, p.Name) {
			t.Errorf("%s is named %q, which says nothing of what it holds", p.ImportPath, p.Name)
		}
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package repo_test

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// imageSpec is what hack/images/images.json says of an image.
type imageSpec struct {
	Name        string            `json:"name"`
	Target      string            `json:"target"`
	User        string            `json:"user"`
	Entrypoint  []string          `json:"entrypoint"`
	Command     []string          `json:"command"`
	Ports       []string          `json:"ports"`
	Healthcheck []string          `json:"healthcheck"`
	Labels      map[string]string `json:"labels"`
}

// instruction is one instruction of a Dockerfile, continued lines joined.
type instruction struct {
	name, rest string
}

// stage is one FROM of a Dockerfile with what follows it.
type stage struct {
	name, from   string
	instructions []instruction
}

// all returns the arguments of each instruction of a name.
func (s stage) all(name string) []string {
	var found []string
	for _, i := range s.instructions {
		if i.name == name {
			found = append(found, i.rest)
		}
	}
	return found
}

// one returns the arguments of the only instruction of a name.
func (s stage) one(t *testing.T, name string) string {
	t.Helper()
	found := s.all(name)
	if len(found) != 1 {
		t.Fatalf("stage %q has %d %s instructions, want 1", s.name, len(found), name)
	}
	return found[0]
}

// parseDockerfile reads the stages of a Dockerfile.
func parseDockerfile(t *testing.T, content string) (stages []stage) {
	t.Helper()
	content = regexp.MustCompile(`(?m)^\s*#.*\n`).ReplaceAllString(content, "")
	content = strings.ReplaceAll(content, "\\\n", " ")
	for line := range strings.Lines(content) {
		name, rest, _ := strings.Cut(strings.Join(strings.Fields(line), " "), " ")
		switch {
		case name == "":
		case name == "FROM":
			m := regexp.MustCompile(`^(?:--platform=\S+ )?(\S+) AS (\S+)$`).FindStringSubmatch(rest)
			if m == nil {
				t.Fatalf("the stage %q has no name", rest)
			}
			stages = append(stages, stage{from: m[1], name: m[2]})
		case len(stages) > 0:
			last := &stages[len(stages)-1]
			last.instructions = append(last.instructions, instruction{name: name, rest: rest})
		case name != "ARG":
			t.Fatalf("%s before the first stage", name)
		}
	}
	return stages
}

// words reads the exec form of an instruction; the shell form would need a shell that the images do not have.
func words(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	if err := json.Unmarshal([]byte(text), &found); err != nil {
		t.Fatalf("%q is not in the exec form: %v", text, err)
	}
	return found
}

func imageSpecs(t *testing.T) []imageSpec {
	t.Helper()
	var file struct {
		Images []imageSpec `json:"images"`
	}
	if err := json.Unmarshal([]byte(read(t, "hack/images/images.json")), &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Images) != 2 {
		t.Fatalf("images.json has %d images, want 2", len(file.Images))
	}
	return file.Images
}

func TestDockerfileBuildsTheImagesOfImagesJSON(t *testing.T) {
	t.Parallel()
	stages := parseDockerfile(t, read(t, "Dockerfile"))
	for _, want := range imageSpecs(t) {
		at := slices.IndexFunc(stages, func(s stage) bool { return s.name == want.Target })
		if at < 0 {
			t.Errorf("the Dockerfile has no stage %q", want.Target)
			continue
		}
		s := stages[at]
		got := imageSpec{
			Name: want.Name, Target: s.name,
			User:        s.one(t, "USER"),
			Entrypoint:  words(t, s.one(t, "ENTRYPOINT")),
			Command:     []string{},
			Ports:       strings.Fields(s.one(t, "EXPOSE")),
			Healthcheck: healthcheck(t, s.one(t, "HEALTHCHECK")),
			Labels:      labels(s.one(t, "LABEL")),
		}
		if commands := s.all("CMD"); len(commands) > 0 {
			got.Command = words(t, commands[0])
		}
		if got.Labels["org.opencontainers.image.version"] != "${VERSION}" {
			t.Errorf("stage %q does not label the version", s.name)
		}
		delete(got.Labels, "org.opencontainers.image.version")
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("stage %q differs from images.json (-json +Dockerfile):\n%s", s.name, diff)
		}
		checkFinalStage(t, s, want)
	}
}

// checkFinalStage holds what both builds promise of the files: nothing but the binary and the certificates.
func checkFinalStage(t *testing.T, s stage, want imageSpec) {
	t.Helper()
	if s.from != "scratch" {
		t.Errorf("stage %q is made from %s, want scratch", s.name, s.from)
	}
	if len(s.all("RUN")) > 0 || len(s.all("ADD")) > 0 || len(s.all("SHELL")) > 0 {
		t.Errorf("stage %q runs or adds something", s.name)
	}
	copies := s.all("COPY")
	wantCopies := []string{
		"--from=source /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt",
		"--from=build-" + want.Target + " /out/" + want.Name + " " + want.Entrypoint[0],
	}
	if !slices.Equal(copies, wantCopies) {
		t.Errorf("stage %q copies %q, want %q", s.name, copies, wantCopies)
	}
	if !regexp.MustCompile(`^[1-9]\d*:[1-9]\d*$`).MatchString(want.User) {
		t.Errorf("the user of %s is %q, want two numbers other than 0", want.Name, want.User)
	}
}

// healthcheck returns the command of a HEALTHCHECK after its intervals, which must be those of hack/images.
func healthcheck(t *testing.T, text string) []string {
	t.Helper()
	intervals, command, _ := strings.Cut(text, " CMD ")
	if want := "--interval=30s --timeout=5s --start-period=10s --retries=3"; intervals != want {
		t.Errorf("health check every %q, want %q", intervals, want)
	}
	return words(t, command)
}

// labels reads the key="value" pairs of a LABEL.
func labels(text string) map[string]string {
	found := map[string]string{}
	for _, m := range regexp.MustCompile(`(\S+)="([^"]*)"`).FindAllStringSubmatch(text, -1) {
		found[m[1]] = m[2]
	}
	return found
}

func TestDockerfileBuildsStaticBinaries(t *testing.T) {
	t.Parallel()
	content := read(t, "Dockerfile")
	stages := parseDockerfile(t, content)
	if stages[0].name != "source" || !slices.Contains(stages[0].all("ENV"), "CGO_ENABLED=0") {
		t.Error("the first stage must be source, with CGO_ENABLED=0 for all that build from it")
	}
	packages := map[string]string{"build-operator": ".", "build-runtime": "./runtime"}
	for _, s := range stages {
		folder, ok := packages[s.name]
		if !ok {
			continue
		}
		run := s.one(t, "RUN")
		if s.from != "source" || !strings.Contains(run, "-trimpath") || !strings.Contains(run, "-X main.version=${VERSION}") || !strings.HasSuffix(run, " "+folder) {
			t.Errorf("stage %q builds %q from %s", s.name, run, s.from)
		}
		delete(packages, s.name)
	}
	if len(packages) > 0 {
		t.Errorf("the Dockerfile lacks the stages %v", packages)
	}
	version := regexp.MustCompile(`(?m)^ARG GO_VERSION=(.+)$`).FindStringSubmatch(content)
	if len(version) < 2 || !strings.Contains(read(t, "go.mod"), "\ngo "+version[1]+".") {
		t.Errorf("the Dockerfile builds with Go %q, other than go.mod says", version)
	}
}

// TestBuildContextHoldsWhatTheBinariesImport keeps .dockerignore honest: a package outside the context would
// break a build that nobody runs on a machine without Docker.
func TestBuildContextHoldsWhatTheBinariesImport(t *testing.T) {
	t.Parallel()
	context := strings.Split(read(t, ".dockerignore"), "\n")
	for _, p := range list(t) {
		if p.ImportPath != modulePath && p.ImportPath != modulePath+"/runtime" {
			continue
		}
		for _, d := range append(p.Deps, p.ImportPath) {
			folder, ok := strings.CutPrefix(d, modulePath+"/")
			if !ok {
				continue
			}
			top, _, _ := strings.Cut(folder, "/")
			if !slices.Contains(context, "!"+top) {
				t.Errorf("%s imports %s, and .dockerignore keeps %q out of the build", p.ImportPath, d, top)
			}
		}
	}
}

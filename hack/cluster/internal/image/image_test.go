// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// untar returns the files of a tar and their modes.
func untar(t *testing.T, archive []byte) (map[string][]byte, map[string]int64) {
	t.Helper()
	contents, modes := map[string][]byte{}, map[string]int64{}
	reader := tar.NewReader(bytes.NewReader(archive))
	for {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return contents, modes
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(reader)
		if err != nil {
			t.Fatal(err)
		}
		contents[header.Name], modes[header.Name] = content, header.Mode
	}
}

func TestArchive(t *testing.T) {
	t.Parallel()
	archive, err := Archive("docker.io/local/pause:1", "/pause", []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	files, _ := untar(t, archive)
	var manifests []dockerManifest
	if err := json.Unmarshal(files["manifest.json"], &manifests); err != nil {
		t.Fatal(err)
	}
	var config struct {
		OS     string
		Config struct {
			Entrypoint []string
			User       string
		}
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		}
	}
	if err := json.Unmarshal(files[manifests[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"/pause"}, config.Config.Entrypoint); diff != "" {
		t.Errorf("entrypoint (-want +got):\n%s", diff)
	}
	if config.OS != "linux" || config.Config.User != "65532:65532" {
		t.Errorf("got system %q and user %q", config.OS, config.Config.User)
	}
	layer := files[manifests[0].Layers[0]]
	if want := "sha256:" + digest(layer); config.RootFS.DiffIDs[0] != want {
		t.Errorf("got layer digest %q, want %q", config.RootFS.DiffIDs[0], want)
	}
	contents, modes := untar(t, layer)
	if string(contents["pause"]) != "program" || modes["pause"] != 0o755 {
		t.Errorf("got %q with mode %o in the layer, want the program, executable", contents["pause"], modes["pause"])
	}
}

func TestArchiveIsTheSameForTheSameProgram(t *testing.T) {
	t.Parallel()
	one, err := Archive("docker.io/local/pause:1", "/pause", []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	other, err := Archive("docker.io/local/pause:1", "/pause", []byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(one, other) {
		t.Error("two archives of one program differ")
	}
}

func TestCheckName(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, image, want string }{
		{"registry, path and tag", "docker.io/local/pause:1", ""},
		{"registry with a port", "localhost:5000/pause:1", ""},
		{"localhost", "localhost/pause:1", ""},
		{"digest", "registry.k8s.io/pause@sha256:00", ""},
		{"no registry", "pause:1", "docker.io/local/pause:1"},
		{"a path that is no registry", "local/pause:1", "docker.io/local/local/pause:1"},
		{"no tag", "docker.io/local/pause", "docker.io/local/pause:dev"},
		{"empty", "", "docker.io/local/"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := CheckName(test.image)
			if test.want == "" {
				if err != nil {
					t.Errorf("got error %v, want none", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "call it "+test.want) {
				t.Errorf("got error %v, want the advice %q", err, test.want)
			}
		})
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	const docker = `[{"Config":"c.json","RepoTags":["docker.io/a/b:1","docker.io/a/c:1"],"Layers":[]}]`
	const index = `{"manifests":[{"annotations":{"org.opencontainers.image.ref.name":"1","io.containerd.image.name":"docker.io/a/b:1"}},{}]}`
	pack := func(name, content string) []byte {
		archive, err := tarOf([]file{{path: "first", content: []byte("x")}, {path: name, content: []byte(content), mode: 0o644}})
		if err != nil {
			t.Fatal(err)
		}
		return archive
	}
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	if _, err := writer.Write(pack("manifest.json", docker)); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		archive []byte
		want    []string
		wantErr string
	}{
		{"docker", pack("manifest.json", docker), []string{"docker.io/a/b:1", "docker.io/a/c:1"}, ""},
		{"docker with a dot", pack("./manifest.json", docker), []string{"docker.io/a/b:1", "docker.io/a/c:1"}, ""},
		{"compressed", zipped.Bytes(), []string{"docker.io/a/b:1", "docker.io/a/c:1"}, ""},
		{"OCI", pack("index.json", index), []string{"docker.io/a/b:1"}, ""},
		{"a manifest without names", pack("manifest.json", `[{"Config":"c.json"}]`), nil, "names no image"},
		{"a broken manifest", pack("manifest.json", `[{`), nil, "failed to decode manifest.json"},
		{"no image", pack("README", ""), nil, "names no image"},
		{"no tar", []byte(strings.Repeat("no tar", 200)), nil, "not a tar"},
		{"empty", nil, nil, "names no image"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "image.tar")
			if err := os.WriteFile(path, test.archive, 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := Names(path)
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("names (-want +got):\n%s", diff)
			}
			switch {
			case test.wantErr == "" && err != nil:
				t.Errorf("got error %v, want none", err)
			case test.wantErr != "" && (err == nil || !strings.Contains(err.Error(), test.wantErr) || !strings.Contains(err.Error(), path)):
				t.Errorf("got error %v, want %q and the file's name in it", err, test.wantErr)
			}
		})
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package binaries

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// keyLength is enough that two builds of one machine never share a folder, and short enough to read aloud.
const keyLength = 16

// Key names a build by what goes into it: the module's own files, the linker's flags and the compiler's version. Any
// change of these gives another key, so that an old binary is never taken for a new one.
func Key(module fs.FS, ldflags, goVersion string) (string, error) {
	var files []string
	err := fs.WalkDir(module, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := filepath.Base(path)
		if !entry.IsDir() && (base == "go.mod" || base == "go.sum" || strings.HasSuffix(base, ".go")) {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("failed to list the files of a build module: %w", err)
	}
	slices.Sort(files)
	sum := sha256.New()
	for _, part := range []string{goVersion, ldflags} {
		fmt.Fprintf(sum, "%d:%s\n", len(part), part)
	}
	for _, path := range files {
		content, err := fs.ReadFile(module, path)
		if err != nil {
			return "", fmt.Errorf("failed to read %q of a build module: %w", path, err)
		}
		fmt.Fprintf(sum, "%s %d:%s\n", path, len(content), content)
	}
	return hex.EncodeToString(sum.Sum(nil))[:keyLength], nil
}

// requiredVersion reads the version of a required module from a go.mod file, so that the version stands in one place only.
func requiredVersion(gomod []byte, module string) (string, error) {
	line := regexp.MustCompile(`(?m)^(?:require)?\s*` + regexp.QuoteMeta(module) + ` (v\S+)`)
	match := line.FindSubmatch(gomod)
	if match == nil {
		return "", fmt.Errorf("failed to find a requirement of %q in go.mod", module)
	}
	return string(match[1]), nil
}

// linkerFlags strips the symbols and stamps the version the way the project's own release build does.
func linkerFlags(stamp, version string) string {
	flags := []string{"-s", "-w"}
	if stamp == "" {
		return strings.Join(flags, " ")
	}
	major, minor, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	minor, _, _ = strings.Cut(minor, ".")
	for _, pair := range [][2]string{{"gitVersion", version}, {"gitMajor", major}, {"gitMinor", minor}} {
		flags = append(flags, "-X", stamp+"."+pair[0]+"="+pair[1])
	}
	return strings.Join(flags, " ")
}

// readable reports whether path is a program that a finished build left: not empty, and executable.
func readable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Size() > 0 && info.Mode()&0o111 != 0
}

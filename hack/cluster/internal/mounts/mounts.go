// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package mounts hides, inside the cluster's mount namespace, the places at which Kubernetes and containerd write without
// being asked: the machine's own files there stay as they are, and nothing is left when the namespace ends.
package mounts

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
)

// createdFile lists the mount points that had to be made outside of the cluster's folder.
const createdFile = "created.json"

// mask is one path that no setting can move elsewhere.
type mask struct {
	path string
	file bool
}

// masks returns the hidden paths.
func masks() []mask {
	return []mask{
		{path: "/run/containerd"},               // sockets of containerd's shims, state of runc
		{path: "/run/xtables.lock", file: true}, // kube-proxy removes old iptables rules at its start
		{path: "/var/lib/cni"},                  // results of network plugins
		{path: "/var/lib/kubelet"},              // sockets of device plugins
		{path: "/etc/resolv.conf", file: true},  // bound again to the cluster's own
		{path: "/var/log/containers"},           // links to pods' logs
	}
}

// Tunables returns kernel settings of the whole machine that the kubelet would change. It is shown files that already hold
// what it wants.
func Tunables() map[string]string {
	return map[string]string{
		"vm/overcommit_memory":      "1",
		"vm/panic_on_oom":           "0",
		"kernel/panic":              "10",
		"kernel/panic_on_oops":      "1",
		"kernel/keys/root_maxkeys":  "1000000",
		"kernel/keys/root_maxbytes": "25000000",
	}
}

// Prepare hides the paths in this process's mount namespace, which must be private.
func Prepare(l layout.Layout, resolvConf string) error {
	all := masks()
	if err := recordMissing(l, all); err != nil {
		return err
	}
	for _, m := range all {
		if err := m.apply(l); err != nil {
			return err
		}
	}
	for name, value := range Tunables() {
		target := filepath.Join("/proc/sys", name)
		if _, err := os.Stat(target); err != nil {
			continue // a kernel built without it
		}
		source := l.Path("masks", "sysctl", strings.ReplaceAll(name, "/", "."))
		if err := writeFile(source, value+"\n"); err != nil {
			return err
		}
		if err := bind(source, target); err != nil {
			return err
		}
	}
	return bind(resolvConf, "/etc/resolv.conf")
}

// apply hides one path.
func (m mask) apply(l layout.Layout) error {
	source := l.Path("masks", strings.ReplaceAll(strings.TrimPrefix(m.path, "/"), "/", "-"))
	for _, path := range []string{source, m.path} {
		if err := m.create(path); err != nil {
			return err
		}
	}
	return bind(source, m.path)
}

// create makes an empty file or folder at path if nothing is there.
func (m mask) create(path string) error {
	if !m.file {
		if err := os.MkdirAll(path, 0o755); err != nil {
			return fmt.Errorf("failed to create %q: %w", path, err)
		}
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("failed to create the folder of %q: %w", path, err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o600)
	if err != nil {
		return fmt.Errorf("failed to create %q: %w", path, err)
	}
	return file.Close()
}

// recordMissing notes which mount points do not exist, before any of them is made, so that a killed start is undone too.
func recordMissing(l layout.Layout, all []mask) error {
	var missing []string
	for _, m := range all {
		for path := m.path; path != "/"; path = filepath.Dir(path) {
			if _, err := os.Lstat(path); err == nil {
				break
			}
			missing = append(missing, path)
		}
	}
	slices.Sort(missing)
	content, err := json.Marshal(slices.Compact(missing))
	if err != nil {
		return fmt.Errorf("failed to encode the list of mount points: %w", err)
	}
	return writeFile(l.Path(createdFile), string(content))
}

// RemoveCreated deletes the mount points that Prepare made. They are empty unless someone else began to use them.
func RemoveCreated(l layout.Layout) error {
	content, err := os.ReadFile(l.Path(createdFile))
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("failed to read the list of mount points: %w", err)
	}
	var created []string
	if err := json.Unmarshal(content, &created); err != nil {
		return fmt.Errorf("failed to decode %q: %w", l.Path(createdFile), err)
	}
	slices.Reverse(created)
	var failures []error
	for _, path := range created {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			failures = append(failures, fmt.Errorf("failed to remove the mount point: %w", err))
		}
	}
	return errors.Join(failures...)
}

// Unmount detaches everything that is mounted at or below root in this process's namespace, the innermost first.
func Unmount(root string) error {
	targets, err := Below(root)
	if err != nil {
		return err
	}
	var failures []error
	for _, target := range targets {
		if err := unix.Unmount(target, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			failures = append(failures, fmt.Errorf("failed to unmount %q: %w", target, err))
		}
	}
	return errors.Join(failures...)
}

// Below returns the mount points at or below root in this process's namespace, the innermost first.
func Below(root string) ([]string, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("failed to list the machine's mounts: %w", err)
	}
	defer func() { _ = file.Close() }()
	return below(file, root)
}

// below returns the mount points at or below root, the latest mount first.
func below(mountinfo io.Reader, root string) ([]string, error) {
	var targets []string
	scanner := bufio.NewScanner(mountinfo)
	for scanner.Scan() {
		fields := strings.Fields(scanner.Text())
		if len(fields) < 5 {
			continue
		}
		target := unescape(fields[4])
		if target == root || strings.HasPrefix(target, root+"/") {
			targets = append(targets, target)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("failed to read the machine's mounts: %w", err)
	}
	slices.Reverse(targets)
	return targets, nil
}

// unescape undoes the octal escapes of proc(5) for blanks and backslashes.
func unescape(path string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(path)
}

// bind mounts source over target.
func bind(source, target string) error {
	if err := unix.Mount(source, target, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("failed to mount %q over %q: %w", source, target, err)
	}
	return nil
}

// writeFile writes a file and makes its folder.
func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("failed to create the folder of %q: %w", path, err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		return fmt.Errorf("failed to write %q: %w", path, err)
	}
	return nil
}

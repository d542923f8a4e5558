// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"fairlead.dev/fairlead/hack/cluster/internal/node"
)

// systemPath is where Debian keeps programs of the administrator, which a login's PATH may lack.
const systemPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// need is one program of the machine and the Debian package that has it.
type need struct{ program, pkg string }

// needs returns what cannot be built from Go modules here.
func needs() []need {
	return []need{
		{"ip", "iproute2"},
		{"nsenter", "util-linux"},
		{"nft", "nftables"},
		{"runc", "runc"},
		{"containerd", "containerd"},
		{"ctr", "containerd"},
		{filepath.Join(node.CNIPlugins, "ptp"), "containernetworking-plugins"},
		{filepath.Join(node.CNIPlugins, "host-local"), "containernetworking-plugins"},
	}
}

// preflight makes sure that this machine can run the cluster, and installs Debian packages that are missing.
func preflight(ctx context.Context, out io.Writer) error {
	if os.Geteuid() != 0 {
		return errors.New("the cluster needs network namespaces, mounts and control groups: run this command as root")
	}
	if err := ExtendPath(); err != nil {
		return err
	}
	missing := missingPackages(needs(), exec.LookPath)
	if len(missing) == 0 {
		return nil
	}
	list := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("install the programs of these Debian packages first: %s", list)
	}
	fmt.Fprintf(out, "installing Debian packages: %s\n", list)
	install := append([]string{"install", "--yes", "--no-install-recommends", "--no-remove"}, missing...)
	for _, args := range [][]string{{"update"}, install} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"--quiet=2"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if log, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("failed to install packages, run `apt-get install %s` yourself: %w\n%s", list, err, log)
		}
	}
	if missing := missingPackages(needs(), exec.LookPath); len(missing) > 0 {
		return fmt.Errorf("programs of these packages are still missing after their installation: %s", strings.Join(missing, " "))
	}
	return nil
}

// missingPackages returns the packages of the programs that look does not find, each once, sorted.
func missingPackages(needs []need, look func(string) (string, error)) []string {
	var packages []string
	for _, n := range needs {
		if _, err := look(n.program); err != nil {
			packages = append(packages, n.pkg)
		}
	}
	slices.Sort(packages)
	return slices.Compact(packages)
}

// ExtendPath adds the administrator's folders to PATH, for this process and those that it starts.
func ExtendPath() error {
	path := os.Getenv("PATH")
	if path != "" {
		path += ":"
	}
	if err := os.Setenv("PATH", path+systemPath); err != nil {
		return fmt.Errorf("failed to set PATH: %w", err)
	}
	return nil
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apiserver starts a real kube-apiserver with etcd for tests, with the
// product's CustomResourceDefinition.
package apiserver

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
)

// assetsVariable names the folder with kube-apiserver, etcd and kubectl.
const assetsVariable = "KUBEBUILDER_ASSETS"

// startTimeout is generous for machines that build something else meanwhile.
const startTimeout = 2 * time.Minute

// Server is a running API server.
type Server struct {
	// Config is an administrator's.
	Config *rest.Config
	env    *envtest.Environment
}

// Start starts a server with the CRDs of config/crd. Stop must be called on it.
func Start() (*Server, error) {
	dir := os.Getenv(assetsVariable)
	if dir == "" {
		return nil, errors.New("these tests need kube-apiserver and etcd: run `make test`, or export KUBEBUILDER_ASSETS=$(go -C hack/cluster run . assets)")
	}
	for _, program := range []string{"kube-apiserver", "etcd"} {
		if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
			return nil, fmt.Errorf("%s has no %s: run `go -C hack/cluster run . assets` to build it: %w", dir, program, err)
		}
	}
	env := &envtest.Environment{
		BinaryAssetsDirectory:    dir,
		CRDDirectoryPaths:        []string{filepath.Join(Root(), "config", "crd", "fairlead.dev_mcpservers.yaml")},
		ErrorIfCRDPathMissing:    true,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  startTimeout,
	}
	// envtest's own range has room for 254 Services.
	env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.0.0.0/16")
	cfg, err := env.Start()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("failed to start the API server: %w", err), env.Stop())
	}
	cfg.QPS = -1
	return &Server{Config: cfg, env: env}, nil
}

// Stop ends the server and removes its files.
func (s *Server) Stop() error { return s.env.Stop() }

// User returns the configuration of a user without any rights but those that
// are bound to the name.
func (s *Server) User(name string) (*rest.Config, error) {
	user, err := s.env.AddUser(envtest.User{Name: name}, s.Config)
	if err != nil {
		return nil, fmt.Errorf("failed to add user %q: %w", name, err)
	}
	cfg := user.Config()
	cfg.QPS = -1
	return cfg, nil
}

// Root returns the repository's root folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/admission"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/manifest"
	"fairlead.dev/fairlead/runtime/config"
)

// source reads the manifest.
type source struct {
	file   string
	name   string // which MCPServer; empty if there is only one
	listen string
	judge  *admission.Judge
}

// loaded is a manifest that can be served.
type loaded struct {
	server   *fairleadv1alpha1.MCPServer
	program  *config.Program
	encoded  []byte
	revision string
	secrets  map[string]map[string][]byte
	// warnings are about what the file leaves out.
	warnings []string
}

// RefusedError lists why a manifest is not served.
type RefusedError struct{ Problems []manifest.Problem }

// Error returns one problem a line.
func (e *RefusedError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// load reads and judges the whole file; its error is a *RefusedError.
func (s *source) load(ctx context.Context) (*loaded, error) {
	objects, problems := manifest.Read([]string{s.file}, strings.NewReader(""))
	secrets, bad := manifest.Folders(objects)
	problems = append(problems, bad...)
	object, err := s.choose(objects)
	if err != nil {
		// What could not be read may well hold the MCPServer.
		if len(problems) == 0 {
			problems = []manifest.Problem{{File: s.file, Message: err.Error()}}
		}
		return nil, &RefusedError{Problems: problems}
	}
	server, bad := s.judge.Schema(ctx, object)
	problems = append(problems, bad...)
	if _, _, err := net.SplitHostPort(s.listen); err != nil {
		return nil, fmt.Errorf("--listen %s is no address: write HOST:PORT, such as 127.0.0.1:%s", s.listen, cmp.Or(strings.Trim(s.listen, ":"), "8080"))
	}
	if len(problems) == 0 && server.Spec.Auth.AnonymousAccess == fairleadv1alpha1.AccessAllowed && !loopback(s.listen) {
		problems = append(problems, object.Problem("spec.auth.anonymousAccess", fmt.Sprintf(
			"Allowed lets everybody in who reaches this machine, and --listen %s is not loopback: listen on 127.0.0.1, or set apiKeys and Denied", s.listen)))
	}
	if len(problems) > 0 {
		return nil, &RefusedError{Problems: problems}
	}
	out, err := contract(server)
	if err != nil {
		return nil, &RefusedError{Problems: admission.CompileProblems(object, err)}
	}
	out.secrets = secrets
	out.warnings = missing(server, secrets)
	return out, nil
}

// contract makes the file that the runtime reads. Backends may be on this
// machine, which a cluster forbids.
func contract(in *fairleadv1alpha1.MCPServer) (*loaded, error) {
	server, err := resources.ServerConfig(in)
	if err != nil {
		return nil, err
	}
	program, err := config.CompileWith(server, config.CompileOptions{AllowLoopback: true})
	if err != nil {
		return nil, err
	}
	encoded, err := server.Encode()
	if err != nil {
		return nil, err
	}
	return &loaded{server: in, program: program, encoded: encoded, revision: server.Hash()}, nil
}

// choose picks the MCPServer.
func (s *source) choose(objects []*manifest.Object) (*manifest.Object, error) {
	var names []string
	var found []*manifest.Object
	for _, o := range objects {
		if !o.IsServer() {
			continue
		}
		names = append(names, o.GetName())
		if s.name == "" || o.GetName() == s.name {
			found = append(found, o)
		}
	}
	switch {
	case len(names) == 0:
		return nil, errors.New("there is no MCPServer in it")
	case len(found) == 0:
		return nil, fmt.Errorf("there is no MCPServer %q in it, only %s", s.name, strings.Join(names, ", "))
	case len(found) > 1 && s.name == "":
		return nil, fmt.Errorf("it has %d MCPServers: choose one by --name: %s", len(found), strings.Join(names, ", "))
	case len(found) > 1:
		return nil, fmt.Errorf("it has %d MCPServers named %q", len(found), s.name)
	}
	return found[0], nil
}

// missing names the Secrets and keys that the server refers to and the file
// lacks.
func missing(server *fairleadv1alpha1.MCPServer, secrets map[string]map[string][]byte) []string {
	var out []string
	// An empty key is any: there must be at least one.
	add := func(name, key, consequence string) {
		values, ok := secrets[name]
		_, has := values[key]
		text := fmt.Sprintf("Secret %q is not in the file: %s", name, consequence)
		switch {
		case ok && (has || (key == "" && len(values) > 0)):
			return
		case ok && key == "":
			text = fmt.Sprintf("Secret %q has no entries: %s", name, consequence)
		case ok:
			text = fmt.Sprintf("Secret %q has no key %q: %s", name, key, consequence)
		}
		if !slices.Contains(out, text) {
			out = append(out, text)
		}
	}
	if keys := server.Spec.Auth.APIKeys; keys != nil {
		add(keys.SecretRef.Name, "", "no API key will be accepted")
	}
	for i := range server.Spec.Tools {
		tool := &server.Spec.Tools[i]
		if tool.HTTP == nil {
			continue
		}
		for _, h := range tool.HTTP.HeadersFrom {
			add(h.SecretKeyRef.Name, h.SecretKeyRef.Key, fmt.Sprintf("tool %s will fail", tool.Name))
		}
	}
	return out
}

// loopback says that an address is reached from this machine only.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsLoopback()
}

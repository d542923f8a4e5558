// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/types"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/cluster"
)

// place holds the flags of all commands that read a cluster.
type place struct {
	namespace  string
	context    string
	kubeconfig string
}

func (p *place) bind(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVarP(&p.namespace, "namespace", "n", "", "namespace of the server; that of the context by default")
	f.StringVar(&p.context, "context", "", "context of the kubeconfig file")
	f.StringVar(&p.kubeconfig, "kubeconfig", "", "kubeconfig file; by default as kubectl finds it")
}

func (p *place) options() cluster.Options {
	return cluster.Options{Namespace: p.namespace, Context: p.context, Kubeconfig: p.kubeconfig}
}

// open finds the cluster and the key of the server that is named.
func (p *place) open(name string) (*cluster.Cluster, types.NamespacedName, error) {
	c, err := cluster.Open(p.options())
	if err != nil {
		return nil, types.NamespacedName{}, &exitError{code: codeUsage, err: err}
	}
	key, err := c.Key(name)
	if err != nil {
		return nil, key, &exitError{code: codeUsage, err: err}
	}
	return c, key, nil
}

// server reads the server that is named.
func (p *place) server(ctx context.Context, name string) (*cluster.Cluster, *fairleadv1alpha1.MCPServer, error) {
	c, key, err := p.open(name)
	if err != nil {
		return nil, nil, err
	}
	server, err := c.Server(ctx, key)
	if err != nil {
		return nil, nil, unreachable(ctx, err)
	}
	return c, server, nil
}

// unreachable gives an error of the cluster its exit code.
func unreachable(ctx context.Context, err error) error {
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &exitError{code: codeInterrupted, err: ctx.Err()}
	}
	return &exitError{code: codeUnreachable, err: err}
}

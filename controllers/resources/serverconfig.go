// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"fmt"
	"math"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/runtime/config"
)

// settle is how long a leaving pod still serves everything, until endpoints
// have caught up.
const settle = 5 * time.Second

// converter collects what cannot be expressed in the contract. Admission
// refuses all of it; a manifest that was never admitted (lint, render, serve)
// may still have it.
type converter struct{ errs config.Errors }

// ServerConfig returns the configuration that a server's pods get, with the
// operator's own defaults. Its error is a config.Errors with the contract's paths.
func ServerConfig(server *fairleadv1alpha1.MCPServer) (*config.Server, error) {
	return serverConfig(server, Defaults{})
}

func serverConfig(server *fairleadv1alpha1.MCPServer, defaults Defaults) (*config.Server, error) {
	c := &converter{}
	spec := &server.Spec
	out := &config.Server{
		Contract:     config.ContractVersion,
		Name:         server.Name,
		Namespace:    server.Namespace,
		UID:          string(server.UID),
		Title:        spec.Title,
		Instructions: spec.Instructions,
		Tools:        c.tools(spec.Tools),
		Auth:         authConfig(spec.Auth),
		Limits:       c.limits(spec.Limits),
		Transports:   c.transports(spec.Transports),
		Exposure:     config.Exposure{Hosts: hosts(server, defaults.ClusterDomain), Path: exposurePath(spec.Exposure)},
		Drain:        c.drain(spec.Drain),
	}
	if spec.Browser != nil {
		out.Browser.AllowedOrigins = spec.Browser.AllowedOrigins
	}
	if spec.Logging != nil {
		out.Logging.Level = string(spec.Logging.Level)
	}
	if len(c.errs) > 0 {
		return nil, c.errs
	}
	return out, nil
}

func authConfig(auth fairleadv1alpha1.Auth) config.Auth {
	out := config.Auth{
		AnonymousAccess: string(auth.AnonymousAccess),
		DefaultAccess:   string(auth.DefaultAccess),
	}
	if auth.APIKeys != nil {
		out.APIKeys = &config.APIKeys{SecretRef: config.SecretRef{Name: auth.APIKeys.SecretRef.Name}}
	}
	return out
}

func (c *converter) limits(limits *fairleadv1alpha1.Limits) config.Limits {
	if limits == nil {
		return config.Limits{}
	}
	out := config.Limits{
		MaxRequestSize:          c.bytes("limits.maxRequestSize", limits.MaxRequestSize),
		MaxResponseSize:         c.bytes("limits.maxResponseSize", limits.MaxResponseSize),
		MaxInFlightCalls:        number(limits.MaxInFlightCalls),
		MaxInFlightPerPrincipal: number(limits.MaxInFlightPerPrincipal),
	}
	if limits.Connections != nil {
		out.Connections.PerReplica = number(limits.Connections.PerReplica)
	}
	if sessions := limits.Sessions; sessions != nil {
		out.Sessions = config.SessionLimits{
			Max:         number(sessions.Max),
			IdleTimeout: c.duration("limits.sessions.idleTimeout", sessions.IdleTimeout),
			MaxAge:      c.duration("limits.sessions.maxAge", sessions.MaxAge),
		}
	}
	return out
}

func (c *converter) transports(transports *fairleadv1alpha1.Transports) config.Transports {
	if transports == nil {
		return config.Transports{}
	}
	out := config.Transports{Heartbeat: c.duration("transports.heartbeat", transports.Heartbeat)}
	if transports.SSE != nil {
		out.SSE.Mode = string(transports.SSE.Mode)
	}
	if transports.Compression != nil {
		out.Compression.MinSize = int(c.bytes("transports.compression.minSize", transports.Compression.MinSize))
	}
	return out
}

func (c *converter) drain(drain *fairleadv1alpha1.Drain) config.Drain {
	out := config.Drain{Settle: config.Duration(settle)}
	if drain != nil {
		out.Window = c.duration("drain.window", drain.Window)
		out.CallTimeout = c.duration("drain.callTimeout", drain.CallTimeout)
	}
	return out
}

// duration reads a duration whose form admission has checked.
func (c *converter) duration(path string, d *fairleadv1alpha1.Duration) config.Duration {
	if d == nil {
		return 0
	}
	value, err := time.ParseDuration(string(*d))
	if err != nil {
		c.errs = append(c.errs, &config.FieldError{Path: path, Message: fmt.Sprintf("%q is not a duration such as 1m30s", string(*d))})
		return 0
	}
	return config.Duration(value)
}

// bytes reads a quantity whose range admission has checked.
func (c *converter) bytes(path string, q *resource.Quantity) int64 {
	if q == nil {
		return 0
	}
	value := q.Value() // Rounds up; MaxInt64 for what does not fit.
	if value <= 0 || value > math.MaxInt32 {
		c.errs = append(c.errs, &config.FieldError{Path: path, Message: fmt.Sprintf("%s is not a size such as 4Mi", q.String())})
		return 0
	}
	return value
}

func number(n *int32) int {
	if n == nil {
		return 0
	}
	return int(*n)
}

// exposurePath is the prefix without a slash at its end: "" for the root.
func exposurePath(exposure *fairleadv1alpha1.Exposure) string {
	if exposure == nil || exposure.Ingress == nil {
		return ""
	}
	return strings.TrimSuffix(exposure.Ingress.Path, "/")
}

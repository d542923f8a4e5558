// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package apiclient asks the cluster's API server the few questions that starting it needs.
package apiclient

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"fairlead.dev/fairlead/hack/cluster/internal/layout"
	"fairlead.dev/fairlead/hack/cluster/internal/pki"
)

// maxAnswer bounds what is read of one answer, in bytes.
const maxAnswer = 4 << 20

// timeout bounds one request; the API server answers these in milliseconds.
const timeout = 10 * time.Second

// Client talks to the API server as the administrator.
type Client struct {
	base string
	http *http.Client
}

// New returns a client for the API server at address, which may be inside or outside the namespace.
func New(l layout.Layout, address string) (*Client, error) {
	pair, err := tls.LoadX509KeyPair(l.PKI(pki.Admin+".crt"), l.PKI(pki.Admin+".key"))
	if err != nil {
		return nil, fmt.Errorf("failed to load the administrator's certificate: %w", err)
	}
	ca, err := os.ReadFile(l.PKI(pki.CA + ".crt"))
	if err != nil {
		return nil, fmt.Errorf("failed to read the cluster's authority: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("failed to read the cluster's authority: no certificate in " + l.PKI(pki.CA+".crt"))
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: pool, Certificates: []tls.Certificate{pair}}
	return &Client{
		base: "https://" + address,
		http: &http.Client{Timeout: timeout, Transport: &http.Transport{TLSClientConfig: config}},
	}, nil
}

// Close ends idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Do sends one request and returns the answer's body; an answer other than 2xx is an error.
func (c *Client) Do(ctx context.Context, method, path string, body []byte) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("failed to form the request %s %s: %w", method, path, err)
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, fmt.Errorf("failed to reach the API server: %w", err)
	}
	defer func() { _ = answer.Body.Close() }()
	content, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("failed to read the answer to %s %s: %w", method, path, err)
	}
	if answer.StatusCode/100 != 2 {
		return nil, fmt.Errorf("the API server answered %s %s with %s: %.300s",
			method, path, answer.Status, strings.TrimSpace(string(content)))
	}
	return content, nil
}

// NodeReady returns nil when the node's Ready condition is True.
func (c *Client) NodeReady(ctx context.Context) error {
	content, err := c.Do(ctx, http.MethodGet, "/api/v1/nodes/"+layout.NodeName, nil)
	if err != nil {
		return err
	}
	return nodeReady(content)
}

// nodeReady reads the Ready condition of an encoded Node.
func nodeReady(content []byte) error {
	var node struct {
		Status struct {
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := json.Unmarshal(content, &node); err != nil {
		return fmt.Errorf("failed to decode the node: %w", err)
	}
	for _, c := range node.Status.Conditions {
		if c.Type == "Ready" {
			if c.Status == "True" {
				return nil
			}
			return fmt.Errorf("the node is not Ready: %s", c.Message)
		}
	}
	return errors.New("the node has no Ready condition yet")
}

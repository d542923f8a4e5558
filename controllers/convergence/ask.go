// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package convergence

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

const (
	// adminPort is where pods answer /status.
	adminPort = "8081"
	// askTimeout bounds one question, maxAnswer its answer in bytes.
	askTimeout = time.Second
	maxAnswer  = 64 << 10
	// Bounds of what is kept of an answer, in bytes and entries.
	maxName, maxText, maxKeyIDs = 256, 512, 8
)

// answer is what a pod says of itself in /status.
type answer struct {
	Revision    string `json:"revision"`
	ConfigError string `json:"configError"`
	// KeyIDs is nil if the pod does not tell of keys.
	KeyIDs   []string  `json:"keyIDs"`
	Problems []Problem `json:"problems"`
	// Streams and Sessions are what clients lose, or have to find again, when the
	// pod goes.
	Streams  int `json:"streams"`
	Sessions int `json:"sessions"`
}

// webClient returns one that goes to pods and nowhere else.
func webClient(dial func(ctx context.Context, network, address string) (net.Conn, error)) *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			Proxy: nil,
			// A transport lets a dial go on when its request is over, for the next
			// one; to a pod that is silent that would be minutes.
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				ctx, cancel := context.WithTimeout(ctx, askTimeout)
				defer cancel()
				return dial(ctx, network, address)
			},
			DisableCompression:     true,
			MaxIdleConns:           maxRequests,
			MaxIdleConnsPerHost:    1,
			IdleConnTimeout:        time.Second,
			MaxResponseHeaderBytes: 16 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// ask asks a pod for its status. A failure is told in words that are the same
// each time, since they end in the status of the server.
func (p *Pool) ask(ctx context.Context, ip string) (got answer, failure string) {
	address, err := netip.ParseAddr(ip)
	if err != nil || !address.IsGlobalUnicast() {
		return answer{}, "no usable address"
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	url := "http://" + net.JoinHostPort(address.String(), adminPort) + "/status"
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return answer{}, "no usable address"
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "fairlead-operator")
	resp, err := p.web.Do(req)
	if err != nil {
		return answer{}, failureOf(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return answer{}, "HTTP status " + strconv.Itoa(resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return answer{}, failureOf(err)
	case len(body) > maxAnswer || json.Unmarshal(body, &got) != nil || len(got.Revision) > maxName:
		return answer{}, "an answer that is no status"
	}
	return got.bounded(), ""
}

// failureOf classifies an error: its text holds ports and addresses.
func failureOf(err error) string {
	timeout := net.Error(nil)
	switch {
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer within " + askTimeout.String()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	}
	return "connection broken"
}

// bounded cuts what is long.
func (a answer) bounded() answer {
	a.ConfigError = bounded(a.ConfigError, maxText)
	if a.KeyIDs != nil {
		a.KeyIDs = a.KeyIDs[:min(len(a.KeyIDs), maxKeyIDs)]
	}
	for i, id := range a.KeyIDs {
		a.KeyIDs[i] = bounded(id, maxName)
	}
	a.Problems = a.Problems[:min(len(a.Problems), maxProblems)]
	for i, problem := range a.Problems {
		a.Problems[i] = Problem{
			Code: bounded(problem.Code, maxName), Secret: bounded(problem.Secret, maxName),
			Key: bounded(problem.Key, maxName), Message: bounded(problem.Message, maxText),
		}
	}
	return a
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package verify

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/runtime/keyring"
)

const (
	// checkTimeout bounds a whole check.
	checkTimeout = 5 * time.Second
	// maxAnswer bounds each answer in bytes (1 MiB).
	maxAnswer = 1 << 20
	// maxPages bounds the pages of a list; a page of a Fairlead server has 100 tools.
	maxPages = 100
	// maxNamed bounds the missing tools that a message names.
	maxNamed = 5
	// protocolVersion is the only revision that a check speaks: it leaves no
	// session behind.
	protocolVersion = "2026-07-28"
	// metaRevision is where the list says of which revision it is.
	metaRevision = "fairlead.dev/revision"
	// clientName introduces the checks.
	clientName = "fairlead-verifier"
)

// problem is why a check did not pass.
type problem struct {
	state State
	// message is the same for the same cause, whatever ports and times are in
	// the error: it becomes a condition, which must not change at rest.
	message string
	cause   error
}

// prober runs checks.
type prober struct {
	transport *http.Transport
}

func newProber(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *prober {
	return &prober{transport: &http.Transport{
		Proxy: nil, // A proxy of the environment leads out of the cluster.
		// A transport lets a dial go on when its check is over.
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, checkTimeout)
			defer cancel()
			return dial(ctx, network, addr)
		},
		// Each request is a connection of its own, which the Service gives to any
		// of the pods, and nothing is held between two checks.
		DisableKeepAlives:      true,
		DisableCompression:     true,
		MaxResponseHeaderBytes: 64 << 10,
		ResponseHeaderTimeout:  checkTimeout,
	}}
}

// probe lists the tools of a server as a client does. The problem is nil if it
// serves the target's revision with all of its tools.
func (p *prober) probe(ctx context.Context, t Target) (ServerInfo, *problem) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	l := &link{next: p.transport, target: &t}
	info, tools, revision, err := list(ctx, t, l)
	if err != nil {
		return info, explain(t, l, err)
	}
	if revision != t.Revision {
		return info, &problem{state: Failed, message: fmt.Sprintf(
			"%s answers with revision %s instead of %s: a pod that the Service sends clients to serves another configuration; its log says why", t.URL, named(revision), t.Revision)}
	}
	missing := slices.DeleteFunc(slices.Clone(t.Tools), func(name string) bool { _, ok := tools[name]; return ok })
	if len(missing) > 0 {
		return info, &problem{state: Failed, message: fmt.Sprintf(
			"%s does not list %s: see whether something between the operator and the pods changes answers", t.URL, some(missing))}
	}
	return info, nil
}

// list connects, and lists all pages.
func list(ctx context.Context, t Target, l *link) (info ServerInfo, tools map[string]struct{}, revision string, err error) {
	client := mcp.NewClient(&mcp.Implementation{Name: clientName, Version: "1"}, &mcp.ClientOptions{
		// Without a handler for changes the SDK opens no stream to hear of them.
		Capabilities: &mcp.ClientCapabilities{},
	})
	session, err := client.Connect(ctx, &mcp.StreamableClientTransport{
		Endpoint:   t.URL,
		HTTPClient: &http.Client{Transport: l, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		MaxRetries: -1, DisableStandaloneSSE: true, MaxEventSize: maxAnswer,
	}, &mcp.ClientSessionOptions{ProtocolVersion: protocolVersion})
	if err != nil {
		return info, nil, "", fmt.Errorf("failed to discover the server: %w", err)
	}
	defer func() { err = errors.Join(err, session.Close()) }()
	if server := session.InitializeResult().ServerInfo; server != nil {
		info = ServerInfo{Name: clip(server.Name), Title: clip(server.Title), Version: clip(server.Version)}
	}
	tools = make(map[string]struct{}, len(t.Tools))
	cursor := ""
	for page := range maxPages {
		result, err := session.ListTools(ctx, &mcp.ListToolsParams{Cursor: cursor})
		if err != nil {
			return info, nil, "", fmt.Errorf("failed to list the tools: %w", err)
		}
		served, _ := result.Meta[metaRevision].(string)
		if page > 0 && served != revision {
			return info, nil, served, nil // The pages are of two revisions: one of them is wrong.
		}
		revision = served
		for _, tool := range result.Tools {
			tools[tool.Name] = struct{}{}
		}
		if result.NextCursor == "" {
			return info, tools, revision, nil
		}
		cursor = result.NextCursor
	}
	return info, nil, "", errEndless
}

var errEndless = fmt.Errorf("the list has more than %d pages", maxPages)

// explain gives a failure the message that a condition shows.
func explain(t Target, l *link, err error) *problem {
	failed := func(format string, a ...any) *problem {
		return &problem{state: Failed, message: t.URL + " " + fmt.Sprintf(format, a...), cause: err}
	}
	switch refusal := l.refusal(); {
	case errors.Is(l.failure(), errTooLarge):
		return failed("answers with more than %d bytes, which no list of tools has", maxAnswer)
	case errors.Is(err, errEndless):
		return failed("answers with a list of tools that does not end")
	case refusal == nil:
		if cause := l.failure(); cause != nil {
			return unreachable(t, cause)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			return unreachable(t, err)
		}
		return failed("does not answer as an MCP server of %s: see whether something else answers under this name", protocolVersion)
	case refusal.status == http.StatusUnauthorized && refusal.ours:
		return failed("refuses the operator's token (401): its pods do not hold the session key %s, or their clocks differ from the operator's by more than a minute", t.Key.ID())
	case refusal.status == http.StatusBadGateway, refusal.status == http.StatusServiceUnavailable, refusal.status == http.StatusGatewayTimeout:
		p := failed("answers %d: no pod behind it takes requests; %s", refusal.status, reachAct)
		p.state = Unreachable
		return p
	case refusal.status >= http.StatusMultipleChoices && refusal.status < http.StatusBadRequest:
		return failed("redirects (%d): the Service must lead to the server's pods", refusal.status)
	case refusal.ours:
		return failed("answers %d to the operator: see the log of its pods", refusal.status)
	default:
		return failed("answers %d, and not as the server's pods do: a proxy or a mesh between them and the operator must let it through", refusal.status)
	}
}

// reachAct is what to do about a server that cannot be reached.
const reachAct = "let the operator's namespace reach port 8080 of the server's pods, or start the operator with --verification=Off"

// unreachable tells the kinds of failed connections apart by fixed words.
func unreachable(t Target, cause error) *problem {
	reason := "the connection broke"
	_, dns := errors.AsType[*net.DNSError](cause)
	slow, timed := errors.AsType[net.Error](cause)
	switch {
	case dns:
		reason = "its name does not resolve"
	case errors.Is(cause, syscall.ECONNREFUSED):
		reason = "the connection is refused"
	case errors.Is(cause, context.DeadlineExceeded), timed && slow.Timeout():
		reason = "it does not answer within " + checkTimeout.String()
	case errors.Is(cause, syscall.EHOSTUNREACH), errors.Is(cause, syscall.ENETUNREACH):
		reason = "there is no route to it"
	}
	return &problem{state: Unreachable, message: fmt.Sprintf("%s cannot be reached: %s; %s", t.URL, reason, reachAct), cause: cause}
}

// named quotes a revision that a server told.
func named(revision string) string {
	if revision == "" {
		return "(none)"
	}
	return clip(revision)
}

// some names the first of the missing tools.
func some(missing []string) string {
	more := ""
	if len(missing) > maxNamed {
		more = fmt.Sprintf(" and %d more", len(missing)-maxNamed)
		missing = missing[:maxNamed]
	}
	word := "the tool "
	if len(missing) > 1 {
		word = "the tools "
	}
	return word + strings.Join(missing, ", ") + more
}

// clip bounds what a server says of itself.
func clip(s string) string {
	const most = 128
	return strings.ToValidUTF8(s[:min(len(s), most)], "")
}

// token makes the credential for one request.
func (t *Target) token(now time.Time) string { return keyring.VerifierToken(t.Key, t.UID, now) }

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package traffic

import (
	"context"
	"maps"
	"net/http"

	"fairlead.dev/fairlead/test/e2e/record"
)

// statelessWire speaks Streamable HTTP of 2026-07-28 and listens.
type statelessWire struct{ g *Goer }

// modern is a request of 2026-07-28 and its header.
func modern(id, method, name string, params map[string]any) ([]byte, map[string]string) {
	params = maps.Clone(params)
	params["_meta"] = map[string]any{
		"io.modelcontextprotocol/protocolVersion":    modernVersion,
		"io.modelcontextprotocol/clientCapabilities": map[string]any{},
	}
	header := map[string]string{"MCP-Protocol-Version": modernVersion, "Mcp-Method": method}
	if name != "" {
		header["Mcp-Name"] = name
	}
	return request(id, method, params), header
}

func (*statelessWire) ready(ctx context.Context) (string, error) { return "", ctx.Err() }

func (s *statelessWire) stream(ctx context.Context) {
	body, header := modern(`"listen"`, "subscriptions/listen", "", map[string]any{"notifications": map[string]any{"toolsListChanged": true}})
	for ctx.Err() == nil {
		response, err := s.g.Target.open(ctx, http.MethodPost, s.g.Target.Base+"/mcp", body, header)
		if err != nil {
			rest(ctx, waitAfter(err))
			continue
		}
		s.g.note(record.Event{What: record.Open, Stream: "listen"})
		stream := newEvents(response.Body)
		for err == nil {
			_, err = stream.next()
		}
		s.g.cut(ctx, "listen", "", err)
		response.Body.Close()
		rest(ctx, max(stream.retry, shortWait))
	}
}

func (s *statelessWire) call(ctx context.Context, id string, params map[string]any) (message, error) {
	body, header := modern(`"`+id+`"`, "tools/call", s.g.Tool, params)
	m, _, err := s.g.Target.exchange(ctx, body, `"`+id+`"`, header)
	return m, err
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command mcpgo is a server on mark3labs/mcp-go as its documentation shows it:
// /sse with /message, and /mcp.
package main

import (
	"context"
	"flag"
	"log"
	"net/http"
	"time"

	"github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"

	"fairlead.dev/fairlead/bench/runtime/door"
)

func main() {
	listen := flag.String("listen", "", "address for clients")
	side := flag.String("door", "", "address of the side door")
	_ = flag.String("backend", "", "URL of the HTTP backend, which no tool here asks")
	flag.Parse()
	s := server.NewMCPServer("bench", "1", server.WithToolCapabilities(true))
	s.AddTool(mcp.NewTool("echo", mcp.WithDescription("Echoes text."), mcp.WithString("text", mcp.Required())),
		func(_ context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return mcp.NewToolResultText(req.GetString("text", "")), nil
		})
	s.AddTool(mcp.NewTool("progress", mcp.WithDescription("Reports progress n times."), mcp.WithNumber("n", mcp.Required())),
		func(ctx context.Context, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
			return progress(ctx, s, req)
		})
	change := func() error {
		s.AddTool(mcp.NewTool("changing", mcp.WithDescription("Changed "+time.Now().String())), nothing)
		return nil
	}
	if err := door.Serve(context.Background(), *side, change); err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	sse := server.NewSSEServer(s)
	mux.Handle("/sse", sse)
	mux.Handle("/message", sse)
	mux.Handle("/mcp", server.NewStreamableHTTPServer(s))
	clients := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(clients.ListenAndServe())
}

func nothing(context.Context, mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	return mcp.NewToolResultText(""), nil
}

func progress(ctx context.Context, s *server.MCPServer, req mcp.CallToolRequest) (*mcp.CallToolResult, error) {
	n := req.GetInt("n", 0)
	var token any
	if req.Params.Meta != nil {
		token = req.Params.Meta.ProgressToken
	}
	for i := range n {
		params := map[string]any{"progressToken": token, "progress": i + 1, "total": n, "message": "working"}
		// The queue to the client holds 100; a full one is an error, so the tool waits.
		for s.SendNotificationToClient(ctx, "notifications/progress", params) != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			time.Sleep(20 * time.Microsecond) //nolint:forbidigo // The library tells nobody when there is room.
		}
	}
	return mcp.NewToolResultText("done"), nil
}

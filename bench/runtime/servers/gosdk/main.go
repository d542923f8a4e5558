// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Command gosdk is a server on the official Go SDK as its documentation shows
// it: /sse, /mcp with event streams as answers, /json with JSON, /stateless without
// sessions.
package main

import (
	"context"
	"flag"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/bench/runtime/door"
)

type echoInput struct {
	Text string `json:"text"`
}

type progressInput struct {
	N int `json:"n"`
}

func main() {
	listen := flag.String("listen", "", "address for clients")
	side := flag.String("door", "", "address of the side door")
	backend := flag.String("backend", "", "URL of the HTTP backend")
	flag.Parse()
	s := mcp.NewServer(&mcp.Implementation{Name: "bench", Version: "1"}, nil)
	mcp.AddTool(s, &mcp.Tool{Name: "echo", Description: "Echoes text."},
		func(_ context.Context, _ *mcp.CallToolRequest, in echoInput) (*mcp.CallToolResult, any, error) {
			return text(in.Text), nil, nil
		})
	mcp.AddTool(s, &mcp.Tool{Name: "progress", Description: "Reports progress n times."}, progress)
	mcp.AddTool(s, &mcp.Tool{Name: "fetch", Description: "Gets what the backend says."}, fetcher(*backend+"/hello"))
	change := func() error {
		mcp.AddTool(s, &mcp.Tool{Name: "changing", Description: "Changed " + time.Now().String()}, progress)
		return nil
	}
	if err := door.Serve(context.Background(), *side, change); err != nil {
		log.Fatal(err)
	}
	get := func(*http.Request) *mcp.Server { return s }
	mux := http.NewServeMux()
	mux.Handle("/sse", mcp.NewSSEHandler(get, nil))
	mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(get, nil))
	mux.Handle("/json", mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{JSONResponse: true}))
	mux.Handle("/stateless", mcp.NewStreamableHTTPHandler(get, &mcp.StreamableHTTPOptions{JSONResponse: true, Stateless: true}))
	clients := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(clients.ListenAndServe())
}

func text(t string) *mcp.CallToolResult {
	return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: t}}}
}

func progress(ctx context.Context, req *mcp.CallToolRequest, in progressInput) (*mcp.CallToolResult, any, error) {
	token := req.Params.GetProgressToken()
	for i := range in.N {
		err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{
			ProgressToken: token, Progress: float64(i + 1), Total: float64(in.N), Message: "working",
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return text("done"), nil, nil
}

// fetcher gets the backend's answer over a transport that keeps its
// connections, so that the SDK is compared and not net/http's defaults.
func fetcher(url string) mcp.ToolHandlerFor[struct{}, any] {
	client := &http.Client{Transport: &http.Transport{MaxIdleConns: 1024, MaxIdleConnsPerHost: 256, DisableCompression: true}}
	return func(ctx context.Context, _ *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return nil, nil, err
		}
		resp, err := client.Do(req)
		if err != nil {
			return nil, nil, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return text(string(body)), nil, err
	}
}

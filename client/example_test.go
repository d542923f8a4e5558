// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package client_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"fairlead.dev/fairlead/client"
)

// A server of the official SDK stands in for one that Fairlead runs.
func exampleServer() *httptest.Server {
	server := mcp.NewServer(&mcp.Implementation{Name: "greeter", Version: "1.0.0"}, nil)
	type input struct {
		Name string `json:"name"`
	}
	mcp.AddTool(server, &mcp.Tool{Name: "greet", Description: "Greet somebody."},
		func(_ context.Context, _ *mcp.CallToolRequest, in input) (*mcp.CallToolResult, any, error) {
			text := &mcp.TextContent{Text: "Hello, " + in.Name + "!"}
			return &mcp.CallToolResult{Content: []mcp.Content{text}}, nil, nil
		})
	get := func(*http.Request) *mcp.Server { return server }
	return httptest.NewServer(mcp.NewStreamableHTTPHandler(get, nil))
}

func Example() {
	server := exampleServer()
	defer server.Close()
	ctx := context.Background()

	// Connect returns at once: the calls below wait for the server, also when it
	// starts later or goes away in between.
	c, err := client.Connect(ctx, client.Options{URL: server.URL})
	if err != nil {
		log.Print(err)
		return
	}
	defer c.Close()

	tools, err := c.Tools(ctx)
	if err != nil {
		log.Print(err)
		return
	}
	for _, tool := range tools {
		fmt.Println(tool.Name+":", tool.Description)
	}

	result, err := c.CallTool(ctx, "greet", map[string]any{"name": "Ada"}, nil)
	if err != nil {
		log.Print(err)
		return
	}
	for _, content := range result.Content {
		if text, ok := content.(*mcp.TextContent); ok {
			fmt.Println(text.Text)
		}
	}
	// Output:
	// greet: Greet somebody.
	// Hello, Ada!
}

func ExampleClient_Events() {
	server := exampleServer()
	defer server.Close()

	c, err := client.Connect(context.Background(), client.Options{URL: server.URL, Transport: client.Streamable})
	if err != nil {
		log.Print(err)
		return
	}
	if err := c.Wait(context.Background()); err != nil {
		log.Print(err)
	}
	c.Close()

	for event := range c.Events() {
		switch e := event.(type) {
		case client.Connected:
			fmt.Println("connected to", e.Server, "by", e.Transport, e.ProtocolVersion)
		case client.Disconnected:
			fmt.Println("lost:", e.Err, "again in", e.RetryIn)
		case client.ToolsChanged:
			fmt.Println("the tools changed")
		case client.Closed:
			fmt.Println("closed")
		}
	}
	// Output:
	// connected to greeter by streamable 2025-11-25
	// closed
}

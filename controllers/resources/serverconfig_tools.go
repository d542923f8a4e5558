// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package resources

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/runtime/config"
)

func (c *converter) tools(tools []fairleadv1alpha1.Tool) []config.Tool {
	out := make([]config.Tool, len(tools))
	for i := range tools {
		out[i] = c.tool(fmt.Sprintf("tools[%d]", i), &tools[i])
	}
	return out
}

func (c *converter) tool(path string, tool *fairleadv1alpha1.Tool) config.Tool {
	out := config.Tool{
		Name:            tool.Name,
		Title:           tool.Title,
		Description:     tool.Description,
		InputSchema:     rawJSON(tool.InputSchema),
		InputSchemaJSON: tool.InputSchemaJSON,
		OutputSchema:    rawJSON(tool.OutputSchema),
		Timeout:         c.duration(path+".timeout", tool.Timeout),
		MaxConcurrency:  number(tool.MaxConcurrency),
		State:           string(tool.State),
	}
	if hints := tool.Annotations; hints != nil {
		out.Annotations = &config.Annotations{
			ReadOnlyHint:    hints.ReadOnlyHint,
			DestructiveHint: hints.DestructiveHint,
			IdempotentHint:  hints.IdempotentHint,
			OpenWorldHint:   hints.OpenWorldHint,
		}
	}
	if tool.Access != nil {
		out.Access = &config.Access{AnyRole: tool.Access.AnyRole}
	}
	if tool.HTTP != nil {
		out.HTTP = httpConfig(tool.HTTP)
	}
	if tool.Static != nil {
		out.Static = staticConfig(tool.Static)
	}
	return out
}

func httpConfig(http *fairleadv1alpha1.HTTPBackend) *config.HTTP {
	out := &config.HTTP{
		Method:  string(http.Method),
		URL:     http.URL,
		Query:   templates(http.Query),
		Headers: templates(http.Headers),
		Body:    string(http.Body),
		Network: string(http.Network),
	}
	for _, header := range http.HeadersFrom {
		out.HeadersFrom = append(out.HeadersFrom, config.SecretHeader{
			Name:         header.Name,
			SecretKeyRef: config.SecretKeyRef{Name: header.SecretKeyRef.Name, Key: header.SecretKeyRef.Key},
			Prefix:       header.Prefix,
		})
	}
	if http.Response != nil {
		out.Response.Stream = string(http.Response.Stream)
	}
	return out
}

func staticConfig(static *fairleadv1alpha1.StaticBackend) *config.Static {
	out := &config.Static{
		Content:           make([]config.Content, len(static.Content)),
		StructuredContent: rawJSON(static.StructuredContent),
		Outcome:           string(static.Outcome),
	}
	for i, content := range static.Content {
		out.Content[i] = config.Content{
			Text:  content.Text,
			Image: binary(content.Image),
			Audio: binary(content.Audio),
		}
		if resource := content.Resource; resource != nil {
			out.Content[i].Resource = &config.Resource{
				URI: resource.URI, MIMEType: resource.MIMEType, Text: resource.Text, Blob: resource.Blob,
			}
		}
	}
	return out
}

func binary(content *fairleadv1alpha1.BinaryContent) *config.Binary {
	if content == nil {
		return nil
	}
	return &config.Binary{MIMEType: content.MIMEType, Data: content.Data}
}

func templates(in map[string]fairleadv1alpha1.TemplateString) map[string]string {
	if len(in) == 0 {
		return nil
	}
	out := make(map[string]string, len(in))
	for name, template := range in {
		out[name] = string(template)
	}
	return out
}

// rawJSON returns the JSON of an embedded value, or nil without one.
func rawJSON(raw *runtime.RawExtension) json.RawMessage {
	if raw == nil || len(raw.Raw) == 0 || string(raw.Raw) == "null" {
		return nil
	}
	return raw.Raw
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// StaticPlan is a static answer, compiled. It is immutable and safe for
// concurrent use.
type StaticPlan struct {
	content    *jsonTree
	structured *jsonTree
	isError    bool
}

// Render returns the answer: a JSON array of content blocks (MCP ContentBlock),
// structuredContent or nil, and isError. What does not depend on v was encoded
// once and is shared: callers must not change it. The error is an *EvalError.
func (p *StaticPlan) Render(v Vars) (content, structured json.RawMessage, isError bool, err error) {
	if content, err = p.content.render(v); err != nil {
		return nil, nil, false, err
	}
	if p.structured != nil {
		if structured, err = p.structured.render(v); err != nil {
			return nil, nil, false, err
		}
	}
	return content, structured, p.isError, nil
}

// jsonTree is JSON whose strings may be templates. Exactly one of literal,
// template, list and names is set; an inner node has children.
type jsonTree struct {
	literal  []byte
	template *Template
	// typed keeps the type of a whole-string expression's value.
	typed    bool
	isList   bool
	names    []string
	children []*jsonTree
}

// renderAhead is how many bytes most rendered trees fit in.
const renderAhead = 192

func (t *jsonTree) render(v Vars) ([]byte, error) {
	if t.literal != nil {
		return t.literal, nil
	}
	b, _, err := t.append(make([]byte, 0, renderAhead), v)
	return b, err
}

// append writes the tree; present is false for an empty optional.
func (t *jsonTree) append(b []byte, v Vars) (out []byte, present bool, err error) {
	switch {
	case t.literal != nil:
		return append(b, t.literal...), true, nil
	case t.template != nil:
		return t.appendTemplate(b, v)
	}
	open, end := byte('{'), byte('}')
	if t.isList {
		open, end = '[', ']'
	}
	b = append(b, open)
	for i, child := range t.children {
		mark := len(b)
		if b[mark-1] != open {
			b = append(b, ',')
		}
		if !t.isList {
			if b, err = appendString(b, t.names[i]); err != nil {
				return nil, false, err
			}
			b = append(b, ':')
		}
		if b, present, err = child.append(b, v); err != nil {
			return nil, false, err
		}
		if !present {
			b = b[:mark]
		}
	}
	return append(b, end), true, nil
}

func (t *jsonTree) appendTemplate(b []byte, v Vars) ([]byte, bool, error) {
	e := t.template.whole()
	if e != nil {
		if text, ok := e.plain(v); ok {
			out, err := appendString(b, text)
			return out, true, err
		}
	}
	if e != nil && t.typed {
		value, present, err := e.value(v)
		if err != nil || !present {
			return b, false, err
		}
		out, err := appendCEL(b, value, 0)
		if err != nil {
			return nil, false, &EvalError{Expression: e.source, Err: err}
		}
		return out, true, nil
	}
	text, _, err := t.template.Eval(v)
	if err != nil {
		return nil, false, err
	}
	out, err := appendString(b, text)
	return out, true, err
}

// fold encodes a tree without expressions once.
func (t *jsonTree) fold() *jsonTree {
	if t.template != nil || t.literal != nil {
		return t
	}
	for _, child := range t.children {
		if child.literal == nil {
			return t
		}
	}
	if b, _, err := t.append(nil, Vars{}); err == nil {
		return &jsonTree{literal: b}
	}
	return t
}

// tree compiles a value whose strings are templates; nil after an error.
func (c *checker) tree(path string, v any) *jsonTree {
	switch v := v.(type) {
	case string:
		return c.stringTree(path, v, true)
	case []any:
		t := &jsonTree{isList: true}
		for i, child := range v {
			t.children = append(t.children, c.tree(index(path, i), child))
		}
		return t.foldUnlessBroken()
	case map[string]any:
		t := &jsonTree{}
		for _, name := range sortedKeys(v) {
			t.names = append(t.names, name)
			t.children = append(t.children, c.tree(member(path, name), v[name]))
		}
		return t.foldUnlessBroken()
	default:
		b, err := EncodeValue(v)
		if err != nil {
			c.fail(path, ruleSchemaJSON, oneLine(err))
			return nil
		}
		return &jsonTree{literal: b}
	}
}

func (t *jsonTree) foldUnlessBroken() *jsonTree {
	for _, child := range t.children {
		if child == nil {
			return nil
		}
	}
	return t.fold()
}

// stringTree compiles a template that becomes a JSON string, or, if typed, the
// value of a whole-string expression.
func (c *checker) stringTree(path, text string, typed bool) *jsonTree {
	template := c.compileTemplate(path, text)
	if template == nil {
		return nil
	}
	if !template.Constant() {
		return &jsonTree{template: template, typed: typed}
	}
	return literalString(template.constant)
}

func literalString(text string) *jsonTree {
	b, err := appendString(nil, strings.ToValidUTF8(text, "\uFFFD"))
	if err != nil {
		return nil
	}
	return &jsonTree{literal: b}
}

// object makes a tree from names and children in this order.
func objectTree(pairs ...any) *jsonTree {
	t := &jsonTree{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		child, ok := pairs[i+1].(*jsonTree)
		if text, isText := pairs[i+1].(string); isText {
			child, ok = literalString(text), true
		}
		if !ok || child == nil {
			return nil
		}
		t.names = append(t.names, name)
		t.children = append(t.children, child)
	}
	return t.fold()
}

// compileStatic checks and compiles a static backend that has its defaults.
func (c *checker) compileStatic(path string, s *Static, output *Schema) *StaticPlan {
	p := &StaticPlan{isError: s.Outcome == OutcomeError}
	blocks := &jsonTree{isList: true}
	if c.items(path+".content", len(s.Content)) {
		for i := range s.Content {
			blocks.children = append(blocks.children, c.contentTree(index(path+".content", i), &s.Content[i]))
		}
	}
	p.content = blocks.foldUnlessBroken()
	if len(s.StructuredContent) > 0 {
		p.structured = c.structuredTree(path+".structuredContent", s.StructuredContent, output)
	} else if output != nil && !p.isError {
		c.fail(path+".structuredContent", ruleStructuredMissing)
	}
	c.text(path+".outcome", s.Outcome, true)
	return p
}

func (c *checker) structuredTree(path string, raw json.RawMessage, output *Schema) *jsonTree {
	v, err := DecodeValue(raw)
	if err != nil {
		c.fail(path, ruleSchemaJSON, oneLine(err))
		return nil
	}
	if _, ok := v.(map[string]any); !ok {
		c.fail(path, ruleStructuredObject)
		return nil
	}
	t := c.tree(path, v)
	if t == nil || t.literal == nil || output == nil {
		return t
	}
	constant, err := DecodeValue(t.literal)
	if err == nil {
		err = output.Validate(constant)
	}
	if err != nil {
		c.fail(path, ruleStructuredFit, oneLine(err))
	}
	return t
}

func (c *checker) contentTree(path string, content *Content) *jsonTree {
	n := present(content.Text) + present(content.Image) + present(content.Audio) + present(content.Resource)
	if n != 1 {
		c.fail(path, ruleOneContent, n)
		return nil
	}
	switch {
	case content.Text != nil:
		if !c.text(path+".text", *content.Text, false) {
			return nil
		}
		return objectTree("type", "text", "text", c.stringTree(path+".text", *content.Text, false))
	case content.Image != nil:
		return c.binaryTree(path+".image", "image", content.Image)
	case content.Audio != nil:
		return c.binaryTree(path+".audio", "audio", content.Audio)
	default:
		return c.resourceTree(path+".resource", content.Resource)
	}
}

func present[T any](p *T) int {
	if p == nil {
		return 0
	}
	return 1
}

func (c *checker) binaryTree(path, kind string, b *Binary) *jsonTree {
	c.text(path+".mimeType", b.MIMEType, true)
	c.base64(path+".data", b.Data, true)
	return objectTree("type", kind, "data", b.Data, "mimeType", b.MIMEType)
}

func (c *checker) base64(path, data string, required bool) {
	if !c.text(path, data, required) {
		return
	}
	if _, err := base64.StdEncoding.DecodeString(data); err != nil {
		c.fail(path, ruleBase64, oneLine(err))
	}
}

func (c *checker) resourceTree(path string, r *Resource) *jsonTree {
	c.text(path+".uri", r.URI, true)
	c.text(path+".mimeType", r.MIMEType, false)
	if n := present(r.Text) + present(r.Blob); n != 1 {
		c.fail(path, ruleOneResource, n)
		return nil
	}
	pairs := []any{"uri", r.URI}
	if r.MIMEType != "" {
		pairs = append(pairs, "mimeType", r.MIMEType)
	}
	if r.Text != nil {
		if !c.text(path+".text", *r.Text, false) {
			return nil
		}
		pairs = append(pairs, "text", c.stringTree(path+".text", *r.Text, false))
	} else {
		c.base64(path+".blob", *r.Blob, false)
		pairs = append(pairs, "blob", *r.Blob)
	}
	return objectTree("type", "resource", "resource", objectTree(pairs...))
}

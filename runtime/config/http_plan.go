// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// NamedTemplate is the value of a query parameter or header.
type NamedTemplate struct {
	Name  string
	Value *Template
}

// HTTPPlan is a request to a backend, compiled. It is immutable and safe for
// concurrent use.
type HTTPPlan struct {
	Method string
	URL    *URLTemplate
	// Query and Headers are sorted by name.
	Query   []NamedTemplate
	Headers []NamedTemplate
	// HeadersFrom are the headers whose values are files; the executor reads them.
	HeadersFrom []SecretHeader
	// Body is BodyJSON or BodyNone.
	Body string
	// Network is the effective one of NetworkCluster, NetworkPublic and
	// NetworkPrivate.
	Network string
	// Stream is empty, StreamSSE or StreamNDJSON.
	Stream string
}

// Request is a rendered request, without the headers of HTTPPlan.HeadersFrom.
type Request struct {
	Method string
	URL    *url.URL
	// Header has canonical names, and Content-Type if there is a body.
	Header http.Header
	// Body is nil if there is none.
	Body []byte
}

// HeaderError says that a header's value cannot be sent.
type HeaderError struct{ Name string }

// Error names the header.
func (e *HeaderError) Error() string {
	return fmt.Sprintf("the value of header %q holds a line break or another control character", e.Name)
}

// Render returns the request for validated arguments. The error is an
// *EvalError, *ArgumentError or *HeaderError; none of them holds a value.
func (p *HTTPPlan) Render(v Vars) (*Request, error) {
	u, err := p.URL.Expand(v.Arguments)
	if err != nil {
		return nil, err
	}
	if err := p.addQuery(u, v); err != nil {
		return nil, err
	}
	header := make(http.Header, len(p.Headers)+len(p.HeadersFrom)+3)
	for _, h := range p.Headers {
		text, present, err := h.Value.Eval(v)
		if err != nil {
			return nil, err
		}
		if !present {
			continue
		}
		if !validHeaderValue(text) {
			return nil, &HeaderError{h.Name}
		}
		header.Set(h.Name, text)
	}
	r := &Request{Method: p.Method, URL: u, Header: header}
	if p.Body == BodyJSON {
		if r.Body, err = p.body(v.Arguments); err != nil {
			return nil, err
		}
		header.Set("Content-Type", "application/json")
	}
	return r, nil
}

func (p *HTTPPlan) addQuery(u *url.URL, v Vars) error {
	if len(p.Query) == 0 {
		return nil
	}
	var b strings.Builder
	b.WriteString(u.RawQuery)
	for _, q := range p.Query {
		text, present, err := q.Value.Eval(v)
		if err != nil {
			return err
		}
		if !present {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('&')
		}
		b.WriteString(escape(q.Name))
		b.WriteByte('=')
		b.WriteString(escape(text))
	}
	u.RawQuery = b.String()
	return nil
}

// body re-encodes the arguments that the URL does not use, with sorted names.
func (p *HTTPPlan) body(args map[string]any) ([]byte, error) {
	rest := make(map[string]any, len(args))
	for name, v := range args {
		if !slices.Contains(p.URL.names, name) {
			rest[name] = v
		}
	}
	return EncodeValue(rest)
}

// validHeaderValue follows RFC 9110, section 5.5: no control characters but tab.
func validHeaderValue(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

var headerToken = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")

// ownedHeaders belong to the connection: a backend would read another request
// than the one that was checked.
var ownedHeaders = []string{
	"Host", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade", "Te", "Trailer", "Keep-Alive", "Expect",
}

func (c *checker) headerName(path, name, body string) bool {
	canonical := http.CanonicalHeaderKey(name)
	switch {
	case !headerToken.MatchString(name) || len(name) > 128:
		c.fail(path, ruleHeaderName, clip(name))
	case slices.Contains(ownedHeaders, canonical), strings.HasPrefix(canonical, "Proxy-"):
		c.fail(path, ruleHeaderOwned, clip(name))
	case canonical == "Content-Type" && body == BodyJSON:
		c.fail(path, ruleHeaderContentType, clip(name))
	default:
		return true
	}
	return false
}

// compileHTTP checks and compiles an http backend that has its defaults.
func (c *checker) compileHTTP(path string, h *HTTP, declared bool, input *Schema) *HTTPPlan {
	p := &HTTPPlan{Method: h.Method, Body: h.Body, Network: h.Network, Stream: h.Response.Stream, HeadersFrom: h.HeadersFrom}
	c.text(path+".method", h.Method, true)
	if c.text(path+".url", h.URL, true) {
		p.URL = c.compileURL(path+".url", h.URL, input)
	}
	p.Query = c.compileQuery(path+".query", h.Query, p.URL)
	seen := map[string]string{}
	p.Headers = c.compileHeaders(path+".headers", h, seen)
	c.secretHeaders(path+".headersFrom", h, seen)
	if c.text(path+".body", h.Body, true) && h.Body == BodyJSON && !slices.Contains([]string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}, h.Method) {
		c.fail(path+".body", ruleBodyMethod)
	}
	if c.text(path+".network", h.Network, true) && p.URL != nil {
		c.host(path, hostOf(h.URL), h.Network, declared)
	}
	c.text(path+".response.stream", h.Response.Stream, false)
	return p
}

func (c *checker) compileQuery(path string, query map[string]string, u *URLTemplate) []NamedTemplate {
	if !c.items(path, len(query)) {
		return nil
	}
	var out []NamedTemplate
	for _, name := range sortedKeys(query) {
		at := member(path, name)
		if u != nil && u.sets(name) {
			c.fail(at, ruleQueryTwice)
		}
		if c.text(at, query[name], false) {
			out = append(out, NamedTemplate{name, c.compileTemplate(at, query[name])})
		}
	}
	return out
}

func (c *checker) compileHeaders(path string, h *HTTP, seen map[string]string) []NamedTemplate {
	if !c.items(path, len(h.Headers)) {
		return nil
	}
	var out []NamedTemplate
	for _, name := range sortedKeys(h.Headers) {
		at := member(path, name)
		if c.headerName(at, name, h.Body) {
			c.headerOnce(seen, at, name)
		}
		if !c.text(at, h.Headers[name], false) {
			continue
		}
		t := c.compileTemplate(at, h.Headers[name])
		if t != nil && t.Constant() && !validHeaderValue(t.constant) {
			c.fail(at, ruleHeaderControl)
		}
		out = append(out, NamedTemplate{name, t})
	}
	return out
}

func (c *checker) headerOnce(seen map[string]string, path, name string) {
	key := strings.ToLower(name)
	if at, ok := seen[key]; ok {
		c.fail(path, ruleHeaderTwice, clip(name), at)
		return
	}
	seen[key] = path
}

func (c *checker) secretHeaders(path string, h *HTTP, seen map[string]string) {
	if !c.items(path, len(h.HeadersFrom)) {
		return
	}
	for i, from := range h.HeadersFrom {
		at := index(path, i)
		if c.text(at+".name", from.Name, true) && c.headerName(at+".name", from.Name, h.Body) {
			c.headerOnce(seen, at+".name", from.Name)
		}
		c.text(at+".secretKeyRef.name", from.SecretKeyRef.Name, true)
		c.key(at+".secretKeyRef.key", from.SecretKeyRef.Key)
		if c.text(at+".prefix", from.Prefix, false) && !validHeaderValue(from.Prefix) {
			c.fail(at+".prefix", ruleHeaderControl)
		}
	}
}

// key judges the key of a Secret, which becomes a file's name.
func (c *checker) key(path, key string) {
	if c.text(path, key, true) && (key == "." || strings.HasPrefix(key, "..")) {
		c.fail(path, ruleDotFile, clip(key))
	}
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

var (
	dnsName      = regexp.MustCompile(`^[a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?([.][a-z0-9_]([-a-z0-9_]{0,61}[a-z0-9_])?)*[.]?$`)
	variableName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
)

// urlParser reads a URL template.
type urlParser struct {
	check  *checker
	path   string
	schema *Schema

	out     URLTemplate
	current segment
	inQuery bool
	// closed is set behind {?...} and {&...}: only further {&...} may follow.
	closed bool
	// inValue is set behind the = of a literal query parameter.
	inValue bool
	seen    []string
}

// compileURL compiles the URL template at path; nil after it reported an error.
// The texts table has already refused what is not http(s)://host.
func (c *checker) compileURL(path, text string, schema *Schema) *URLTemplate {
	before := len(c.errs)
	p := &urlParser{check: c, path: path, schema: schema}
	rest := p.origin(text)
	p.walk(rest)
	p.endSegment()
	p.literalNames()
	if len(c.errs) > before {
		return nil
	}
	slices.Sort(p.out.names)
	return &p.out
}

// origin reads scheme://host[:port] and returns the rest.
func (p *urlParser) origin(text string) string {
	scheme, rest, _ := strings.Cut(text, "://")
	end := strings.IndexAny(rest, "/?")
	if end < 0 {
		end = len(rest)
	}
	authority := strings.ToLower(rest[:end])
	host, port := authority, ""
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, port = authority[:i], authority[i+1:]
		if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
			p.check.fail(p.path, rulePort, strconv.Quote(clip(port)))
		}
	}
	if !validHost(host) {
		p.check.fail(p.path, ruleURLHost, clip(host))
	}
	p.out.origin = scheme + "://" + authority
	return rest[end:]
}

func validHost(host string) bool {
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		ip, err := netip.ParseAddr(inner)
		return ok && err == nil && ip.Is6() && ip.Zone() == ""
	}
	return len(host) <= 253 && dnsName.MatchString(host)
}

// walk reads path and query.
func (p *urlParser) walk(text string) {
	for text != "" {
		switch c := text[0]; c {
		case '{':
			end := strings.IndexByte(text, '}')
			if end < 0 {
				p.check.fail(p.path, ruleURLBrace)
				return
			}
			p.expression(text[1:end])
			text = text[end+1:]
		case '}':
			p.check.fail(p.path, ruleURLBrace)
			return
		case '#':
			p.check.fail(p.path, ruleURLFragment)
			return
		default:
			n := p.literal(text)
			if n == 0 {
				return
			}
			text = text[n:]
		}
	}
}

// literal reads one character, or one percent-encoded byte, and returns its
// length; 0 after an error.
func (p *urlParser) literal(text string) int {
	n := 1
	c := text[0]
	switch {
	case c == '%':
		if len(text) < 3 || decodePercent(text[:3]) == text[:3] {
			p.check.fail(p.path, ruleURLCharacter, "%")
			return 0
		}
		n = 3
	case !isNameByte(c) && !strings.ContainsRune("-.~!$&'()*+,;=:@/?", rune(c)):
		p.check.fail(p.path, ruleURLCharacter, string([]rune(text)[:1]))
		return 0
	}
	if p.closed {
		p.check.fail(p.path, ruleURLPlace, clip(text), "nothing but {&name} may follow {?name}, since a missing argument leaves out its pair")
		return 0
	}
	switch {
	case p.inQuery:
		p.queryLiteral(text[:n])
	case c == '/':
		p.endSegment()
		p.current = segment{}
	case c == '?':
		p.beginQuery()
		p.addQuery(queryPart{literal: "&"})
	default:
		p.current = appendLiteral(p.current, text[:n])
	}
	return n
}

func appendLiteral(s segment, text string) segment {
	if last := len(s) - 1; last >= 0 && s[last].variable == "" {
		s[last].literal += text
		return s
	}
	return append(s, urlPart{literal: text})
}

// endSegment closes the current path segment.
func (p *urlParser) endSegment() {
	if p.current == nil {
		return
	}
	if len(p.current) == 1 && p.current[0].variable == "" && climbs(p.current[0].literal) {
		p.check.fail(p.path, ruleURLSegment)
	}
	p.out.segments = append(p.out.segments, p.current)
	p.current = nil
}

func (p *urlParser) beginQuery() {
	p.endSegment()
	p.inQuery = true
}

func (p *urlParser) addQuery(q queryPart) { p.out.query = append(p.out.query, q) }

func (p *urlParser) queryLiteral(text string) {
	switch text {
	case "&":
		p.inValue = false
		p.addQuery(queryPart{literal: "&"})
		return
	case "=":
		p.inValue = true
	}
	last := len(p.out.query) - 1
	if p.out.query[last].variable != "" {
		p.addQuery(queryPart{literal: text})
		return
	}
	p.out.query[last].literal += text
}

// expression reads what stands between braces.
func (p *urlParser) expression(text string) {
	operator, names := "", text
	if text != "" && strings.ContainsRune("?&", rune(text[0])) {
		operator, names = text[:1], text[1:]
	}
	if text == "" || strings.ContainsAny(text[:1], "+#./;=,!@|") || strings.ContainsAny(names, "*:") || operator == "" && strings.Contains(names, ",") {
		p.check.fail(p.path, ruleURLOperator, clip(text))
		return
	}
	if p.misplaced(operator, text) {
		return
	}
	if operator == "?" {
		p.beginQuery()
	}
	for name := range strings.SplitSeq(names, ",") {
		if !variableName.MatchString(name) {
			p.check.fail(p.path, ruleURLVariableName, clip(text), clip(name))
			continue
		}
		p.variable(operator, name)
	}
	p.closed = p.closed || operator != ""
}

// misplaced refuses an operator where its expansion would not be a URL.
func (p *urlParser) misplaced(operator, text string) bool {
	why := ""
	switch {
	case operator == "?" && p.inQuery:
		why = "the query has begun; use {&name}"
	case operator == "&" && !p.inQuery:
		why = "the query has not begun; use {?name}"
	case operator == "" && p.closed:
		why = "nothing but {&name} may follow {?name}, since a missing argument leaves out its pair"
	case operator == "" && p.inQuery && !p.inValue:
		why = "a variable in the query is a value, behind name="
	case operator == "" && !p.inQuery && p.current == nil:
		why = "a variable in the path stands behind a slash"
	default:
		return false
	}
	p.check.fail(p.path, ruleURLPlace, "{"+clip(text)+"}", why)
	return true
}

func (p *urlParser) variable(operator, name string) {
	if !slices.Contains(p.out.names, name) {
		p.out.names = append(p.out.names, name)
	}
	if p.schema != nil && p.schema.property(name) == nil {
		p.check.fail(p.path, ruleURLUnknown, name)
		return
	}
	switch {
	case operator != "":
		p.parameter(name)
		p.addQuery(queryPart{variable: name, pair: true})
	case p.inQuery:
		p.addQuery(queryPart{variable: name})
	default:
		if p.schema != nil && !p.schema.requires(name) {
			p.check.fail(p.path, ruleURLOptional, name)
		}
		p.current = append(p.current, urlPart{variable: name})
	}
}

// parameter notes the name of a query parameter.
func (p *urlParser) parameter(name string) {
	if slices.Contains(p.seen, name) {
		p.check.fail(p.path, ruleURLRepeated, clip(name))
		return
	}
	p.seen = append(p.seen, name)
}

// literalNames notes the parameters that are written out.
func (p *urlParser) literalNames() {
	for _, q := range p.out.query {
		if text, ok := strings.CutPrefix(q.literal, "&"); ok {
			if name, _, _ := strings.Cut(text, "="); name != "" {
				p.parameter(decodePercent(name))
			}
		}
	}
}

// sets reports whether the URL sets a query parameter itself.
func (t *URLTemplate) sets(name string) bool {
	return slices.ContainsFunc(t.query, func(q queryPart) bool {
		if q.pair {
			return q.variable == name
		}
		text, ok := strings.CutPrefix(q.literal, "&")
		literal, _, _ := strings.Cut(text, "=")
		return ok && decodePercent(literal) == name
	})
}

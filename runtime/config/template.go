// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Template is text with ${...} expressions in CEL over arguments and principal;
// $${ stands for a literal ${. It is immutable and safe for concurrent use.
type Template struct {
	// constant is the text of a template without expressions.
	constant string
	parts    []part
}

// part is literal text or an expression.
type part struct {
	literal    string
	expression *expression
}

// EvalError says that an expression could not be evaluated for these arguments.
type EvalError struct {
	// Expression is its source.
	Expression string
	Err        error
}

// Error names the expression and the reason. The reason may quote names of
// arguments, never their values.
func (e *EvalError) Error() string {
	return fmt.Sprintf("failed to evaluate ${%s}: %v", e.Expression, e.Err)
}

// Unwrap returns the reason.
func (e *EvalError) Unwrap() error { return e.Err }

// Constant reports whether the template has no expressions.
func (t *Template) Constant() bool { return t.parts == nil }

// whole returns the expression of a template that is nothing else; else nil.
func (t *Template) whole() *expression {
	if len(t.parts) == 1 {
		return t.parts[0].expression
	}
	return nil
}

// Eval returns the text. present is false, and value empty, if the template is
// one expression and nothing else, and its value is an empty optional; an empty
// optional amid other text is an empty string. Strings come out as they are,
// booleans, numbers, null, lists and maps as JSON. The error is an *EvalError.
// A constant template does not allocate.
func (t *Template) Eval(v Vars) (value string, present bool, err error) {
	if t.parts == nil {
		return t.constant, true, nil
	}
	if e := t.whole(); e != nil {
		return e.text(v)
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.expression == nil {
			b.WriteString(p.literal)
			continue
		}
		text, _, err := p.expression.text(v)
		if err != nil {
			return "", false, err
		}
		b.WriteString(text)
	}
	return b.String(), true, nil
}

// compileTemplate compiles the template at path; nil after it reported an error.
func (c *checker) compileTemplate(path, text string) *Template {
	if !strings.Contains(text, "${") {
		return &Template{constant: text}
	}
	before := len(c.errs)
	t := &Template{}
	var literal strings.Builder
	flush := func() {
		if literal.Len() > 0 {
			t.parts = append(t.parts, part{literal: literal.String()})
			literal.Reset()
		}
	}
	for at := 0; at < len(text); {
		rest := text[at:]
		switch {
		case strings.HasPrefix(rest, "$${"):
			literal.WriteString("${")
			at += len("$${")
		case strings.HasPrefix(rest, "${"):
			end := closingBrace(rest[2:])
			if end < 0 {
				c.fail(path, ruleTemplateOpen, column(text, at))
				return nil
			}
			flush()
			t.parts = append(t.parts, part{expression: c.compileExpression(path, text, at+2, at+2+end)})
			at += 2 + end + 1
		default:
			literal.WriteByte(rest[0])
			at++
		}
	}
	flush()
	if len(c.errs) > before {
		return nil
	}
	if len(t.parts) == 1 && t.parts[0].expression == nil {
		return &Template{constant: t.parts[0].literal}
	}
	return t
}

// column counts characters from 1.
func column(text string, offset int) int { return utf8.RuneCountInString(text[:offset]) + 1 }

// closingBrace returns the offset of the brace that closes an expression, or
// -1. Braces inside of CEL's strings and comments do not count, nor do those of
// maps.
func closingBrace(text string) int {
	depth := 0
	for at := 0; at < len(text); {
		switch c := text[at]; {
		case c == '"' || c == '\'':
			at = skipString(text, at)
		case strings.HasPrefix(text[at:], "//"):
			end := strings.IndexByte(text[at:], '\n')
			if end < 0 {
				return -1
			}
			at += end
		case c == '{':
			depth++
			at++
		case c == '}':
			if depth == 0 {
				return at
			}
			depth--
			at++
		default:
			at++
		}
	}
	return -1
}

// skipString returns the offset behind the CEL string literal that begins at
// quote, or the end of text if it is not closed.
func skipString(text string, quote int) int {
	raw := rawPrefix(text, quote)
	mark := text[quote : quote+1]
	if triple := strings.Repeat(mark, 3); strings.HasPrefix(text[quote:], triple) {
		mark = triple
	}
	for at := quote + len(mark); at < len(text); at++ {
		switch {
		case text[at] == '\\' && !raw:
			at++
		case strings.HasPrefix(text[at:], mark):
			return at + len(mark)
		}
	}
	return len(text)
}

// rawPrefix reports whether the quote has a prefix of r or R, alone or with b
// or B, that is not the end of a longer name.
func rawPrefix(text string, quote int) bool {
	start := quote
	for start > 0 && isNameByte(text[start-1]) {
		start--
	}
	switch strings.ToLower(text[start:quote]) {
	case "r", "br", "rb":
		return true
	default:
		return false
	}
}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	celast "cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/ext"
)

// Bounds of one expression. The cost counts CEL's own units, about one for each
// step and a tenth for each character that is read or copied: a million of them
// take about 0.1 s.
const (
	maxExpressionSize  = 4096
	maxExpressionDepth = 64
	maxExpressionCost  = 1_000_000
	maxRegexpProgram   = 10_000
)

// environment is built once: it takes milliseconds.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		cel.OptionalTypes(),
		ext.Strings(ext.StringsVersion(5)),
		cel.Variable("arguments", cel.MapType(cel.StringType, cel.DynType)),
		cel.Variable("principal.subject", cel.StringType),
		cel.Variable("principal.roles", cel.ListType(cel.StringType)),
		cel.ParserExpressionSizeLimit(maxExpressionSize),
		cel.ParserRecursionLimit(maxExpressionDepth),
		cel.RegexProgramSizeLimit(maxRegexpProgram),
	)
})

// expression is a compiled CEL expression.
type expression struct {
	source  string
	program cel.Program
	// argument is set if the source is arguments.NAME and nothing else: most are.
	argument string
}

// compileExpression compiles text[from:to]; nil after it reported an error.
func (c *checker) compileExpression(path, text string, from, to int) *expression {
	source := text[from:to]
	if strings.TrimSpace(source) == "" {
		c.fail(path, ruleTemplateEmpty, column(text, from-2))
		return nil
	}
	env, err := environment()
	if err != nil {
		c.fail(path, ruleExpression, position(text, from, 1, 0), oneLine(err))
		return nil
	}
	checked, issues := env.Compile(source)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		where := position(text, from, first.Location.Line(), first.Location.Column())
		c.fail(path, ruleExpression, where, shorten(first.Message))
		return nil
	}
	if checked.OutputType().IsExactType(cel.BytesType) {
		c.fail(path, ruleExpressionBytes, column(text, from))
		return nil
	}
	if !c.knownArguments(path, text, from, checked) {
		return nil
	}
	program, err := env.Program(checked, cel.CostLimit(maxExpressionCost), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		c.fail(path, ruleExpression, position(text, from, 1, 0), oneLine(err))
		return nil
	}
	return &expression{source: source, program: program, argument: wholeArgument(checked.NativeRep().Expr())}
}

// knownArguments refuses names that no valid arguments can have.
func (c *checker) knownArguments(path, text string, from int, checked *cel.Ast) bool {
	if c.input == nil || !c.input.closed() {
		return true
	}
	ok := true
	celast.PreOrderVisit(checked.NativeRep().Expr(), celast.NewExprVisitor(func(e celast.Expr) {
		name, isArgument := argumentName(e)
		if isArgument && c.input.property(name) == nil {
			c.fail(path, ruleExpressionUnknown, column(text, from), clip(name))
			ok = false
		}
	}))
	return ok
}

// wholeArgument is the name in arguments.NAME; empty for all else.
func wholeArgument(e celast.Expr) string {
	if e.Kind() != celast.SelectKind || e.AsSelect().IsTestOnly() {
		return ""
	}
	name, _ := argumentName(e)
	return name
}

// plain gives an argument that is a string without CEL, which gives the same.
func (e *expression) plain(v Vars) (text string, ok bool) {
	if e.argument == "" {
		return "", false
	}
	text, ok = v.Arguments[e.argument].(string)
	return text, ok
}

// argumentName reads arguments.name, arguments["name"] and their optional forms.
func argumentName(e celast.Expr) (name string, ok bool) {
	isArguments := func(e celast.Expr) bool { return e.Kind() == celast.IdentKind && e.AsIdent() == "arguments" }
	switch e.Kind() {
	case celast.SelectKind:
		s := e.AsSelect()
		return s.FieldName(), isArguments(s.Operand())
	case celast.CallKind:
		args := e.AsCall().Args()
		switch e.AsCall().FunctionName() {
		case operators.Index, operators.OptIndex, operators.OptSelect:
			if isArguments(args[0]) && args[1].Kind() == celast.LiteralKind {
				literal, isString := args[1].AsLiteral().(types.String)
				return string(literal), isString
			}
		}
	default:
		// No other kind names an argument.
	}
	return "", false
}

// position turns a place in an expression, a line from 1 and a column from 0,
// into one in its template.
func position(text string, from, line, col int) string {
	before := text[:from]
	if line <= 1 {
		if nl := strings.LastIndexByte(before, '\n'); nl >= 0 {
			col += column(before[nl+1:], len(before)-nl-1)
		} else {
			col += column(before, from)
		}
	} else {
		col++
	}
	if line = strings.Count(before, "\n") + max(line, 1); line > 1 {
		return fmt.Sprintf("line %d, column %d", line, col)
	}
	return fmt.Sprintf("column %d", col)
}

// shorten leaves out of CEL's message what only a grammarian wants to know, and
// adds what a template can use.
func shorten(message string) string {
	message = strings.Join(strings.Fields(message), " ")
	if before, _, ok := strings.Cut(message, " expecting "); ok {
		message = before
	}
	if strings.HasPrefix(message, "undeclared reference") && !strings.Contains(message, "did you mean") {
		message += " (there are arguments, principal.subject and principal.roles)"
	}
	return message
}

// activation gives an expression its variables without a map.
type activation struct{ vars Vars }

// ResolveName implements cel.Activation.
func (a *activation) ResolveName(name string) (any, bool) {
	switch name {
	case "arguments":
		if a.vars.Arguments == nil {
			return map[string]any{}, true
		}
		return a.vars.Arguments, true
	case "principal.subject":
		return a.vars.Principal.Subject, true
	case "principal.roles":
		if a.vars.Principal.Roles == nil {
			return []string{}, true
		}
		return a.vars.Principal.Roles, true
	default:
		return nil, false
	}
}

// Parent implements cel.Activation.
func (a *activation) Parent() cel.Activation { return nil }

// value evaluates the expression. present is false for an empty optional.
func (e *expression) value(v Vars) (value ref.Val, present bool, err error) {
	out, _, err := e.program.Eval(&activation{v})
	if err != nil {
		return nil, false, &EvalError{Expression: e.source, Err: explain(err)}
	}
	for {
		optional, ok := out.(*types.Optional)
		if !ok {
			return out, true, nil
		}
		if !optional.HasValue() {
			return nil, false, nil
		}
		out = optional.GetValue()
	}
}

// explain rewrites the commonest failure into advice.
func explain(err error) error {
	text := oneLine(err)
	if name, ok := strings.CutPrefix(text, "no such key: "); ok {
		return fmt.Errorf("there is no %q; for an optional one write arguments.?%s", clip(name), clip(name))
	}
	return errors.New(clip(text))
}

// text evaluates the expression to text.
func (e *expression) text(v Vars) (text string, present bool, err error) {
	if text, ok := e.plain(v); ok {
		return text, true, nil
	}
	value, present, err := e.value(v)
	if err != nil || !present {
		return "", false, err
	}
	if s, ok := value.(types.String); ok {
		return string(s), true, nil
	}
	out, err := appendCEL(nil, value, 0)
	if err != nil {
		return "", false, &EvalError{Expression: e.source, Err: err}
	}
	return string(out), true, nil
}

// appendCEL writes a CEL value as JSON with sorted names.
func appendCEL(b []byte, value ref.Val, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, errTooDeep
	}
	switch v := value.(type) {
	case types.String:
		return appendString(b, string(v))
	case types.Bool:
		return appendValue(b, bool(v))
	case types.Int:
		return appendValue(b, int64(v))
	case types.Uint:
		return fmt.Appendf(b, "%d", uint64(v)), nil
	case types.Double:
		return appendFloat(b, float64(v))
	case types.Null:
		return append(b, "null"...), nil
	case *types.Optional:
		if !v.HasValue() {
			return append(b, "null"...), nil
		}
		return appendCEL(b, v.GetValue(), depth+1)
	case traits.Mapper:
		return appendMap(b, v, depth)
	case traits.Lister:
		return appendList(b, v, depth)
	default:
		return nil, fmt.Errorf("a value of type %s has no JSON form: convert it with string(...)", value.Type().TypeName())
	}
}

func appendList(b []byte, v traits.Lister, depth int) ([]byte, error) {
	b = append(b, '[')
	for it, first := v.Iterator(), true; it.HasNext() == types.True; first = false {
		if !first {
			b = append(b, ',')
		}
		var err error
		if b, err = appendCEL(b, it.Next(), depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

func appendMap(b []byte, v traits.Mapper, depth int) ([]byte, error) {
	if object, ok := v.Value().(map[string]any); ok {
		return appendObject(b, object)
	}
	members := map[string]ref.Val{}
	for it := v.Iterator(); it.HasNext() == types.True; {
		key := it.Next()
		name, ok := key.(types.String)
		if !ok {
			return nil, fmt.Errorf("a map with a key of type %s has no JSON form: use strings as keys", key.Type().TypeName())
		}
		members[string(name)] = v.Get(key)
	}
	b = append(b, '{')
	for i, name := range sortedKeys(members) {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendString(b, name); err != nil {
			return nil, err
		}
		if b, err = appendCEL(append(b, ':'), members[name], depth+1); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

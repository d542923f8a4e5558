// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package status asks the judges of others what they make of an MCPServer's
// status: kstatus, and Argo CD by the health script of the guide. It is a module
// of its own, so that the product does not depend on them.
package status

import (
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	lua "github.com/yuin/gopher-lua"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// generation is that of every object.
const generation = 7

// state is one line of testdata/states.yaml.
type state struct {
	Name       string   `json:"name"`
	Conditions []string `json:"conditions"`
	Observed   *int64   `json:"observed"`
	Deleted    bool     `json:"deleted"`
	Kstatus    string   `json:"kstatus"`
	Argo       string   `json:"argo"`
}

func states(t *testing.T) []state {
	t.Helper()
	data, err := os.ReadFile("testdata/states.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []state
	if err := yaml.UnmarshalStrict(data, &all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("no states")
	}
	return all
}

// object is the MCPServer in this state, as the API server returns it.
func (s state) object(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	server := fairleadv1alpha1.MCPServer{
		TypeMeta:   metav1.TypeMeta{APIVersion: fairleadv1alpha1.GroupVersion.String(), Kind: "MCPServer"},
		ObjectMeta: metav1.ObjectMeta{Name: "orders", Namespace: "shop", Generation: generation},
	}
	server.Status.ObservedGeneration = generation
	if s.Observed != nil {
		server.Status.ObservedGeneration = *s.Observed
	}
	if s.Deleted {
		server.DeletionTimestamp = new(metav1.Now())
	}
	for _, text := range s.Conditions {
		kind, rest, ok := strings.Cut(text, "=")
		value, reason, also := strings.Cut(rest, "/")
		if !ok || !also {
			t.Fatalf("%q is not type=status/reason", text)
		}
		server.Status.Conditions = append(server.Status.Conditions, metav1.Condition{
			Type: kind, Status: metav1.ConditionStatus(value), Reason: reason, Message: "about " + reason,
			ObservedGeneration: server.Status.ObservedGeneration, LastTransitionTime: metav1.Now(),
		})
	}
	data, err := json.Marshal(server)
	if err != nil {
		t.Fatal(err)
	}
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(data); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestKstatus(t *testing.T) {
	t.Parallel()
	for _, s := range states(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			got, err := status.Compute(s.object(t))
			if err != nil {
				t.Fatal(err)
			}
			if got.Status.String() != s.Kstatus {
				t.Errorf("kstatus is %s, want %s (%s)", got.Status, s.Kstatus, got.Message)
			}
		})
	}
}

func TestArgoCD(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile("../../docs/guides/argocd/health.lua")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states(t) {
		t.Run(s.Name, func(t *testing.T) {
			t.Parallel()
			health, message, err := judge(string(script), s.object(t).Object)
			if err != nil {
				t.Fatal(err)
			}
			if health != s.Argo || message == "" {
				t.Errorf("health is %s (%q), want %s", health, message, s.Argo)
			}
		})
	}
}

// judge runs a script as Argo CD does: the base library and tables only, the
// object in obj, the health in what it returns (argo-cd, util/lua/lua.go).
func judge(script string, object map[string]any) (health, message string, err error) {
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable, lua.StringLibName: lua.OpenString,
	} {
		if err := l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			return "", "", err
		}
	}
	l.SetGlobal("obj", value(l, object))
	if err := l.DoString(script); err != nil {
		return "", "", err
	}
	result, ok := l.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("the script returns %s", l.Get(-1).Type())
	}
	return lua.LVAsString(result.RawGetString("status")), lua.LVAsString(result.RawGetString("message")), nil
}

// value makes decoded JSON a value of Lua.
func value(l *lua.LState, v any) lua.LValue {
	switch v := v.(type) {
	case map[string]any:
		table := l.NewTable()
		for key, inner := range v {
			table.RawSetString(key, value(l, inner))
		}
		return table
	case []any:
		table := l.NewTable()
		for _, inner := range v {
			table.Append(value(l, inner))
		}
		return table
	case string:
		return lua.LString(v)
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	}
	return lua.LNil
}

// Every reason that a condition can carry is in the table, so that a new one
// gets a verdict.
func TestEveryReasonIsJudged(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "../../api/v1alpha1/conditions.go", nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var judged []string
	for _, s := range states(t) {
		for _, text := range s.Conditions {
			kind, rest, _ := strings.Cut(text, "=")
			_, reason, _ := strings.Cut(rest, "/")
			judged = append(judged, kind, reason)
		}
	}
	ast.Inspect(file, func(node ast.Node) bool {
		spec, ok := node.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, name := range spec.Names {
			literal, ok := spec.Values[i].(*ast.BasicLit)
			if !ok || (!strings.HasPrefix(name.Name, "Reason") && !strings.HasPrefix(name.Name, "Condition")) {
				continue
			}
			text, err := strconv.Unquote(literal.Value)
			if err != nil || !slices.Contains(judged, text) {
				t.Errorf("testdata/states.yaml has no state with %s (%s): %v", text, name.Name, err)
			}
		}
		return false
	})
}

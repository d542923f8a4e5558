// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package config

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	jsonexp "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"sigs.k8s.io/yaml"
)

// maxInput bounds what Decode reads: no ConfigMap holds more than 1 MiB.
const maxInput = 1 << 20

// OldestContract is the oldest version of server.yaml that this code reads and
// writes.
const OldestContract = max(1, ContractVersion-1)

// Decode reads one server.yaml, YAML or JSON, of at most 1 MiB. It accepts the
// contract of this code and the one before; within its own, a field that it
// does not know is an error. Names are case-sensitive, duplicates are errors. A
// revision that is not the hash of the rest is an error, since the file was
// then changed by hand or cut. Values are checked by Compile. The error is an
// Errors.
func Decode(data []byte) (*Server, error) {
	if len(data) > maxInput {
		return nil, one("", ruleInputSize.sprintf(len(data), maxInput), ruleInputSize)
	}
	text, err := toJSON(data)
	if err != nil {
		return nil, one("", ruleSyntax.sprintf(oneLine(err)), ruleSyntax)
	}
	var head struct {
		Contract int `json:"contract"`
	}
	if err := jsonexp.Unmarshal(text, &head); err != nil {
		return nil, decodeError(err)
	}
	if head.Contract < OldestContract || head.Contract > ContractVersion {
		return nil, one("contract", ruleContract.sprintf(head.Contract, OldestContract, ContractVersion), ruleContract)
	}
	s := &Server{}
	strict := jsonexp.RejectUnknownMembers(head.Contract == ContractVersion)
	if err := jsonexp.Unmarshal(text, s, strict); err != nil {
		return nil, decodeError(err)
	}
	if s.Revision != "" && s.Contract == ContractVersion {
		if want := s.Hash(); s.Revision != want {
			return nil, one("revision", ruleRevision.sprintf(s.Revision, want), ruleRevision)
		}
	}
	return s, nil
}

// toJSON leaves JSON as it is, since YAML readers take issue with tabs in it.
func toJSON(data []byte) ([]byte, error) {
	if trimmed := bytes.TrimLeft(data, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		if v := jsontext.Value(trimmed); v.IsValid() {
			return trimmed, nil
		}
	}
	return yaml.YAMLToJSONStrict(data)
}

// decodeError names the field that could not be read.
func decodeError(err error) error {
	var semantic *jsonexp.SemanticError
	if !errors.As(err, &semantic) {
		return one("", ruleSyntax.sprintf(oneLine(err)), ruleSyntax)
	}
	path := pointerPath(string(semantic.JSONPointer))
	switch {
	case errors.Is(err, jsonexp.ErrUnknownName):
		return one(path, ruleUnknownField.sprintf(), ruleUnknownField)
	case errors.Is(err, errNotDuration):
		return one(path, ruleDuration.sprintf(), ruleDuration)
	default:
		return one(path, ruleType.sprintf(kindName(semantic.JSONKind), wanted(semantic.GoType)), ruleType)
	}
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number of this kind"
	case '{':
		return "an object"
	case '[':
		return "a list"
	default:
		return "this value"
	}
}

func wanted(t reflect.Type) string {
	for t != nil && t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t == nil {
		return "another kind"
	}
	switch t.Kind() {
	case reflect.Int, reflect.Int64:
		return "a whole number"
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	default:
		return "an object"
	}
}

// pointerPath turns /tools/0/http/url into tools[0].http.url.
func pointerPath(pointer string) string {
	path := ""
	for token := range jsontext.Pointer(pointer).Tokens() {
		if i, err := strconv.Atoi(token); err == nil {
			path = index(path, i)
		} else {
			path = member(path, token)
		}
	}
	return path
}

// Hash returns 16 hex digits of SHA-256 over everything but Revision. Key order
// and number forms inside of schemas do not matter; the text of inputSchemaJSON
// does.
func (s *Server) Hash() string { return s.HashFor(ContractVersion) }

// HashFor is Hash as code of another contract version computes it.
func (s *Server) HashFor(contract int) string {
	c := *s
	c.Contract = contract
	c.Revision = ""
	return hashJSON(&c)
}

// hashJSON hashes the canonical form of v's JSON. What cannot be canonical JSON,
// such as a raw schema with duplicate names, is hashed as it is: Compile
// refuses it.
func hashJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		text = fmt.Appendf(nil, "%+v", v)
	} else if value, err := DecodeValue(text); err == nil {
		if canonical, err := EncodeValue(value); err == nil {
			text = canonical
		}
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Encode returns s as YAML with Contract and Revision set, or a *TooLargeError
// above MaxSize. s is not changed.
func (s *Server) Encode() ([]byte, error) { return s.EncodeFor(ContractVersion) }

// EncodeFor is Encode for pods that read another contract version, from
// OldestContract to ContractVersion; any other is an error.
func (s *Server) EncodeFor(contract int) ([]byte, error) {
	if contract < OldestContract || contract > ContractVersion {
		return nil, fmt.Errorf("failed to encode server %q: contract %d is not one of %d to %d", s.Name, contract, OldestContract, ContractVersion)
	}
	c := *s
	c.Contract = contract
	c.Revision = s.HashFor(contract)
	text, err := json.Marshal(&c)
	if err != nil {
		return nil, fmt.Errorf("failed to encode server %q: %w", s.Name, err)
	}
	out, err := yaml.JSONToYAML(text)
	if err != nil {
		return nil, fmt.Errorf("failed to encode server %q: %w", s.Name, err)
	}
	if len(out) > MaxSize {
		return nil, &TooLargeError{Size: len(out), Limit: MaxSize, Largest: s.largest()}
	}
	return out, nil
}

// largest names the three largest tools.
func (s *Server) largest() []string {
	type sized struct {
		name string
		size int
	}
	all := make([]sized, 0, len(s.Tools))
	for i := range s.Tools {
		text, err := json.Marshal(&s.Tools[i])
		if err != nil {
			continue
		}
		all = append(all, sized{s.Tools[i].Name, len(text)})
	}
	slices.SortStableFunc(all, func(a, b sized) int { return cmp.Compare(b.size, a.size) })
	var names []string
	for _, t := range all[:min(3, len(all))] {
		names = append(names, fmt.Sprintf("%q (%d KiB)", t.name, (t.size+1023)/1024))
	}
	return names
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

package arguments_test

import (
	"encoding/json"
	"testing"

	"fairlead.dev/fairlead/kubectl-fairlead/internal/arguments"
)

const schema = `{"type":"object","properties":{
	"text":{"type":"string"}, "count":{"type":"integer"}, "price":{"type":"number"}, "on":{"type":"boolean"},
	"tags":{"type":"array"}, "where":{"type":"object"}, "maybe":{"type":["integer","null"]}, "any":{},
	"mixed":{"type":["string","integer"]}, "state":{"enum":["1","2"]}
}}`

func TestParse(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		base  map[string]any
		pairs []string
		want  string
		err   string
	}{
		{name: "nothing", want: `{}`},
		{name: "a string that looks like a number", pairs: []string{"text=5"}, want: `{"text":"5"}`},
		{name: "a string with signs", pairs: []string{"text=a=b, {c}"}, want: `{"text":"a=b, {c}"}`},
		{name: "an empty string", pairs: []string{"text="}, want: `{"text":""}`},
		{name: "an integer", pairs: []string{"count=-7"}, want: `{"count":-7}`},
		{name: "a large integer keeps its digits", pairs: []string{"count=9007199254740993"}, want: `{"count":9007199254740993}`},
		{name: "no integer", pairs: []string{"count=7.5"}, err: "the argument count=7.5 is not an integer"},
		{name: "a number", pairs: []string{"price=1e3"}, want: `{"price":1e3}`},
		{name: "no number", pairs: []string{"price=cheap"}, err: "the argument price=cheap is not a number"},
		{name: "no number in quotes", pairs: []string{`price="1"`}, err: `the argument price="1" is not a number`},
		{name: "no number at all", pairs: []string{`price=`}, err: `the argument price= is not a number`},
		{name: "a boolean", pairs: []string{"on=true"}, want: `{"on":true}`},
		{name: "no boolean", pairs: []string{"on=yes"}, err: "the argument on=yes is not true or false"},
		{name: "an array", pairs: []string{`tags=["a", 1]`}, want: `{"tags":["a",1]}`},
		{name: "no array", pairs: []string{"tags=a,b"}, err: "the argument tags=a,b is not a JSON array"},
		{name: "an object", pairs: []string{`where={"a":{}}`}, want: `{"where":{"a":{}}}`},
		{name: "a broken object", pairs: []string{`where={"a":}`}, err: `the argument where={"a":} is not a JSON object`},
		{name: "null where it fits", pairs: []string{"maybe=null"}, want: `{"maybe":null}`},
		{name: "neither", pairs: []string{"maybe=x"}, err: "the argument maybe=x is not null or an integer"},
		{name: "the stricter of two types", pairs: []string{"mixed=5"}, want: `{"mixed":5}`},
		{name: "the other of two types", pairs: []string{"mixed=five"}, want: `{"mixed":"five"}`},
		{name: "an enum of strings", pairs: []string{"state=1"}, want: `{"state":"1"}`},
		{name: "no type: JSON", pairs: []string{"any=[1]"}, want: `{"any":[1]}`},
		{name: "no type: else a string", pairs: []string{"any=hello there"}, want: `{"any":"hello there"}`},
		{name: "not in the schema", pairs: []string{"other=1"}, want: `{"other":1}`},
		{name: "on top of others", base: map[string]any{"text": "a", "count": 1}, pairs: []string{"text=b"}, want: `{"count":1,"text":"b"}`},
		{name: "no pair", pairs: []string{"text"}, err: `the argument "text" is not of the form key=value`},
		{name: "no key", pairs: []string{"=x"}, err: `the argument "=x" is not of the form key=value`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := arguments.Parse(json.RawMessage(schema), tt.base, tt.pairs)
			if tt.err != "" {
				if err == nil || err.Error() != tt.err {
					t.Fatalf("Parse = %v, want %s", err, tt.err)
				}
				return
			}
			if err != nil {
				t.Fatalf("Parse: %v", err)
			}
			data, err := json.Marshal(got)
			if err != nil {
				t.Fatal(err)
			}
			if string(data) != tt.want {
				t.Errorf("Parse = %s, want %s", data, tt.want)
			}
		})
	}
}

func TestParseWithoutASchema(t *testing.T) {
	t.Parallel()
	for name, schema := range map[string]any{"nil": nil, "true": true, "array": []int{1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := arguments.Parse(schema, nil, []string{"a=1"})
			if err == nil && len(got) != 1 {
				t.Errorf("Parse = %v, want one argument or an error", got)
			}
		})
	}
}

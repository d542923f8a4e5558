// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package manifest reads files of Kubernetes objects, strictly: what the API
// server would refuse to decode is refused here too.
package manifest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
)

// maxFile bounds a file, in bytes. The API server takes at most 3 MiB for one
// object.
const maxFile = 16 << 20

// Problem is something that is wrong with a file or an object in it.
type Problem struct {
	// File is the name as the user gave it; "-" is standard input.
	File string `json:"file"`
	// Object is such as "MCPServer shop/orders"; empty for the file itself.
	Object string `json:"object,omitempty"`
	// Path is the field, such as spec.tools[0].http.url; it may be empty.
	Path string `json:"path,omitempty"`
	// Message says what is wrong.
	Message string `json:"message"`
	// Unreadable says that there is nothing to judge: no such file, or no right
	// to read it.
	Unreadable bool `json:"-"`
}

// String is "file: object: path: message" without the empty parts.
func (p Problem) String() string {
	var parts []string
	for _, part := range []string{p.File, p.Object, p.Path, p.Message} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Object is one object of a file.
type Object struct {
	File string
	unstructured.Unstructured
}

// String is the object's kind and name, such as "MCPServer shop/orders".
func (o *Object) String() string {
	name := o.GetName()
	if name == "" {
		name = "(no name)"
	}
	if ns := o.GetNamespace(); ns != "" {
		name = ns + "/" + name
	}
	return o.GetKind() + " " + name
}

// Problem makes a problem of the object.
func (o *Object) Problem(path, message string) Problem {
	return Problem{File: o.File, Object: o.String(), Path: path, Message: message}
}

// IsServer says that the object is an MCPServer of any version.
func (o *Object) IsServer() bool {
	return o.GroupVersionKind().Group == fairleadv1alpha1.GroupVersion.Group && o.GetKind() == "MCPServer"
}

// Misnamed says that the object is of our group, but of no kind that is there,
// such as one with a slip of the pen.
func (o *Object) Misnamed() bool {
	return o.GroupVersionKind().Group == fairleadv1alpha1.GroupVersion.Group && o.GetKind() != "MCPServer"
}

// Read reads the files, and those directly in folders whose names end in .yaml,
// .yml or .json; "-" is stdin. It goes on after a problem, to find all.
func Read(names []string, stdin io.Reader) (objects []*Object, problems []Problem) {
	for _, name := range names {
		files, err := expand(name)
		if err != nil {
			problems = append(problems, Problem{File: name, Message: err.Error(), Unreadable: true})
			continue
		}
		for _, file := range files {
			data, err := readFile(file, stdin)
			if err != nil {
				problems = append(problems, Problem{File: file, Message: err.Error(), Unreadable: true})
				continue
			}
			found, bad := Parse(file, data)
			objects = append(objects, found...)
			problems = append(problems, bad...)
		}
	}
	return objects, problems
}

// expand gives the files of a folder, or the name itself.
func expand(name string) ([]string, error) {
	if name == "-" {
		return []string{name}, nil
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.IsDir() {
		return []string{name}, nil
	}
	entries, err := os.ReadDir(name)
	if err != nil {
		return nil, withoutPath(err)
	}
	var files []string
	for _, entry := range entries {
		ext := filepath.Ext(entry.Name())
		if !entry.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
			files = append(files, filepath.Join(name, entry.Name()))
		}
	}
	if len(files) == 0 {
		return nil, errors.New("the folder holds no .yaml, .yml or .json file")
	}
	return files, nil
}

func readFile(name string, stdin io.Reader) ([]byte, error) {
	source := stdin
	if name != "-" {
		file, err := os.Open(name) //nolint:gosec // G304: reading the file that the user names is the purpose.
		if err != nil {
			return nil, withoutPath(err)
		}
		defer file.Close()
		source = file
	}
	data, err := io.ReadAll(io.LimitReader(source, maxFile+1))
	if err != nil {
		return nil, withoutPath(err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("the file has more than %d bytes", maxFile)
	}
	return data, nil
}

// withoutPath drops the name, which stands before the message already.
func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*os.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// Parse reads the documents of one file.
func Parse(file string, data []byte) (objects []*Object, problems []Problem) {
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	starts := documentStarts(data)
	for number := 1; ; number++ {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return objects, problems
		}
		if err != nil {
			return objects, append(problems, Problem{File: file, Message: err.Error()})
		}
		found, err := parseDocument(file, document)
		if err != nil {
			first := 0
			if number <= len(starts) {
				first = starts[number-1]
			}
			problems = append(problems, Problem{File: file, Message: fmt.Sprintf("document %d: %s", number, atLines(err.Error(), first))})
			continue
		}
		objects = append(objects, found...)
	}
}

func parseDocument(file string, document []byte) ([]*Object, error) {
	raw, err := yaml.YAMLToJSONStrict(document)
	if err != nil {
		return nil, errors.New(strings.TrimPrefix(err.Error(), "error converting YAML to JSON: "))
	}
	if string(raw) == "null" {
		return nil, nil // Only comments.
	}
	var peek struct {
		APIVersion string            `json:"apiVersion"`
		Kind       string            `json:"kind"`
		Items      []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(raw, &peek); err != nil || peek.APIVersion == "" || peek.Kind == "" {
		return nil, errors.New("this is not a Kubernetes object: it needs apiVersion and kind")
	}
	if peek.Kind != "List" || peek.APIVersion != "v1" {
		object := &Object{File: file}
		if err := object.UnmarshalJSON(raw); err != nil {
			return nil, err
		}
		return []*Object{object}, nil
	}
	var objects []*Object
	for _, item := range peek.Items {
		inner, err := parseDocument(file, item)
		if err != nil {
			return nil, err
		}
		objects = append(objects, inner...)
	}
	return objects, nil
}

// Folders gives the contents of the Secrets and ConfigMaps among the objects:
// name -> key -> value. The names are as a volume would mount them.
func Folders(objects []*Object) (map[string]map[string][]byte, []Problem) {
	folders := map[string]map[string][]byte{}
	var problems []Problem
	for _, o := range objects {
		var (
			values map[string][]byte
			err    error
		)
		switch gvk := o.GroupVersionKind(); {
		case gvk.Group != "":
			continue
		case gvk.Kind == "Secret":
			values, err = secretValues(o)
		case gvk.Kind == "ConfigMap":
			values, err = configMapValues(o)
		default:
			continue
		}
		if err == nil {
			err = checkNames(o.GetName(), values)
		}
		if err == nil && folders[o.GetName()] != nil {
			err = errors.New("another Secret or ConfigMap in the file has this name")
		}
		if err != nil {
			problems = append(problems, o.Problem("", err.Error()))
			continue
		}
		folders[o.GetName()] = values
	}
	return folders, problems
}

func secretValues(o *Object) (map[string][]byte, error) {
	secret := &corev1.Secret{}
	if err := strict(o, secret); err != nil {
		return nil, err
	}
	values := map[string][]byte{}
	maps.Copy(values, secret.Data)
	for k, v := range secret.StringData {
		values[k] = []byte(v)
	}
	return values, nil
}

func configMapValues(o *Object) (map[string][]byte, error) {
	configMap := &corev1.ConfigMap{}
	if err := strict(o, configMap); err != nil {
		return nil, err
	}
	values := map[string][]byte{}
	maps.Copy(values, configMap.BinaryData)
	for k, v := range configMap.Data {
		values[k] = []byte(v)
	}
	return values, nil
}

// strict decodes an object into its type as the API server does: names are
// case-sensitive and unknown ones refused.
func strict(o *Object, into any) error {
	raw, err := o.MarshalJSON()
	if err != nil {
		return err
	}
	unknown, err := kjson.UnmarshalStrict(raw, into)
	if err == nil && len(unknown) > 0 {
		err = errors.Join(unknown...)
	}
	return err
}

// checkNames refuses what would not stay in its folder.
func checkNames(name string, values map[string][]byte) error {
	bad := func(s string) bool {
		return s == "" || s == "." || strings.HasPrefix(s, "..") || len(s) > 253 ||
			strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._") != ""
	}
	if bad(name) {
		return fmt.Errorf("the name %q is not one of Kubernetes", name)
	}
	for key := range values {
		if bad(key) {
			return fmt.Errorf("the key %q is not one of Kubernetes", key)
		}
	}
	return nil
}

// Server decodes an MCPServer whose schema was checked.
func Server(o *Object) (*fairleadv1alpha1.MCPServer, error) {
	server := &fairleadv1alpha1.MCPServer{}
	if err := strict(o, server); err != nil {
		return nil, err
	}
	return server, nil
}

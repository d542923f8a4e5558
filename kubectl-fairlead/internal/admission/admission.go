// Copyright The Fairlead Authors.
// SPDX-License-Identifier: Apache-2.0

// Package admission judges an MCPServer as the API server and the operator do,
// without either: the same libraries run the schema and the CEL rules of the
// generated CustomResourceDefinition, and then the operator's own builders
// compile the rest.
package admission

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	fairleadv1alpha1 "fairlead.dev/fairlead/api/v1alpha1"
	"fairlead.dev/fairlead/config/crd"
	"fairlead.dev/fairlead/controllers/resources"
	"fairlead.dev/fairlead/kubectl-fairlead/internal/manifest"
	"fairlead.dev/fairlead/runtime/config"
)

// Judge holds the compiled schema and rules. It is safe for concurrent use.
type Judge struct {
	structural *schema.Structural
	values     validation.SchemaValidator
	rules      *cel.Validator
}

// New compiles the embedded CustomResourceDefinition.
func New() (*Judge, error) {
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(crd.MCPServers(), definition); err != nil {
		return nil, fmt.Errorf("failed to read the embedded CustomResourceDefinition: %w", err)
	}
	i := slices.IndexFunc(definition.Spec.Versions, func(v apiextensionsv1.CustomResourceDefinitionVersion) bool {
		return v.Name == fairleadv1alpha1.GroupVersion.Version
	})
	if i < 0 {
		return nil, fmt.Errorf("the embedded CustomResourceDefinition has no version %q", fairleadv1alpha1.GroupVersion.Version)
	}
	props := &apiextensions.JSONSchemaProps{}
	err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
		definition.Spec.Versions[i].Schema.OpenAPIV3Schema, props, nil)
	if err != nil {
		return nil, fmt.Errorf("failed to convert the schema: %w", err)
	}
	structural, err := schema.NewStructural(props)
	if err != nil {
		return nil, fmt.Errorf("failed to compile the schema: %w", err)
	}
	values, _, err := validation.NewSchemaValidator(props)
	if err != nil {
		return nil, fmt.Errorf("failed to compile the schema: %w", err)
	}
	return &Judge{
		structural: structural, values: values,
		rules: cel.NewValidator(structural, true, celconfig.PerCallLimit),
	}, nil
}

// Verdict is what became of one MCPServer.
type Verdict struct {
	// Server and Objects are set when there are no problems.
	Server  *fairleadv1alpha1.MCPServer
	Objects *resources.Objects
	// Problems are in the order of the fields.
	Problems []manifest.Problem
}

// Server judges one object. The schema comes first, as at the API server: what
// it refuses is not compiled.
func (j *Judge) Server(ctx context.Context, o *manifest.Object, defaults resources.Defaults) Verdict {
	server, problems := j.Schema(ctx, o)
	if len(problems) > 0 {
		return Verdict{Problems: problems}
	}
	objects, err := resources.Build(resources.Input{Server: server, Defaults: defaults})
	if err != nil {
		return Verdict{Problems: CompileProblems(o, err)}
	}
	for _, e := range podProblems(server.Spec.Pod) {
		problems = append(problems, o.Problem(e.Field, e.ErrorBody()))
	}
	if len(problems) > 0 {
		return Verdict{Problems: problems}
	}
	return Verdict{Server: server, Objects: objects}
}

// Schema judges one object as the API server does, and no further.
func (j *Judge) Schema(ctx context.Context, o *manifest.Object) (*fairleadv1alpha1.MCPServer, []manifest.Problem) {
	if got := o.GetAPIVersion(); got != fairleadv1alpha1.GroupVersion.String() {
		return nil, []manifest.Problem{o.Problem("apiVersion", fmt.Sprintf("%s is unknown: use %s", got, fairleadv1alpha1.GroupVersion))}
	}
	if problems := j.schema(ctx, o); len(problems) > 0 {
		return nil, problems
	}
	server, err := manifest.Server(o)
	if err != nil {
		return nil, []manifest.Problem{o.Problem("", err.Error())}
	}
	return server, nil
}

// schema does what the API server does on create, in its order.
func (j *Judge) schema(ctx context.Context, o *manifest.Object) []manifest.Problem {
	object := o.DeepCopy().Object
	// Nobody but the operator writes it, and the API server drops it.
	delete(object, "status")
	defaulting.Default(object, j.structural)
	unknown := pruning.PruneWithOptions(object, j.structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
	slices.Sort(unknown)
	var problems []manifest.Problem
	for _, path := range unknown {
		problems = append(problems, o.Problem(path, "unknown field"))
	}
	if o.GetName() == "" && o.GetGenerateName() == "" {
		problems = append(problems, o.Problem("metadata.name", "Required value"))
	}
	errs := validation.ValidateCustomResource(nil, object, j.values)
	errs = append(errs, listtype.ValidateListSetsAndMaps(nil, j.structural, object)...)
	if !blocking(errs) {
		ruleErrs, _ := j.rules.Validate(ctx, nil, j.structural, object, nil, celconfig.RuntimeCELCostBudget)
		errs = append(errs, ruleErrs...)
	}
	for _, e := range errs {
		problems = append(problems, o.Problem(strings.TrimPrefix(e.Field, "<nil>"), e.ErrorBody()))
	}
	return problems
}

// blocking says that CEL rules cannot be run: they rely on the types.
func blocking(errs field.ErrorList) bool {
	return slices.ContainsFunc(errs, func(e *field.Error) bool {
		switch e.Type { //nolint:exhaustive // The others leave the types whole.
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return true
		}
		return false
	})
}

// CompileProblems turns the error of a compilation into problems: what the
// operator reports as Accepted=False. Paths of the contract become those of the
// object.
func CompileProblems(o *manifest.Object, err error) []manifest.Problem {
	if large, ok := errors.AsType[*config.TooLargeError](err); ok {
		return []manifest.Problem{o.Problem("spec.tools", large.Error())}
	}
	var problems []manifest.Problem
	if invalid, ok := errors.AsType[*resources.InvalidSpecError](err); ok {
		for _, f := range invalid.Fields {
			problems = append(problems, o.Problem(f.Path, withAct(f.Message)))
		}
		return problems
	}
	if fields, ok := errors.AsType[config.Errors](err); ok {
		for _, f := range fields {
			problems = append(problems, o.Problem(strings.TrimSuffix("spec."+f.Path, "."), f.Message))
		}
		return problems
	}
	return []manifest.Problem{o.Problem("spec", err.Error())}
}

// withAct adds what can be done about a backend on this machine: who tries a
// server out meets this refusal first.
func withAct(message string) string {
	if strings.Contains(message, "this machine (loopback)") {
		return message + ": name a Service of the cluster; only `kubectl fairlead serve` lets tools call this machine"
	}
	return message
}

package schematest

import (
	"encoding/json"
	"strings"
)

// Rules lists the rules of a CRD's openAPIV3Schema, which is JSON, as the keys of
// [Cases] without the resource. What is within a condition is Kubernetes' own.
func Rules(openAPIV3Schema []byte) ([]string, error) {
	var root schema
	if err := json.Unmarshal(openAPIV3Schema, &root); err != nil {
		return nil, err
	}
	var rules []string
	root.walk("", func(path, rule string) { rules = append(rules, path+" "+rule) })
	return rules, nil
}

// schema is the part of a CRD's schema that may refuse a value.
type schema struct {
	Properties  map[string]schema `json:"properties"`
	Items       *schema           `json:"items"`
	Validations []struct {
		Message string `json:"message"`
	} `json:"x-kubernetes-validations"`
	MinLength *int     `json:"minLength"`
	MaxLength *int     `json:"maxLength"`
	MinItems  *int     `json:"minItems"`
	MaxItems  *int     `json:"maxItems"`
	Minimum   *float64 `json:"minimum"`
	Maximum   *float64 `json:"maximum"`
	Pattern   string   `json:"pattern"`
	Enum      []any    `json:"enum"`
}

func (s *schema) walk(path string, found func(path, rule string)) {
	for name, present := range map[string]bool{
		"minLength": s.MinLength != nil, "maxLength": s.MaxLength != nil, "minItems": s.MinItems != nil, "maxItems": s.MaxItems != nil,
		"minimum": s.Minimum != nil, "maximum": s.Maximum != nil, "pattern": s.Pattern != "", "enum": len(s.Enum) > 0,
	} {
		if present {
			found(path, name)
		}
	}
	for _, v := range s.Validations {
		found(path, v.Message)
	}
	if s.Items != nil && path != "status.conditions" {
		s.Items.walk(path+"[]", found)
	}
	for name, property := range s.Properties {
		property.walk(strings.TrimPrefix(path+"."+name, "."), found)
	}
}

package metallb

import (
	"cmp"
	"slices"
)

// Outcome says what becomes of a field.
type Outcome string

// What becomes of a field.
const (
	// Exact is carried over and means the same, though it may be written otherwise.
	Exact Outcome = "Exact"
	// Differs is carried over, and does something else in some case.
	Differs Outcome = "Differs"
	// Lost cannot be carried over.
	Lost Outcome = "Lost"
)

// Finding says what becomes of a field of an object.
type Finding struct {
	Outcome Outcome `json:"outcome"`
	Kind    string  `json:"kind"`
	// Name of the object; namespace/name for a Service or a ConfigMap.
	Name  string `json:"name"`
	Field string `json:"field"`
	// Message says in words what differs, or why it cannot be carried over.
	Message string `json:"message,omitempty"`
}

// SortFindings by kind, name and field.
func SortFindings(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Field, b.Field))
	})
}

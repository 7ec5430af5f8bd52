package kube

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// CRDs installs, upgrades and deletes CustomResourceDefinitions.
type CRDs struct {
	client    dynamic.ResourceInterface
	documents []*unstructured.Unstructured
}

// crdFieldManager is that of the definitions. What others once wrote of them,
// Helm or kubectl, becomes ours with the first apply.
const crdFieldManager = "baliza-crds"

// crdPeriod is how often a definition is looked at while its kind is not served.
const crdPeriod = 100 * time.Millisecond

// NewCRDs takes the definitions as YAML documents.
func NewCRDs(client dynamic.Interface, documents [][]byte) (*CRDs, error) {
	c := &CRDs{client: client.Resource(crdResource())}
	for _, document := range documents {
		crd := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &crd.Object); err != nil {
			return nil, fmt.Errorf("CRD: %w", err)
		}
		if crd.GetKind() != "CustomResourceDefinition" || crd.GetName() == "" {
			return nil, fmt.Errorf("not a CustomResourceDefinition: %s %q", crd.GetKind(), crd.GetName())
		}
		c.documents = append(c.documents, crd)
	}
	return c, nil
}

func crdResource() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}
}

// Apply makes the API server have these definitions, and waits until it serves
// the kinds. applied is called with the name of each that is done.
func (c *CRDs) Apply(ctx context.Context, applied func(name string)) error {
	for _, crd := range c.documents {
		options := metav1.ApplyOptions{FieldManager: crdFieldManager, Force: true}
		if _, err := c.client.Apply(ctx, crd.GetName(), crd, options); err != nil {
			return fmt.Errorf("applying CRD %s: %w", crd.GetName(), err)
		}
	}
	for _, crd := range c.documents {
		name := crd.GetName()
		err := wait.PollUntilContextCancel(ctx, crdPeriod, true, func(ctx context.Context) (bool, error) {
			live, err := c.client.Get(ctx, name, metav1.GetOptions{})
			return err == nil && established(live), err
		})
		if err != nil {
			return fmt.Errorf("waiting for the kind of CRD %s: %w", name, err)
		}
		applied(name)
	}
	return nil
}

// Delete deletes the definitions, and with them all objects of their kinds.
func (c *CRDs) Delete(ctx context.Context, deleted func(name string)) error {
	for _, crd := range c.documents {
		name := crd.GetName()
		if err := c.client.Delete(ctx, name, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			return fmt.Errorf("deleting CRD %s: %w", name, err)
		}
		deleted(name)
	}
	return nil
}

// established reports whether the API server serves the kind.
func established(crd *unstructured.Unstructured) bool {
	conditions, _, _ := unstructured.NestedSlice(crd.Object, "status", "conditions")
	for _, condition := range conditions {
		c, ok := condition.(map[string]any)
		if ok && c["type"] == "Established" && c["status"] == "True" {
			return true
		}
	}
	return false
}

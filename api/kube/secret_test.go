package kube

import (
	"slices"
	"testing"

	"k8s.io/client-go/kubernetes/fake"
)

func TestMembershipKeysAreReadAsTheyWereWritten(t *testing.T) {
	clients := Clients{Kubernetes: fake.NewClientset()}
	if made, err := EnsureMembershipSecret(t.Context(), clients, "ns", "key", "one"); err != nil || !made {
		t.Fatalf("made: %v, %v", made, err)
	}
	read := func() MembershipKeys {
		t.Helper()
		keys, err := ReadMembershipKeys(t.Context(), clients, "ns", "key")
		if err != nil {
			t.Fatal(err)
		}
		return keys
	}
	keys := read()
	if len(keys.Keys) != 1 || keys.Rotation != "one" || keys.Incoming != "" {
		t.Fatalf("a new Secret is of the rotation that is wanted, and none is under way: %+v", keys)
	}
	fresh, err := NewMembershipKey()
	if err != nil {
		t.Fatal(err)
	}
	wanted := []string{fresh, keys.Keys[0]}
	for _, incoming := range []string{"0123456789abcdef", ""} {
		keys.Keys, keys.Rotation, keys.Incoming = wanted, "two", incoming
		if err := WriteMembershipKeys(t.Context(), clients, "ns", "key", keys); err != nil {
			t.Fatal(err)
		}
		keys = read()
		if !slices.Equal(keys.Keys, wanted) || keys.Rotation != "two" || keys.Incoming != incoming {
			t.Errorf("got %+v", keys)
		}
	}
}

package checks

import (
	"fmt"
	"slices"
	"strings"

	rbacv1 "k8s.io/api/rbac/v1"
)

// permissions looks whether the service accounts may do what this version's manifests
// have them do. The policy that holds a speaker to its own objects is not looked at.
func (in *Input) permissions() Result {
	if r, unread := in.unread("clusterroles", "clusterrolebindings", "roles", "rolebindings", "deployments"); unread {
		return r
	}
	if r, same := in.sameVersion(); !same {
		return r
	}
	var wrong []Finding
	accounts := 0
	for _, account := range in.Wanted.accounts() {
		accounts++
		everywhere, here := in.Granted.rulesOf(account, in.Namespace)
		wantEverywhere, wantHere := in.Wanted.rulesOf(account, manifestsNamespace)
		lacking := missing(wantEverywhere, everywhere)
		lacking = append(lacking, missing(wantHere, append(slices.Clone(everywhere), here...))...)
		if len(lacking) > 0 {
			wrong = append(wrong, Finding{Object: "ServiceAccount/" + account, Message: "it may not " + strings.Join(few(lacking), "; ")})
		}
	}
	return found(wrong, Failed, "programs may not do what they have to",
		fmt.Sprintf("%s may do what they have to", count(accounts, "service account")))
}

// manifestsNamespace is that of install.yaml.
const manifestsNamespace = "baliza-system"

// few are the first of many.
func few(all []string) []string {
	const most = 4
	if len(all) <= most {
		return all
	}
	return append(slices.Clone(all[:most]), fmt.Sprintf("and %d more", len(all)-most))
}

// accounts are the service accounts that are bound to anything.
func (r *RBAC) accounts() []string {
	var names []string
	note := func(subjects []rbacv1.Subject) {
		for _, s := range subjects {
			if s.Kind == rbacv1.ServiceAccountKind {
				names = append(names, s.Name)
			}
		}
	}
	for _, b := range r.ClusterRoleBindings {
		note(b.Subjects)
	}
	for _, b := range r.RoleBindings {
		note(b.Subjects)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// rulesOf are the rules that a service account has in all namespaces, and in its own.
func (r *RBAC) rulesOf(account, namespace string) (everywhere, here []rbacv1.PolicyRule) {
	is := func(s rbacv1.Subject) bool { return isAccount(&s, account, namespace) }
	for _, b := range r.ClusterRoleBindings {
		if slices.ContainsFunc(b.Subjects, is) {
			everywhere = append(everywhere, r.rules(b.RoleRef, namespace)...)
		}
	}
	for _, b := range r.RoleBindings {
		if b.Namespace == namespace && slices.ContainsFunc(b.Subjects, is) {
			here = append(here, r.rules(b.RoleRef, namespace)...)
		}
	}
	return everywhere, here
}

// isAccount reports whether a subject is a service account, or a group that it is in.
func isAccount(s *rbacv1.Subject, account, namespace string) bool {
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		return s.Name == account && s.Namespace == namespace
	case rbacv1.UserKind:
		return s.Name == "system:serviceaccount:"+namespace+":"+account
	case rbacv1.GroupKind:
		return s.Name == "system:serviceaccounts" || s.Name == "system:serviceaccounts:"+namespace || s.Name == "system:authenticated"
	}
	return false
}

// rules are those of a role that is bound in a namespace, or in all.
func (r *RBAC) rules(ref rbacv1.RoleRef, namespace string) []rbacv1.PolicyRule {
	if ref.Kind == "ClusterRole" {
		for _, role := range r.ClusterRoles {
			if role.Name == ref.Name {
				return role.Rules
			}
		}
		return nil
	}
	for _, role := range r.Roles {
		if role.Name == ref.Name && role.Namespace == namespace {
			return role.Rules
		}
	}
	return nil
}

// missing are the rights of some rules that others do not give.
func missing(wanted, given []rbacv1.PolicyRule) []string {
	var lacking []string
	for i := range wanted {
		w := &wanted[i]
		names := w.ResourceNames
		if len(names) == 0 {
			names = []string{""}
		}
		for _, group := range w.APIGroups {
			for _, resource := range w.Resources {
				for _, name := range names {
					verbs := slices.DeleteFunc(slices.Clone(w.Verbs), func(verb string) bool {
						return slices.ContainsFunc(given, func(g rbacv1.PolicyRule) bool { return gives(&g, group, resource, name, verb) })
					})
					if len(verbs) > 0 {
						lacking = append(lacking, strings.TrimSpace(strings.Join(verbs, ", ")+" "+resource+" "+name))
					}
				}
			}
		}
	}
	return lacking
}

// gives reports whether a rule gives a right; the empty name is that to all objects.
func gives(rule *rbacv1.PolicyRule, group, resource, name, verb string) bool {
	has := func(list []string, one string) bool { return slices.Contains(list, one) || slices.Contains(list, "*") }
	return has(rule.APIGroups, group) && has(rule.Resources, resource) && has(rule.Verbs, verb) &&
		(len(rule.ResourceNames) == 0 || name != "" && slices.Contains(rule.ResourceNames, name))
}

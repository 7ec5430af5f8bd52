package command_test

import (
	"os"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/baliza-lb/baliza/cli/command"
)

// k9sPlugin is what k9s knows of a plugin (https://k9scli.io/topics/plugins/).
type k9sPlugin struct {
	ShortCut, Description, Command string
	Scopes, Args                   []string
	Background                     *bool
	Confirm, Dangerous             bool
}

// k9sVariables are those of k9s that are used.
func k9sVariables() map[string]string {
	return map[string]string{"$NAME": "web", "$NAMESPACE": "shop", "$CONTEXT": "here"}
}

// What the keys of k9s run are commands of this program, with flags that it has.
func TestTheKeysOfK9sRunCommandsThatExist(t *testing.T) {
	text, err := os.ReadFile("../../deploy/k9s/plugins.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Plugins map[string]k9sPlugin }
	if err := yaml.UnmarshalStrict(text, &file); err != nil {
		t.Fatal(err)
	}
	taken, run := map[string]string{}, map[string]bool{}
	for name, plugin := range file.Plugins {
		for _, scope := range plugin.Scopes {
			key := scope + " " + plugin.ShortCut
			if taken[key] != "" {
				t.Errorf("%s and %s are the same key, %s", name, taken[key], key)
			}
			taken[key] = name
		}
		// sh -c SCRIPT sh baliza COMMAND...: what follows is the script's "$@".
		const before = 4
		if plugin.Command != "sh" || plugin.Description == "" || plugin.Background == nil || len(plugin.Args) <= before ||
			plugin.Args[0] != "-c" || !strings.HasPrefix(plugin.Args[1], `kubectl "$@"`) || plugin.Args[before-1] != "baliza" {
			t.Fatalf("%s is %+v", name, plugin)
		}
		var args, words []string
		for _, arg := range plugin.Args[before:] {
			value, isVariable := k9sVariables()[arg]
			switch {
			case isVariable:
				arg = value
			case strings.HasPrefix(arg, "$"):
				t.Errorf("%s: there is no variable %s", name, arg)
			}
			if !isVariable && !strings.HasPrefix(arg, "-") && len(words) == len(args) {
				words = append(words, arg)
			}
			args = append(args, arg)
		}
		line := strings.Join(words, " ")
		run[line] = true
		writes := line == "drain" || line == "undrain"
		if plugin.Confirm != writes || plugin.Dangerous != writes {
			t.Errorf("%s: confirm %t, dangerous %t", name, plugin.Confirm, plugin.Dangerous)
		}
		out, status := newWorld().askArgs(t, append(args, "--help"))
		if status != command.StatusWell || !strings.Contains(out, "Usage:\n  kubectl baliza "+line+" ") {
			t.Errorf("%s runs kubectl baliza %s: exit status %d\n%s", name, strings.Join(args, " "), status, out)
		}
	}
	for _, line := range []string{"explain service", "explain node", "history", "drain", "undrain"} {
		if !run[line] {
			t.Errorf("no key runs kubectl baliza %s", line)
		}
	}
}

package bundle

import (
	"regexp"
	"slices"
	"strings"
)

// removed stands where something was.
const removed = "(removed)"

// keptAnnotations are beginnings of the names of annotations that Baliza reads or
// writes. The value of any other may be a secret, or have one in it, as those have that
// kubectl apply leaves.
var keptAnnotations = []string{"baliza.io/", "metallb.io/", "metallb.universe.tf/"}

// ourContainers are those whose arguments and variables are Baliza's.
var ourContainers = []string{"controller", "speaker"}

// looksSecret is a name of what is not to be told: a field, a flag, a key in a line of
// a log.
//
//nolint:gosec // G101: it is a pattern
const looksSecret = `(?:pass(?:word|wd|phrase)|token|secret|credentials?|api[_-]?key|private[_-]?key|authorization)`

// strip takes out of an object what may be a secret.
func (b *Bundle) strip(object map[string]any) map[string]any {
	if kind, _ := object["kind"].(string); kind == "Node" {
		if status, ok := object["status"].(map[string]any); ok {
			delete(status, "images") // which are many, and say nothing
		}
	}
	stripped, _ := b.walk("", object).(map[string]any)
	return stripped
}

// walk goes through a value of a field of that name.
func (b *Bundle) walk(name string, value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, field := range v {
			switch key {
			case "managedFields":
				delete(v, key)
			case "annotations":
				v[key] = b.annotations(field)
			case "containers", "initContainers", "ephemeralContainers":
				v[key] = b.containers(field)
			default:
				v[key] = b.walk(key, field)
			}
		}
		return v
	case []any:
		for i := range v {
			v[i] = b.walk(name, v[i])
		}
		return v
	case string:
		if b.field.MatchString(name) {
			return removed
		}
		return b.clean(v)
	}
	return value
}

func (b *Bundle) annotations(value any) any {
	all, ok := value.(map[string]any)
	if !ok {
		return removed
	}
	for key, text := range all {
		if slices.ContainsFunc(keptAnnotations, func(prefix string) bool { return strings.HasPrefix(key, prefix) }) {
			all[key] = b.walk(key, text)
			continue
		}
		all[key] = removed
	}
	return all
}

// containers keeps of another program's no more than which image it is.
func (b *Bundle) containers(value any) any {
	all, ok := value.([]any)
	if !ok {
		return removed
	}
	for i := range all {
		container, ok := all[i].(map[string]any)
		if !ok {
			return removed
		}
		name, _ := container["name"].(string)
		if !slices.Contains(ourContainers, name) {
			all[i] = map[string]any{"name": name, "image": container["image"]}
			continue
		}
		b.environment(container["env"])
		b.arguments(container["args"])
		b.arguments(container["command"])
		all[i] = b.walk("", container)
	}
	return all
}

// environment takes the values out of variables that are not Baliza's.
func (b *Bundle) environment(value any) {
	all, _ := value.([]any)
	for _, one := range all {
		variable, _ := one.(map[string]any)
		name, _ := variable["name"].(string)
		if _, has := variable["value"]; has && (!strings.HasPrefix(name, "BALIZA_") || b.field.MatchString(name)) {
			variable["value"] = removed
		}
	}
}

// arguments takes out what follows a flag that looks like one for a secret.
func (b *Bundle) arguments(value any) {
	all, _ := value.([]any)
	for i := range all {
		flag, _ := all[i].(string)
		if i+1 < len(all) && strings.HasPrefix(flag, "-") && b.field.MatchString(flag) {
			all[i+1] = removed
		}
	}
}

// clean takes the known passwords out of a text, and what looks like one.
func (b *Bundle) clean(text string) string {
	text = b.hidden.Replace(text)
	for _, p := range b.patterns {
		text = p.pattern.ReplaceAllString(text, p.by)
	}
	return text
}

// fieldPattern finds names of fields whose value is a secret. That the name of a Secret
// is none is why it looks at the end.
func fieldPattern() *regexp.Regexp { return regexp.MustCompile(`(?i)` + looksSecret + `$`) }

type textPattern struct {
	pattern *regexp.Regexp
	by      string
}

// textPatterns find secrets in lines that programs write.
func textPatterns() []textPattern {
	const (
		key      = looksSecret + `\\*["']?\s*[:=]\s*`
		quoted   = `"(?:[^"\\]|\\.)*"|\\+"[^"\\]*\\+"|'[^']*'` // as it stands, or within a string
		unquoted = `[^\s"'\\{\[][^\s"',;}\])(&]*`
	)
	return []textPattern{
		{regexp.MustCompile(`(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}`), "$1 " + removed},
		{regexp.MustCompile(`(?i)(` + key + `)(?:` + quoted + `|` + unquoted + `)`), "$1" + removed},
		{regexp.MustCompile(`://[^/\s:@]+:[^/\s@]+@`), "://" + removed + "@"},
		{regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?-----END [A-Z ]*PRIVATE KEY-----`), removed},
	}
}

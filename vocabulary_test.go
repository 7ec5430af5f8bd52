package baliza_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/baliza-lb/baliza/api/v1beta1"
	"github.com/baliza-lb/baliza/cli/checks"
	"github.com/baliza-lb/baliza/cli/cures"
)

// vocabulary is each word of it, by where it stands.
type vocabulary struct {
	// reasons and ids are what programs say, alerts what rules of Prometheus are called,
	// without the name of the project in front.
	reasons, ids, alerts []string
	// sections of docs/checks.md, each with its text.
	sections []section
}

type section struct{ title, text string }

// cureOf is what a program says about a word.
func cureOf(word string) string {
	if cure := checks.ID(word).Cure(); cure != "" {
		return cure
	}
	cure, _ := cures.For(v1beta1.Reason(word))
	return cure.Text
}

// problems are what is not in step.
func (v *vocabulary) problems() []string {
	var found []string
	texts := map[string]string{}
	for _, s := range v.sections {
		anchor := strings.ToLower(s.title)
		if _, twice := texts[anchor]; twice {
			found = append(found, fmt.Sprintf("two sections have the anchor #%s", anchor))
		}
		texts[anchor] = s.text
		if !slices.Contains(slices.Concat(v.reasons, v.ids, v.alerts), s.title) {
			found = append(found, fmt.Sprintf("section %s is about no reason, no check and no alert", s.title))
		}
	}
	for _, word := range slices.Concat(v.reasons, v.ids, v.alerts) {
		text, has := texts[strings.ToLower(word)]
		switch cure := cureOf(word); {
		case !has:
			found = append(found, fmt.Sprintf("%s has no section", word))
		case cure != "" && !strings.Contains(strings.Join(strings.Fields(text), " "), strings.Join(strings.Fields(cure), " ")):
			found = append(found, fmt.Sprintf("section %s does not have the cure that is printed: %s", word, cure))
		}
	}
	for _, id := range v.ids {
		if slices.Contains(v.reasons, id) {
			found = append(found, fmt.Sprintf("%s is both a reason and a check", id))
		}
	}
	return found
}

// alerts are the names of alerting rules in what is deployed, without the prefix.
func alerts(t *testing.T) []string {
	t.Helper()
	var found []string
	rule := regexp.MustCompile(`(?m)^\s*-?\s*alert:\s*(\S+)\s*$`)
	err := filepath.WalkDir("deploy", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		for _, match := range rule.FindAllStringSubmatch(string(text), -1) {
			found = append(found, strings.TrimPrefix(match[1], "Baliza"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// K01: reasons of conditions, ids of checks, names of alerts and anchors of
// docs/checks.md are one vocabulary.
func TestOneVocabulary(t *testing.T) {
	page, err := os.ReadFile("docs/checks.md")
	if err != nil {
		t.Fatal(err)
	}
	v := vocabulary{
		reasons: matches(t, "api/v1beta1/names.go", ` Reason = "(\w+)"`), ids: matches(t, "cli/checks/ids.go", ` ID = "(\w+)"`), alerts: alerts(t),
	}
	for _, part := range strings.Split("\n"+string(page), "\n### ")[1:] {
		title, text, _ := strings.Cut(part, "\n")
		text, _, _ = strings.Cut(text, "\n## ")
		v.sections = append(v.sections, section{title, text})
	}
	for _, problem := range v.problems() {
		t.Error(problem)
	}
	var listed []string
	for _, id := range checks.IDs() {
		listed = append(listed, string(id))
		if id.Cure() == "" {
			t.Errorf("check %s has no cure", id)
		}
	}
	slices.Sort(listed)
	if !slices.Equal(listed, v.ids) {
		t.Errorf("checks.IDs are %v, and the constants %v", listed, v.ids)
	}
}

func TestOneVocabularyComplains(t *testing.T) {
	well := func() vocabulary {
		return vocabulary{
			reasons: []string{"NoPool"}, ids: []string{"DHCP"}, alerts: []string{"NoPool"},
			sections: []section{{"NoPool", cureOf("NoPool")}, {"DHCP", strings.ReplaceAll(cureOf("DHCP"), " ", "\n")}},
		}
	}
	for want, change := range map[string]func(*vocabulary){
		"":                                     func(*vocabulary) {},
		"PoolExhausted has no section":         func(v *vocabulary) { v.reasons = append(v.reasons, "PoolExhausted") },
		"Clocks has no section":                func(v *vocabulary) { v.ids = append(v.ids, "Clocks") },
		"SpeakerDown has no section":           func(v *vocabulary) { v.alerts = append(v.alerts, "SpeakerDown") },
		"section Old is about no reason":       func(v *vocabulary) { v.sections = append(v.sections, section{"Old", ""}) },
		"two sections have the anchor":         func(v *vocabulary) { v.sections = append(v.sections, v.sections[0]) },
		"does not have the cure":               func(v *vocabulary) { v.sections[0].text = "Wait." },
		"NoPool is both a reason and a check":  func(v *vocabulary) { v.ids = append(v.ids, "NoPool") },
		"section PoolExhausted is about no re": func(v *vocabulary) { v.sections = append(v.sections, section{"PoolExhausted", ""}) },
	} {
		v := well()
		change(&v)
		got := strings.Join(v.problems(), "\n")
		if want == "" && got != "" || !strings.Contains(got, want) {
			t.Errorf("want %q, got %q", want, got)
		}
	}
}

// The oldest version of Kubernetes is that of the chart.
func TestTheOldestKubernetesIsTheCharts(t *testing.T) {
	if got := matches(t, "deploy/helm/baliza/Chart.yaml", `(?m)^kubeVersion: ">=([0-9.]+)-0"$`); got[0] != checks.Oldest {
		t.Errorf("the chart needs %s, check %s", got[0], checks.Oldest)
	}
}

// The links of the troubleshooting page and of the checks lead somewhere.
func TestLinksToAnchorsLeadSomewhere(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range regexp.MustCompile(`\]\(((?:docs/)?[a-z0-9-]+\.md)?#([a-z0-9-]+)\)`).FindAllStringSubmatch(string(text), -1) {
			target := page
			if link[1] != "" {
				target = filepath.Join(filepath.Dir(page), link[1])
			}
			if !slices.Contains(anchors(t, target), link[2]) {
				t.Errorf("%s: %s has no heading #%s", page, target, link[2])
			}
		}
	}
}

// anchors are those that GitHub makes of headings.
func anchors(t *testing.T, page string) []string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, heading := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(text), -1) {
		lower := strings.ReplaceAll(strings.ToLower(heading[1]), " ", "-")
		found = append(found, regexp.MustCompile(`[^a-z0-9_-]`).ReplaceAllString(lower, ""))
	}
	return found
}

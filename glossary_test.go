package baliza_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// bannedWord is one that the glossary says something is not called.
type bannedWord struct {
	word, term string
	pattern    *regexp.Regexp
}

// glossary reads the table in CONTRIBUTING.md.
func glossary(t *testing.T) []bannedWord {
	t.Helper()
	text, err := os.ReadFile("CONTRIBUTING.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(text), "\n## Glossary\n")
	table, _, _ = strings.Cut(table, "\n## ")
	var banned []bannedWord
	quoted := regexp.MustCompile("`([^`]+)`")
	for line := range strings.Lines(table) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != 4 {
			continue
		}
		for _, word := range quoted.FindAllStringSubmatch(cells[3], -1) {
			banned = append(banned, bannedWord{word[1], strings.TrimSpace(cells[0]), patternOf(word[1])})
		}
	}
	if len(banned) < 20 {
		t.Fatalf("the glossary bans %d words", len(banned))
	}
	return banned
}

// patternOf finds a word. One with capitals is a name, which is found as it is, or
// behind "Reason". Another is found in any case and with any ending; of several
// words, and of a flag, the last one ends there.
func patternOf(word string) *regexp.Regexp {
	quoted := regexp.QuoteMeta(word)
	switch {
	case strings.ToLower(word) != word:
		return regexp.MustCompile(`\b(Reason)?` + quoted + `\b`)
	case strings.ContainsAny(word, " -"):
		return regexp.MustCompile(`(?i)` + quoted + `\b`)
	}
	return regexp.MustCompile(`(?i)` + quoted)
}

// unbound are files and folders that the glossary does not bind.
func unbound() map[string]string {
	return map[string]string{
		"CHANGELOG.md":     "it says what the former names were",
		"CONTRIBUTING.md":  "it has the glossary",
		"glossary_test.go": "it tests the test",
		"api/client":       "generated, from what is bound",
		"artifacts":        "not of the repository",
		"bin":              "not of the repository",
		"dist":             "not of the repository",
		"deploy/helm/baliza/ci/reused-values.yaml": "the values of an older chart",
		"e2e/install/main_test.go":                 "it rewrites a flag of an older chart",
	}
}

// The documents, the code and the chart name things as the glossary does.
func TestTheGlossaryIsKept(t *testing.T) {
	banned, except := glossary(t), unbound()
	for path, reason := range except {
		if _, err := os.Stat(path); err != nil && !strings.HasPrefix(reason, "not of") {
			t.Errorf("%s, an exception, does not exist", path)
		}
	}
	files := 0
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		_, excepted := except[path]
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (excepted || path != "." && strings.HasPrefix(entry.Name(), ".")):
			return filepath.SkipDir
		case entry.IsDir() || excepted || !bound(path):
			return nil
		}
		files++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			for _, b := range banned {
				if b.pattern.MatchString(line) {
					t.Errorf("%s:%d: %q is called %q here: see the glossary in CONTRIBUTING.md", path, number, b.word, b.term)
				}
			}
		}
		return nil
	})
	if err != nil || files < 300 {
		t.Errorf("%d files were read: %v", files, err)
	}
}

// bound reports whether the glossary binds files of that name.
func bound(path string) bool {
	switch filepath.Ext(path) {
	case ".go", ".md", ".sh", ".tpl":
		return true
	case ".yaml", ".json", ".txt":
		return strings.HasPrefix(path, "deploy/") || strings.HasPrefix(path, "speaker/")
	}
	return filepath.Base(path) == "Makefile"
}

func TestTheGlossaryFindsWords(t *testing.T) {
	for text, want := range map[string]bool{
		"a Stranger answers": true, "otherStrangers": true, "stays for ever": true, "for every address": false,
		"v1beta1.ReasonNoOwner": true, `"NoOwner"`: true, "NoOwnership": false, "reports whether it is": false, "it tells whether": true,
		"--profile=fast": true, "--failure-detection-profile=fast": false, "--profiles": false, "neighbouring": true,
	} {
		found := false
		for _, b := range glossary(t) {
			found = found || b.pattern.MatchString(text)
		}
		if found != want {
			t.Errorf("%q: found %v", text, found)
		}
	}
}

// A link inside of the documents leads to a heading that there is.
func TestLinksOfDocumentsLeadSomewhere(t *testing.T) {
	link, heading := regexp.MustCompile(`\]\(([\w/.-]*\.md)?(?:#([\w-]+))?\)`), regexp.MustCompile(`(?m)^#+ (.*)$`)
	documents, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	links := 0
	for _, document := range append(documents, "README.md", "CHANGELOG.md", "CONTRIBUTING.md") {
		text, err := os.ReadFile(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			target := document
			if found[1] != "" {
				target = filepath.Join(filepath.Dir(document), found[1])
			}
			page, err := os.ReadFile(target)
			if err != nil {
				t.Errorf("%s: %v", document, err)
				continue
			}
			links++
			leads := found[2] == ""
			for _, h := range heading.FindAllStringSubmatch(string(page), -1) {
				leads = leads || anchorOf(h[1]) == found[2]
			}
			if !leads {
				t.Errorf("%s: %s has no heading #%s", document, target, found[2])
			}
		}
	}
	if links == 0 {
		t.Error("no links were found")
	}
}

// anchorOf is how a forge links to a heading.
func anchorOf(heading string) string {
	kept := regexp.MustCompile(`[^a-z0-9 _-]`).ReplaceAllString(strings.ToLower(heading), "")
	return strings.ReplaceAll(kept, " ", "-")
}

package page

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// mostBytes is what a page may have at most.
const mostBytes = 512 << 10

// flaws are what is wrong with a page: what a browser would have to correct, what the
// policy of the page would refuse, what somebody who cannot see it would miss.
func flaws(page string) []string {
	var found []string
	flaw := func(format string, args ...any) { found = append(found, fmt.Sprintf(format, args...)) }
	if len(page) > mostBytes {
		flaw("%d bytes", len(page))
	}
	var open []string
	ids, labelled, controls := map[string]bool{}, map[string]bool{}, []string{}
	headings := 0
	for z := html.NewTokenizer(strings.NewReader(page)); ; {
		switch z.Next() {
		case html.ErrorToken:
			if !errors.Is(z.Err(), io.EOF) {
				flaw("%v", z.Err())
			}
			if len(open) > 0 {
				flaw("not closed: %v", open)
			}
			for _, id := range controls {
				if !labelled[id] {
					flaw("no label for %s", id)
				}
			}
			if headings != 1 {
				flaw("%d headings of the first level", headings)
			}
			return found
		case html.TextToken, html.CommentToken, html.DoctypeToken:
		case html.EndTagToken:
			name := z.Token().Data
			if len(open) == 0 || open[len(open)-1] != name {
				flaw("</%s> in %v", name, open)
				continue
			}
			open = open[:len(open)-1]
		case html.StartTagToken, html.SelfClosingTagToken:
			token := z.Token()
			at := map[string]string{}
			for _, a := range token.Attr {
				if _, twice := at[a.Key]; twice {
					flaw("<%s> has %s twice", token.Data, a.Key)
				}
				at[a.Key] = a.Val
				switch {
				case a.Key == "style" || strings.HasPrefix(a.Key, "on"):
					flaw("<%s %s>", token.Data, a.Key)
				case (a.Key == "href" || a.Key == "src" || a.Key == "action") && !strings.HasPrefix(a.Val, "/") && !strings.HasPrefix(a.Val, "#"),
					strings.HasPrefix(a.Val, "//"):
					flaw("<%s %s=%q> leads elsewhere", token.Data, a.Key, a.Val)
				case a.Key == "id" && ids[a.Val]:
					flaw("id %s twice", a.Val)
				case a.Key == "id":
					ids[a.Val] = true
				}
			}
			switch token.Data {
			case "h1":
				headings++
			case "th":
				if at["scope"] != "col" && at["scope"] != "row" {
					flaw("a table header without scope")
				}
			case "script":
				if at["src"] != "/page.js" {
					flaw("a script in the page")
				}
			case "style", "iframe", "object", "embed", "base", "img":
				flaw("<%s>", token.Data)
			case "svg":
				if at["role"] != "img" || at["aria-label"] == "" && at["aria-labelledby"] == "" {
					flaw("a picture without a name")
				}
			case "label":
				labelled[at["for"]] = true
			case "input", "select":
				controls = append(controls, at["id"])
			}
			if !slices.Contains([]string{"meta", "link", "input", "br"}, token.Data) {
				open = append(open, token.Data)
			}
		}
	}
}

// links are where a page leads.
func links(page string) []string {
	var found []string
	for z := html.NewTokenizer(strings.NewReader(page)); ; {
		switch z.Next() {
		case html.ErrorToken:
			slices.Sort(found)
			return slices.Compact(found)
		case html.StartTagToken:
			for _, a := range z.Token().Attr {
				if a.Key == "href" && strings.HasPrefix(a.Val, "/") {
					found = append(found, a.Val)
				}
			}
		default:
		}
	}
}

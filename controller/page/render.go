package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/baliza-lb/baliza/cli/explain"
)

// answer is what there is to show.
type answer struct {
	page    string // its template
	title   string
	section string // of the navigation
	content any
}

// problem is an answer that is not what was asked for.
type problem struct {
	status int
	text   string
}

// Error implements error.
func (p *problem) Error() string { return p.text }

func notFound(text string) error { return &problem{http.StatusNotFound, text} }

// view is what templates get.
type view struct {
	Title, Section string
	Version        string
	At             when
	Replica        string
	Leader         string
	Verdict        explain.Verdict
	Content        any
}

// show makes a handler of what makes an answer of a snapshot.
func (s *Server) show(answering func(*snapshot, *http.Request) (answer, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		select {
		case s.slots <- struct{}{}:
			defer func() { <-s.slots }()
		default:
			w.Header().Set("Retry-After", "1")
			http.Error(w, "too many requests at a time: reload the page", http.StatusServiceUnavailable)
			return
		}
		now := s.current()
		status := http.StatusOK
		made, err := answering(now, r)
		if err != nil {
			status = http.StatusInternalServerError
			if p, ok := errors.AsType[*problem](err); ok {
				status = p.status
			}
			made = answer{page: "message", title: "Not found", content: err.Error()}
		}
		s.render(w, r, now, status, made)
	}
}

func (s *Server) render(w http.ResponseWriter, r *http.Request, now *snapshot, status int, a answer) {
	v := view{
		Title: a.title, Section: a.section, Version: now.version, At: whenOf(&now.at, now.at), Replica: s.options.Replica,
		Verdict: now.status.Overall, Content: a.content,
	}
	if s.options.Leader != nil {
		v.Leader = s.options.Leader()
	}
	var body bytes.Buffer
	if err := s.pages[a.page].ExecuteTemplate(&body, "layout.html", &v); err != nil {
		http.Error(w, "the page cannot be shown: "+err.Error(), http.StatusInternalServerError)
		return
	}
	send(w, r, status, "text/html; charset=utf-8", body.Bytes())
}

// send answers, or says that the client has the same already.
func send(w http.ResponseWriter, r *http.Request, status int, kind string, body []byte) {
	sum := sha256.Sum256(body)
	tag := `"` + hex.EncodeToString(sum[:12]) + `"`
	w.Header().Set("Content-Type", kind)
	if status == http.StatusOK {
		w.Header().Set("ETag", tag)
		if r.Header.Get("If-None-Match") == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // a client that is gone
	}
}

// when is a time, for people and for programs.
type when struct{ Text, Age, Exact string }

// whenOf is a time as seen from another; nil is none.
func whenOf(t *time.Time, now time.Time) when {
	if t == nil || t.IsZero() {
		return when{}
	}
	return when{
		Text: t.UTC().Format("2006-01-02 15:04:05 UTC"), Age: explain.Age(now.Sub(*t)), Exact: t.UTC().Format(time.RFC3339),
	}
}

// functions of the templates.
func functions() template.FuncMap {
	return template.FuncMap{
		"join":    func(all []string) string { return strings.Join(all, ", ") },
		"service": serviceLink,
		"lower":   func(s any) string { return strings.ToLower(asText(s)) },
		"class":   verdictClass,
		"word":    verdictWord,
	}
}

func asText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case explain.State:
		return string(v)
	case explain.CellState:
		return string(v)
	}
	return ""
}

// link is a text and where it leads.
type link struct{ Text, To string }

// serviceLink is that of a Service's page, by namespace/name.
func serviceLink(key string) link {
	namespace, name, _ := strings.Cut(key, "/")
	return link{key, "/services/" + url.PathEscape(namespace) + "/" + url.PathEscape(name)}
}

// serviceLinks are the first few of many, and how many more there are.
func serviceLinks(keys []string) (first []link, more int) {
	const most = 5
	for _, key := range keys[:min(len(keys), most)] {
		first = append(first, serviceLink(key))
	}
	return first, max(0, len(keys)-most)
}

func verdictClass(v explain.Verdict) string {
	switch {
	case v.Unknown:
		return "unknown"
	case v.Well:
		return "well"
	}
	return "wrong"
}

func verdictWord(v explain.Verdict) string {
	switch {
	case v.Unknown:
		return "Unknown"
	case v.Well:
		return "OK"
	}
	return "Wrong"
}

// pager is a piece of a long list.
type pager struct {
	First, Last, Total int
	Previous, Next     string // where they are; empty is nowhere
}

// paged cuts a list into pages of so many, of which the query names one.
func paged[T any](all []T, size int, r *http.Request) ([]T, pager) {
	query := r.URL.Query()
	pages := max(1, (len(all)+size-1)/size)
	page, err := strconv.Atoi(query.Get("page"))
	if err != nil {
		page = 1
	}
	page = min(max(page, 1), pages)
	at := func(n int) string {
		if n < 1 || n > pages {
			return ""
		}
		next := url.Values{"page": {strconv.Itoa(n)}}
		for _, name := range []string{"q", "state"} {
			if value := bounded(query.Get(name)); value != "" {
				next.Set(name, value)
			}
		}
		return r.URL.Path + "?" + next.Encode()
	}
	first := (page - 1) * size
	last := min(len(all), first+size)
	return all[first:last], pager{First: min(first+1, len(all)), Last: last, Total: len(all), Previous: at(page - 1), Next: at(page + 1)}
}

// bounded is what is looked at of what is typed.
func bounded(text string) string {
	const most = 100
	if len(text) > most {
		text = text[:most]
	}
	return strings.ToValidUTF8(text, "")
}

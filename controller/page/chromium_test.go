//go:build browser

package page

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// ceiling only catches a hang.
const ceiling = time.Minute

// tab is a page of a real Chromium, driven by the DevTools protocol.
type tab struct {
	t      *testing.T
	socket *websocket.Conn

	mu       sync.Mutex
	number   int
	answers  map[int]chan reply
	complain []string // what the browser says against the page
}

type reply struct {
	ID     int             `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Message string `json:"message"`
	} `json:"error"`
}

// chromium starts one, and opens a page in it.
func chromium(t *testing.T) *tab {
	t.Helper()
	command := exec.CommandContext(t.Context(), "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--remote-debugging-port=0", "--remote-allow-origins=*", "--user-data-dir="+t.TempDir(), "--hide-scrollbars", "about:blank")
	says, err := command.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("%v: install Debian's package chromium", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	port := ""
	for lines := bufio.NewScanner(says); port == "" && lines.Scan(); {
		if found := regexp.MustCompile(`DevTools listening on ws://127\.0\.0\.1:(\d+)/`).FindStringSubmatch(lines.Text()); found != nil {
			port = found[1]
		}
	}
	go func() { // what it says else
		for discard := bufio.NewReader(says); ; {
			if _, err := discard.ReadByte(); err != nil {
				return
			}
		}
	}()
	request, _ := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://127.0.0.1:"+port+"/json/new?about:blank", http.NoBody)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var target struct {
		URL string `json:"webSocketDebuggerUrl"`
	}
	if err := json.NewDecoder(response.Body).Decode(&target); err != nil {
		t.Fatal(err)
	}
	socket, _, err := websocket.DefaultDialer.DialContext(t.Context(), target.URL, nil) //nolint:bodyclose // of an upgrade, which has none
	if err != nil {
		t.Fatal(err)
	}
	socket.SetReadLimit(64 << 20)
	one := &tab{t: t, socket: socket, answers: map[int]chan reply{}}
	go one.listen()
	for _, domain := range []string{"Page", "Runtime", "Log"} {
		one.do(domain+".enable", nil)
	}
	return one
}

func (p *tab) listen() {
	for {
		var r reply
		if p.socket.ReadJSON(&r) != nil {
			return
		}
		p.mu.Lock()
		switch {
		case p.answers[r.ID] != nil:
			p.answers[r.ID] <- r
			delete(p.answers, r.ID)
		case r.Method == "Log.entryAdded" || r.Method == "Runtime.exceptionThrown":
			p.complain = append(p.complain, string(r.Params))
		}
		p.mu.Unlock()
	}
}

// do has the browser do something.
func (p *tab) do(method string, params map[string]any) json.RawMessage {
	p.t.Helper()
	answer := make(chan reply, 1)
	p.mu.Lock()
	p.number++
	p.answers[p.number] = answer
	err := p.socket.WriteJSON(map[string]any{"id": p.number, "method": method, "params": params})
	p.mu.Unlock()
	if err != nil {
		p.t.Fatal(err)
	}
	select {
	case r := <-answer:
		if r.Error != nil {
			p.t.Fatalf("%s: %s", method, r.Error.Message)
		}
		return r.Result
	case <-time.After(ceiling):
		p.t.Fatalf("%s: no answer", method)
	}
	return nil
}

// eval is the value of an expression, as text.
func (p *tab) eval(expression string) string {
	p.t.Helper()
	var result struct {
		Result struct {
			Value any `json:"value"`
		} `json:"result"`
		Exception *struct {
			Text      string `json:"text"`
			Exception struct {
				Description string `json:"description"`
			} `json:"exception"`
		} `json:"exceptionDetails"`
	}
	raw := p.do("Runtime.evaluate", map[string]any{"expression": expression, "awaitPromise": true, "returnByValue": true})
	if err := json.Unmarshal(raw, &result); err != nil {
		p.t.Fatal(err)
	}
	if result.Exception != nil {
		p.t.Fatalf("%.80s: %s %s", expression, result.Exception.Text, result.Exception.Exception.Description)
	}
	return fmt.Sprint(result.Result.Value)
}

// until waits for an expression to be true, and says how long that took.
func (p *tab) until(expression string) time.Duration {
	p.t.Helper()
	began := time.Now()
	for time.Since(began) < ceiling {
		if p.eval("Boolean("+expression+")") == "true" {
			return time.Since(began)
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("never: %s", expression)
	return 0
}

// open goes to a page, and waits until it is there.
func (p *tab) open(url string) {
	p.t.Helper()
	p.do("Page.navigate", map[string]any{"url": url})
	p.until("location.href.startsWith(" + quote(strings.SplitN(url, "?", 2)[0]) + ") && document.readyState === 'complete'")
}

func quote(text string) string {
	quoted, _ := json.Marshal(text)
	return string(quoted)
}

// size and colors are those of a device.
func (p *tab) device(width, height int, scheme string) {
	p.do("Emulation.setDeviceMetricsOverride", map[string]any{"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false})
	p.do("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}}})
}

// screenshot is what is to be seen, as PNG.
func (p *tab) screenshot() []byte {
	p.t.Helper()
	var shot struct {
		Data string `json:"data"`
	}
	if err := json.Unmarshal(p.do("Page.captureScreenshot", map[string]any{"format": "png"}), &shot); err != nil {
		p.t.Fatal(err)
	}
	image, err := base64.StdEncoding.DecodeString(shot.Data)
	if err != nil {
		p.t.Fatal(err)
	}
	return image
}

// complaints are what the browser has said against the page so far.
func (p *tab) complaints() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.complain...)
}

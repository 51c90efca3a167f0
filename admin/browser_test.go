package admin_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"

	"github.com/twillgo/twill"
	"github.com/twillgo/twill/admin"
)

var screenshots = flag.Bool("screenshots", false, "write the pictures in docs")

// browser is the browser of all tests, started once.
var browser struct {
	sync.Once
	ctx  context.Context
	stop []context.CancelFunc
	err  error
}

func startBrowser() {
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		browser.err = fmt.Errorf("no chromium is installed")
		return
	}
	for range 3 { // a loaded machine may fail to start it
		if browser.err = tryBrowser(path); browser.err == nil {
			return
		}
	}
}

func tryBrowser(path string) error {
	dir, err := os.MkdirTemp("", "twill-browser-")
	if err != nil {
		return err
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.UserDataDir(dir), chromedp.WSURLReadTimeout(30*time.Second),
		chromedp.Flag("disable-dev-shm-usage", true), chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("no-proxy-server", true))
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	stop := []context.CancelFunc{cancel, cancelAlloc, func() { os.RemoveAll(dir) }}
	if err := chromedp.Do(ctx); err != nil {
		for _, cancel := range stop {
			cancel()
		}
		return err
	}
	browser.ctx, browser.stop = ctx, stop
	return nil
}

func TestMain(m *testing.M) {
	flag.Parse()
	twill.OnUnhandled(nil) // many jobs fail on purpose
	code := m.Run()
	for _, cancel := range browser.stop {
		cancel()
	}
	os.Exit(code)
}

// tab is a tab of the browser, on a page that is served.
type tab struct {
	t    *testing.T
	ctx  context.Context
	base string

	mu     sync.Mutex
	faults []string // exceptions, and what the content security policy has refused
}

// open returns a tab that shows path. The test is skipped without a browser.
func (k *pageKit) open(t *testing.T, path string) *tab {
	t.Helper()
	if testing.Short() {
		t.Skip("SKIPPED in -short: end-to-end test in a browser")
	}
	browser.Do(startBrowser)
	if browser.err != nil {
		t.Skipf("SKIPPED, NOTHING WAS TESTED IN A BROWSER: %v", browser.err)
	}
	mux := http.NewServeMux()
	mux.Handle("/queues/", http.StripPrefix("/queues", k.page))
	server := httptest.NewServer(mux)
	ctx, cancel := chromedp.NewContext(browser.ctx)
	require.NoError(t, chromedp.Do(ctx))
	ctx, cancelTime := context.WithTimeout(ctx, 90*time.Second)
	b := &tab{t: t, ctx: ctx, base: server.URL + "/queues"}
	t.Cleanup(func() {
		cancelTime()
		cancel()
		k.page.Close() // ends the streams
		server.Close()
	})
	require.NoError(t, chromedp.Listen(ctx, func(ev any) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch ev := ev.(type) {
		case *runtime.EventExceptionThrown:
			b.faults = append(b.faults, ev.ExceptionDetails.Text)
		case *log.EventEntryAdded:
			if text := ev.Entry.Text; strings.Contains(text, "Content Security Policy") || strings.Contains(text, "404") {
				b.faults = append(b.faults, text)
			}
		case *page.EventJavascriptDialogOpening:
			b.faults = append(b.faults, "dialog: "+ev.Message)
		}
	}))
	b.run(call(log.Enable, cdp.Empty{}), chromedp.EmulateViewport(1280, 900), chromedp.Navigate(b.base+path))
	return b
}

// call is a command of the browser's protocol as an action.
func call[P, R any](cmd cdp.Command[P, R], params P) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, cmd, params)
		return err
	})
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.t.Fatalf("%v; faults: %q", err, b.faults)
	}
}

// text is the text of the first element that a selector finds.
func (b *tab) text(selector string) (text string) {
	b.t.Helper()
	return strings.TrimSpace(value(b, chromedp.Text(chromedp.CSS(selector))))
}

// value is the value of an action.
func value[T any](b *tab, a chromedp.Action[T]) T {
	b.t.Helper()
	v, err := chromedp.Run(b.ctx, a)
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.t.Fatalf("%v; faults: %q", err, b.faults)
	}
	return v
}

// eval is the value of an expression.
func eval[T any](b *tab, js string) T {
	b.t.Helper()
	return value(b, chromedp.Evaluate[T](js, chromedp.EvalAwaitPromise))
}

// until waits until an expression is true in the page, also across loads.
func (b *tab) until(js string) {
	b.t.Helper()
	for {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("!!("+js+")"))
		if ok {
			return
		}
		if b.ctx.Err() != nil {
			b.t.Fatalf("%s has not come about: %v", js, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// click clicks and waits for the page that follows.
func (b *tab) click(selector string) {
	b.t.Helper()
	if _, err := chromedp.RunResponse(b.ctx, chromedp.Click(chromedp.CSS(selector))); err != nil {
		b.t.Fatalf("click on %s: %v", selector, err)
	}
}

func (b *tab) requireNoFaults() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	require.Empty(b.t, b.faults)
}

// back presses the back button and waits until an expression is true: a page
// from the cache of the history loads nothing that could be waited for.
func (b *tab) back(js string) {
	b.t.Helper()
	b.run(chromedp.Evaluate[chromedp.Void]("history.back()"))
	b.until(js)
}

func TestBrowserSteersAQueue(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("u0", "u1", "alpha", "beta", "gamma", "odd 1", "odd 2")
	b := k.open(t, "/q/sms")
	require.Equal(t, "5", b.text("[data-live=pending]"))
	b.until("document.body.dataset.live === 'yes'")

	t.Run("numbers live", func(t *testing.T) {
		b.t = t
		k.put("delta")
		b.until("document.querySelector('[data-live=pending]').textContent === '6'")
		b.until("document.querySelector('#list-pending').textContent.includes('delta')")
	})
	t.Run("change the width and see it", func(t *testing.T) {
		b.t = t
		b.run(chromedp.SendKeys(chromedp.CSS("#f-width"), "1"))
		b.click("form[action$='/width'] button")
		require.Contains(t, b.text("#notices"), "Done: width to 1")
		require.Equal(t, "1", b.text("[data-live=width]"))
		require.Equal(t, 1, k.queue.Width())
		require.Contains(t, b.text("#steer .settings"), "by operator")
		b.run(chromedp.SetValue(chromedp.CSS("#f-width"), "4"), chromedp.SetValue(chromedp.CSS("#f-width-for"), "30m"))
		b.click("form[action$='/width'] button")
		require.Contains(t, b.text("#steer .settings"), "back at")
		b.until("document.querySelector('#list-underway').textContent.includes('beta')")
	})
	t.Run("pause and resume", func(t *testing.T) {
		b.t = t
		b.click("form[action$='/pause'] button")
		require.Equal(t, "paused", b.text("[data-live=state]"))
		require.True(t, k.queue.Paused())
		b.click("form[action$='/resume'] button")
		require.Equal(t, "running", b.text("[data-live=state]"))
		require.False(t, k.queue.Paused())
	})
	t.Run("cancel one", func(t *testing.T) {
		b.t = t
		b.click("#list-pending a")
		require.Equal(t, "pending", b.text("#job .state"))
		require.Contains(t, b.text("#job"), "Why it is not running")
		arg := b.text("#job pre")
		b.run(chromedp.SendKeys(chromedp.CSS("#f-reason"), "no longer needed"))
		b.click("form[action$='/cancel'] button")
		b.until("document.querySelector('#job .state').textContent === 'canceled'")
		require.Contains(t, b.text("#job .error"), "no longer needed")
		require.Equal(t, arg, b.text("#job pre"))
	})
	t.Run("search, cancel all that match, and the filter stays", func(t *testing.T) {
		b.t = t
		require.NoError(t, k.queue.SetWidth(1))
		k.put("odd 3", "odd 4", "even 5")
		b.run(chromedp.Navigate(b.base+"/q/sms/jobs"), chromedp.SetValue(chromedp.CSS("#f-state"), "pending"), chromedp.SendKeys(chromedp.CSS("#f-filter"), "odd -\"odd 4\""))
		b.click("form.search button")
		require.NotContains(t, b.text("#list tbody"), "even")
		require.NotContains(t, b.text("#list tbody"), "odd 4")
		b.run(chromedp.Click(chromedp.CSS("input[value=matching]")))
		b.click("button[formaction$='/bulk/cancel']")
		b.until("document.querySelector('#operation').dataset.state === 'done'")
		require.Contains(t, b.text("h1"), "dry run of cancel")
		require.Contains(t, b.text("#operation code"), `odd -"odd 4"`)
		require.Contains(t, b.text("#operation tbody"), "odd 3")
		_, before := k.queue.Size()
		b.click("#operation button.danger")
		b.until("document.querySelector('#operation').dataset.state === 'done'")
		_, after := k.queue.Size()
		require.Less(t, after, before)
		for _, j := range k.queue.Pending() {
			require.NotEqual(t, "odd 3", j.Arg())
		}
		b.back("location.pathname.endsWith('/operations/1')")
		b.back("location.search.includes('filter=odd') && document.querySelector('#f-filter').value.includes('odd')")
	})
	t.Run("selected jobs, reprioritize", func(t *testing.T) {
		b.t = t
		k.put("zz one", "zz two", "three")
		b.run(chromedp.Navigate(b.base+"/q/sms/jobs?state=pending&filter=arg:zz"), chromedp.Click(chromedp.CSS("#select-all")), chromedp.SendKeys(chromedp.CSS("#f-priority"), "-5"))
		b.click("button[formaction$='/bulk/reprioritize']")
		require.Contains(t, b.text("#op"), "2 done")
		require.Equal(t, "zz one", k.queue.Pending()[0].Arg())
		require.Contains(t, value(b, chromedp.Location()), "filter=arg%3Azz")
	})
	t.Run("reload while live", func(t *testing.T) {
		b.t = t
		b.run(chromedp.Navigate(b.base + "/q/sms"))
		for range 3 {
			b.until("document.body.dataset.live === 'yes'")
			b.run(chromedp.Reload())
		}
		b.until("document.body.dataset.live === 'yes'")
		b.back("location.pathname.endsWith('/jobs')")
	})
	t.Run("audit", func(t *testing.T) {
		b.t = t
		b.run(chromedp.Navigate(b.base + "/audit?search=no+longer"))
		require.Contains(t, b.text("tbody"), "no longer needed")
		require.Contains(t, b.text("tbody"), "operator")
	})
	b.t = t
	b.requireNoFaults()
}

func TestBrowserShowsNastyTextsAsText(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.queue.Pause()
	k.put(nasty...)
	k.put(strings.Join(nasty, " "))
	b := k.open(t, "/q/sms/jobs?state=pending")
	body := b.text("#list tbody")
	require.Contains(t, body, `<script>alert(1)</script>`)
	require.Contains(t, body, `\u202egnp.exe\u202c`)
	require.Contains(t, body, `\xff\xfe broken`)
	require.Contains(t, body, `nul\u0000nul`)
	require.Equal(t, 2, eval[int](b, "document.scripts.length"))
	for _, j := range k.jobs("state=pending&limit=30").Jobs {
		b.run(chromedp.Navigate(b.base + "/q/sms/job/" + j.ID))
		b.text("#job pre")
		if len(j.Arg)%3 != 0 {
			continue // a third of the searches will do
		}
		b.run(chromedp.Navigate(b.base + "/q/sms/jobs?filter=" + "%22" + strings.ReplaceAll(must(urlEscape(j.Arg)), "%22", "") + "%22"))
	}
	b.run(chromedp.Navigate(b.base + "/q/sms"))
	b.until("document.body.dataset.live === 'yes'")
	b.requireNoFaults()
}

func urlEscape(s string) (string, error) {
	var b strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&b, "%%%02X", s[i])
	}
	return b.String(), nil
}

// demo is a page with something of everything, for pictures and for axe.
func demo(t *testing.T) (k *pageKit, paths map[string]string) {
	k = newKit(t, admin.Options{Authorize: func(*http.Request, admin.Action) (string, error) { return "ada@example.com", nil }})
	for i := range 8 {
		<-k.put(fmt.Sprintf("fail to +49 151 555%04d", i))[0].Done()
	}
	<-k.put("panic in the gateway of +49 151 5550009")[0].Done()
	require.NoError(t, k.queue.SetGroupLimits(twill.GroupLimit{Width: 1}))
	for i := range 60 {
		_, err := k.queue.Put(fmt.Sprintf("+49 151 444%04d: Your code is %06d", i, i*7919%1000000), i%3,
			twill.JobOptions{Key: fmt.Sprint("code-", i), Group: "network " + string(rune('A'+i%3))})
		require.NoError(t, err)
	}
	eventually(t, func() bool { return len(k.jobs("state=ended").Jobs) == 9 })
	k.postJSON("/api/queues/sms/width", `{"width":3,"for":"30m","reason":"a campaign"}`)
	dry := k.finished(k.postJSON("/api/queues/sms/bulk/cancel", `{"filter":"key:code-3*","dry_run":true}`))
	panicked := k.jobs("filter=panic").Jobs[0].ID
	var pool twill.Pool
	k.page.AddPool("uploads", &pool)
	k.page.AddSemaphore("gateway", twill.NewSemaphore(4))
	return k, map[string]string{
		"index": "/", "queue": "/q/sms", "jobs": "/q/sms/jobs?filter=key:code-1*&state=pending", "job": "/q/sms/job/" + panicked,
		"operation": "/operations/" + dry["id"].(string), "operations": "/operations", "audit": "/audit", "error": "/nothing",
	}
}

// scheme has the page think that the user prefers light or dark.
func scheme(color string) chromedp.Action[chromedp.Void] {
	return call(emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: color}}})
}

func TestBrowserIsAccessible(t *testing.T) {
	k, paths := demo(t)
	b := k.open(t, "/")
	axe, err := os.ReadFile("testdata/axe.min.js")
	require.NoError(t, err)
	// axe is a script of another origin than the page's: only this test goes
	// without the page's policy.
	b.run(call(page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true}))
	for name, path := range paths {
		for _, color := range []string{"light", "dark"} {
			for _, width := range []int64{390, 1280} {
				if (color == "dark") != (width == 390) {
					continue // colors do not depend on the width
				}
				t.Run(fmt.Sprintf("%s %s %d", name, color, width), func(t *testing.T) {
					b.t = t
					b.run(
						scheme(color), chromedp.EmulateViewport(width, 900), chromedp.Navigate(b.base+path), chromedp.Evaluate[chromedp.Void](string(axe)),
					)
					result := eval[string](b, `axe.run(document, {resultTypes: ['violations']}).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, impact: v.impact, nodes: v.nodes.map(n => n.html + ' ' + n.failureSummary)}))))`)
					var violations []struct {
						ID, Impact string
						Nodes      []string
					}
					require.NoError(t, json.Unmarshal([]byte(result), &violations))
					for _, v := range violations {
						if v.Impact == "serious" || v.Impact == "critical" {
							t.Errorf("%s (%s): %s", v.ID, v.Impact, strings.Join(v.Nodes, "\n"))
						} else {
							t.Logf("%s (%s): %d places", v.ID, v.Impact, len(v.Nodes))
						}
					}
					// Nothing is cut off at the side, and nothing scrolls there but tables.
					require.LessOrEqual(t, eval[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"), 0)
				})
			}
		}
	}
}

func TestBrowserKeyboard(t *testing.T) {
	k := newKit(t, admin.Options{})
	b := k.open(t, "/q/sms")
	b.until("document.body.dataset.live === 'yes'")
	b.run(chromedp.KeyEvent("\t"))
	require.Equal(t, "Skip to content", eval[string](b, "document.activeElement.textContent"))
	b.run(chromedp.KeyEvent("\r"))
	require.Equal(t, "main", eval[string](b, "document.activeElement.id"))
	for range 30 {
		b.run(chromedp.KeyEvent("\t"))
		if eval[string](b, "document.activeElement.id") == "f-width" {
			b.run(chromedp.KeyEvent("7"))
			// A list that is fetched again leaves the focus where it is.
			time.Sleep(2500 * time.Millisecond)
			require.Equal(t, "f-width7", eval[string](b, "document.activeElement.id + document.activeElement.value"))
			b.run(chromedp.KeyEvent("\r"))
			b.until("document.querySelector('#notices').textContent.includes('width to 7')")
			b.requireNoFaults()
			return
		}
	}
	t.Fatal("the tab key does not reach the width")
}

func TestBrowserWithoutJavaScript(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("u0", "u1", "alpha", "beta")
	b := k.open(t, "/")
	b.run(call(emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}), chromedp.Navigate(b.base+"/q/sms"))
	require.Equal(t, "2", b.text("[data-live=pending]"))
	require.Contains(t, b.text("#list-pending"), "alpha")
	b.run(chromedp.SendKeys(chromedp.CSS("#f-width"), "3"))
	b.click("form[action$='/width'] button")
	require.Equal(t, 3, k.queue.Width())
	b.run(chromedp.Navigate(b.base + "/q/sms/jobs?filter=beta"))
	require.Contains(t, b.text("#list tbody"), "beta")
	b.run(chromedp.Click(chromedp.CSS("input[name=id]")))
	b.click("button[formaction$='/bulk/cancel']")
	require.Contains(t, b.text("#op"), "1 done")
}

func TestBrowserDrawsCharts(t *testing.T) {
	k := newKit(t, admin.Options{})
	k.put("a", "b", "c")
	admin.FillHistory(k.page, "sms")
	b := k.open(t, "/q/sms")
	b.until("document.querySelectorAll('#charts canvas').length === 4 && !document.querySelector('#charts').hidden")
	for _, w := range []int64{390, 1280} {
		b.run(chromedp.EmulateViewport(w, 900))
		b.until("document.querySelector('#charts canvas').getBoundingClientRect().right <= innerWidth")
	}
	b.requireNoFaults()
}

// Pictures for the documents: go test -run TestBrowserPictures -screenshots .
func TestBrowserPictures(t *testing.T) {
	if !*screenshots {
		t.Skip("writes the pictures in docs with -screenshots")
	}
	k, paths := demo(t)
	admin.FillHistory(k.page, "sms")
	paths["job"] = "/q/sms/job/code-40" // the stack of a panic has paths of this machine
	b := k.open(t, "/")
	for _, name := range []string{"index", "queue", "jobs", "operation", "job"} {
		for _, color := range []string{"light", "dark"} {
			for _, width := range []int64{390, 1280} {
				b.run(
					scheme(color), chromedp.EmulateViewport(width, 900), chromedp.Navigate(b.base+paths[name]),
				)
				if name == "queue" {
					b.until("document.querySelectorAll('#charts canvas').length === 4")
				}
				if name == "queue" && width == 1280 { // what fits a README
					b.run(chromedp.EmulateViewport(1280, 1120))
					b.until("document.querySelector('#charts canvas').getBoundingClientRect().right <= innerWidth")
					top := value(b, chromedp.CaptureScreenshot())
					require.NoError(t, os.WriteFile(filepath.Join("docs", "top-"+color+".png"), top, 0o644))
				}
				png := value(b, chromedp.FullScreenshot(100))
				require.NoError(t, os.WriteFile(filepath.Join("docs", fmt.Sprintf("%s-%s-%d.png", name, color, width)), png, 0o644))
			}
		}
	}
}

package main

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestThePageIsCompleteWithoutScripts(t *testing.T) {
	h, _ := paused(t)
	for range pendingRows + 3 {
		postJSON(h, "/messages", anyMessage)
	}
	w := do(h, request(http.MethodGet, "/", "", ""))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	page := w.Body.String()
	require.Contains(t, page, `<dd data-count="waiting">23</dd>`)
	require.Contains(t, page, "and 3 more")
	require.Contains(t, page, `action="/resume"`)
	require.Equal(t, pendingRows+1, strings.Count(page, `data-label="Cancel the message to *"`)-1, "one row is the template, one for underway")
	require.NotContains(t, page, " onclick")
	require.NotContains(t, page, "<style")
	require.NotContains(t, page, "<script>")
}

func TestAFormThatIsRefusedKeepsWhatWasTyped(t *testing.T) {
	h, o := paused(t)
	w := postForm(h, "/messages", url.Values{"to": {`12"><script>`}, "text": {"\nHello </textarea><script>"}, "priority": {"10"}})
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Equal(t, "text/html; charset=utf-8", w.Header().Get("Content-Type"))
	page := w.Body.String()
	require.Contains(t, page, `value="12&#34;&gt;&lt;script&gt;"`)
	require.Contains(t, page, "Hello &lt;/textarea&gt;&lt;script&gt;</textarea>")
	require.Contains(t, page, `<option value="10" selected>`)
	require.Contains(t, page, `<p id="to-error" class="error">&#39;&#34;&#39; cannot be part of a phone number</p>`, "what is wrong, beside the field")
	require.Contains(t, page, `aria-invalid="true"`)
	require.NotContains(t, page, "<script>")
	require.Zero(t, o.Snapshot().Waiting)

	w = postForm(h, "/messages", url.Values{"to": {"+12125550123"}, "text": {"Hello"}})
	require.Equal(t, http.StatusSeeOther, w.Code)
	require.Equal(t, "/", w.Header().Get("Location"))
	require.Equal(t, 1, o.Snapshot().Waiting)
}

func TestOtherErrorsAreANoticeOnThePage(t *testing.T) {
	h, _ := paused(t)
	w := postForm(h, "/messages/nobody/cancel", nil)
	require.Equal(t, http.StatusNotFound, w.Code)
	require.Contains(t, w.Body.String(), `tabindex="-1">there is no such message</p>`)
	w = postForm(h, "/width", url.Values{"width": {"1000"}})
	require.Equal(t, http.StatusUnprocessableEntity, w.Code)
	require.Contains(t, w.Body.String(), `<p id="width-error" class="error">a width is a number from 0 to 100</p>`)
}

func TestWhateverIsInAMessageIsText(t *testing.T) {
	h, _ := paused(t)
	for _, text := range []string{
		`<script>alert(1)</script>`, `" onmouseover="alert(1)`, `' x='`, `javascript:alert(1)`, `</script><b>`,
		`{{.To}}`, `</textarea>`, "<!--", "\u2028<img src=x onerror=alert(1)>",
	} {
		w := postForm(h, "/messages", url.Values{"to": {"+12125550123"}, "text": {text}})
		require.Equal(t, http.StatusSeeOther, w.Code)
	}
	page := do(h, request(http.MethodGet, "/", "", "")).Body.String()
	for _, raw := range []string{"<script>", "<b>", "<img", "<!--", ` onmouseover="`, "' x='"} {
		require.NotContains(t, page, raw)
	}
	require.Contains(t, page, "&lt;script&gt;alert(1)&lt;/script&gt;")
}

func TestAssets(t *testing.T) {
	h, _ := paused(t)
	for name, kind := range map[string]string{
		"app.js": "text/javascript; charset=utf-8", "lists.js": "text/javascript; charset=utf-8",
		"style.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
	} {
		w := do(h, request(http.MethodGet, "/static/"+name, "", ""))
		require.Equal(t, http.StatusOK, w.Code, name)
		require.Equal(t, kind, w.Header().Get("Content-Type"))
		require.NotEmpty(t, w.Body.String())
	}
	require.Equal(t, http.StatusNotFound, do(h, request(http.MethodGet, "/static/page.html", "", "")).Code)
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 999 * time.Millisecond: "0 s", 59 * time.Second: "59 s",
		time.Minute: "1 min", 3599 * time.Second: "59 min", time.Hour: "1 h", 50 * time.Hour: "50 h",
	} {
		require.Equal(t, want, age(1_000_000_000, 1_000_000_000+d.Milliseconds()), d)
	}
}

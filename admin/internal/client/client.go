// Package client calls the API of a page, for the command line.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer is the maximum number of bytes of an answer that are read.
const maxAnswer = 64 << 20

// Client is a client of one page.
type Client struct {
	base    *url.URL
	user    *url.Userinfo
	http    *http.Client
	streams *http.Client // without a timeout for the whole answer
}

// New returns a client of the page at the given address, such as
// http://127.0.0.1:8321/queues/. A user and a password in the address are sent
// as basic authorization, and are not part of any error.
func New(address string) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the address of a page begins with http:// or https://")
	}
	last := func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse // another host would get the authorization
	}
	c := &Client{user: u.User, http: &http.Client{Timeout: 30 * time.Second, CheckRedirect: last}, streams: &http.Client{CheckRedirect: last}}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	c.base = u
	return c, nil
}

// Path returns the address of an API's resource: its segments are escaped.
func Path(segments ...string) string {
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return "api/" + strings.Join(segments, "/")
}

// Get reads what is at path into v.
func (c *Client) Get(ctx context.Context, path string, query url.Values, v any) error {
	return c.do(ctx, http.MethodGet, path, query, nil, v)
}

// Post sends body to path, and reads the answer into v.
func (c *Client) Post(ctx context.Context, path string, body, v any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.do(ctx, http.MethodPost, path, nil, b, v)
}

// Stream copies what is at path to w. An answer that has broken off is an
// error.
func (c *Client) Stream(ctx context.Context, path string, query url.Values, w io.Writer) error {
	res, err := c.send(ctx, http.MethodGet, path, query, nil, c.streams)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = io.Copy(w, res.Body)
	return err
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body []byte, v any) error {
	res, err := c.send(ctx, method, path, query, body, c.http)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, v)
}

// send returns the answer to a request, if it is no error.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body []byte, by *http.Client) (*http.Response, error) {
	to, err := c.base.Parse(path)
	if err != nil {
		return nil, err
	}
	to.RawQuery = query.Encode()
	r, err := http.NewRequestWithContext(ctx, method, to.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.user != nil {
		password, _ := c.user.Password()
		r.SetBasicAuth(c.user.Username(), password)
	}
	res, err := by.Do(r)
	if err != nil || res.StatusCode < 300 {
		return res, err
	}
	defer res.Body.Close()
	var e struct{ Error string }
	answer, _ := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if json.Unmarshal(answer, &e) != nil || e.Error == "" {
		e.Error = "is this the address of a page?"
	}
	return nil, fmt.Errorf("%s: %s", res.Status, e.Error)
}

package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
)

// answer is a value and the name of its source.
type answer struct{ from, value string }

// ask returns the function that asks a service for the value of a key.
func ask(name string, s *service) func(ctx context.Context, key string) (answer, error) {
	return func(ctx context.Context, key string) (answer, error) {
		value, err := request(ctx, http.MethodGet, s.url+key, "")
		return answer{name, value}, err
	}
}

// request makes a request and returns the body of the answer.
func request(ctx context.Context, method, url, body string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return "", errors.New(resp.Status)
	}
	return string(text), err
}

// valueOf is the computation whose results are served.
func valueOf(key string) string { return strings.ToUpper(key) }
